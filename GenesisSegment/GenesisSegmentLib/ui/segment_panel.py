"""The Segment part: CT, model, device, classes, estimate, and the button."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer

from ..core.workflow.view import SegmentPart
from .class_tree import ClassTree
from .panel import Panel
from .render import put, render_choices, render_control, render_note, silent
from .shortcuts import KEYS


class SegmentPanel(Panel):
    """Renders :class:`SegmentPart`."""

    part = "segment"

    def _connect(self) -> None:
        ui, controller = self._ui, self._controller
        self._tree = ClassTree(ui.classTree, lambda *a: self._do(controller.check_classes, *a))
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._volume_chosen)
        # "activated" is emitted for the person's choices only.
        for combo, command in (
            (ui.modelComboBox, controller.choose_model),
            (ui.deviceComboBox, controller.choose_device),
        ):
            combo.connect("activated(int)", partial(self._chosen, combo, command))
        ui.getModelButton.connect("clicked()", lambda: self._do(controller.download_model))
        ui.searchLineEdit.connect("textChanged(QString)", lambda text: self._do(controller.search, text))
        ui.segmentButton.connect("clicked()", lambda: self._do(controller.segment))

    def render(self, part: SegmentPart) -> None:
        """Sets the widgets of the part."""
        ui = self._ui
        render_control(ui.volumeSelector, part.volume)
        with silent(ui.volumeSelector):
            put(ui.volumeSelector, currentNodeID=part.volume_id)
        render_note(ui.volumeNoteLabel, part.volume_note)
        render_choices(ui.modelComboBox, part.models, part.model)
        render_note(ui.modelNoteLabel, part.model_note)
        render_control(ui.getModelButton, part.get_model)
        render_choices(ui.deviceComboBox, part.devices, part.device)
        render_note(ui.deviceNoteLabel, part.device_note)
        with silent(ui.searchLineEdit):
            put(ui.searchLineEdit, text=part.search)
        self._tree.render(part.tree, is_expanded=bool(part.search))
        render_note(ui.classesNoteLabel, part.classes_note)
        render_note(ui.estimateLabel, part.estimate)
        render_control(ui.segmentButton, part.segment, KEYS["segmentButton"])

    def _chosen(self, combo: Any, command: Callable[[str], None], index: int) -> None:
        self._do(command, str(combo.itemData(index)))

    def _volume_chosen(self, node: Any) -> None:
        # While a scene is closed or read, the selector follows the scene; the person chose nothing.
        if not (slicer.mrmlScene.IsClosing() or slicer.mrmlScene.IsImporting()):
            self._do(self._controller.choose_volume, node.GetID() if node else None)
