"""The Correct part: the segments, what the model proposed, and the Segment Editor."""

from __future__ import annotations

from typing import Any

from ..core.workflow.view import CorrectPart
from .panel import Panel
from .render import put, render_control, render_note, show
from .segment_editor import SegmentEditor
from .segments_table import LOCKED, REVIEWED, SHOWN, SegmentsTable
from .shortcuts import KEYS


class CorrectPanel(Panel):
    """Renders :class:`CorrectPart`."""

    part = "correct"

    def __init__(self, ui: Any, controller: Any, editor: SegmentEditor) -> None:
        super().__init__(ui, controller)
        self._editor = editor

    def _connect(self) -> None:
        ui, controller = self._ui, self._controller
        self._commands = {
            SHOWN: controller.set_visible,
            LOCKED: controller.set_locked,
            REVIEWED: controller.set_reviewed,
        }
        self._table = SegmentsTable(
            ui.segmentsTable,
            lambda column, *a: self._do(self._commands[column], *a),
            lambda segment_id: self._do(controller.reset_segment, segment_id),
            lambda segment_id: self._do(controller.select_segment, segment_id),
        )
        ui.editButton.connect("clicked(bool)", lambda on: self._do(controller.edit, on))
        ui.showProposalCheckBox.connect("clicked(bool)", lambda on: self._do(controller.show_proposal, on))
        ui.showDifferenceCheckBox.connect("clicked(bool)", lambda on: self._do(controller.show_difference, on))
        ui.update3DButton.connect("clicked()", lambda: self._do(controller.update_3d))
        ui.undoButton.connect("clicked()", lambda: self._do(controller.undone, self._editor.undo()))
        ui.redoButton.connect("clicked()", lambda: self._do(controller.redone, self._editor.redo()))
        ui.acceptButton.connect("clicked()", lambda: self._do(controller.accept))
        ui.segmentEditorWidget.connect("currentSegmentIDChanged(QString)", self._selected_in_editor)

    def render(self, part: CorrectPart) -> None:
        """Sets the widgets of the part."""
        ui = self._ui
        render_note(ui.correctNoteLabel, part.note)
        show(ui.segmentsTable, bool(part.rows))
        self._table.render(part.rows, part.selected)
        render_note(ui.reviewedNoteLabel, part.reviewed_note)
        for button, control in (
            (ui.showProposalCheckBox, part.show_proposal),
            (ui.showDifferenceCheckBox, part.show_difference),
            (ui.update3DButton, part.update_3d),
            (ui.editButton, part.edit),
        ):
            render_control(button, control, KEYS[button.objectName])
        put(ui.acceptButton, text=part.accept_text)
        for button, control in ((ui.undoButton, part.undo), (ui.redoButton, part.redo), (ui.acceptButton, part.accept)):
            render_control(button, control)
        self._editor.show(part.segmentation_id, part.edit.is_checked)
        show(ui.segmentEditorWidget, part.edit.is_checked)
        self._editor.select(part.selected)

    def _selected_in_editor(self, segment_id: Any) -> None:
        if segment_id and segment_id != self._controller.view.correct.selected:
            self._do(self._controller.select_segment, str(segment_id))
