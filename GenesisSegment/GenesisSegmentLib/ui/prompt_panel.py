"""The tools of the Correct part that draw prompts on a structure."""

from __future__ import annotations

from typing import Any

from ..core.workflow.view import PromptPart
from .panel import Panel
from .render import put, render_choices, render_control, render_note
from .segment_editor import SegmentEditor
from .shortcuts import KEYS
from .slice_views import SliceViews

_RECTANGLES = ("rectangle", "box")


class PromptPanel(Panel):
    """Renders :class:`PromptPart`, and hands on what is drawn in the slice views."""

    part = "prompt"

    def __init__(self, ui: Any, controller: Any, editor: SegmentEditor) -> None:
        self._editor = editor
        self._views = SliceViews(controller.draw, controller.give_up_prompt)
        super().__init__(ui, controller)

    def _connect(self) -> None:
        ui, controller = self._ui, self._controller
        self._buttons = {
            "point": ui.pointButton,
            "scribble": ui.scribbleButton,
            "lasso": ui.lassoButton,
            "rectangle": ui.rectangleButton,
            "box": ui.boxButton,
        }
        for tool, button in self._buttons.items():
            button.connect("clicked()", lambda tool=tool: self._do(controller.choose_tool, tool))
        ui.newComboBox.connect("activated(int)", self._new_chosen)
        ui.addButton.connect("clicked(bool)", lambda on: self._do(controller.set_adding, on))
        ui.propagateButton.connect("clicked()", lambda: self._do(controller.propagate))
        ui.takeButton.connect("clicked()", lambda: self._do(controller.take_offer))
        ui.dropButton.connect("clicked()", lambda: self._do(controller.give_up_prompt))
        self._editor.on_effect(self._put_down)

    def render(self, part: PromptPart) -> None:
        """Sets the widgets, and has the views draw or leaves them alone."""
        ui = self._ui
        for tool, control in part.tools:
            button = self._buttons[tool]
            render_control(button, control, KEYS[button.objectName])
        for button, control in ((ui.addButton, part.add), (ui.propagateButton, part.propagate)):
            render_control(button, control, KEYS[button.objectName])
        render_choices(ui.newComboBox, part.new, "")
        render_control(ui.newComboBox, part.new_box)
        put(ui.addButton, text=part.add_text)
        for button, control in ((ui.takeButton, part.take), (ui.dropButton, part.drop)):
            render_control(button, control)
        render_note(ui.promptNoteLabel, part.note)
        if part.tool:
            self._editor.rest()
            self._views.listen(part.tool in _RECTANGLES)
        else:
            self._views.rest()

    def _new_chosen(self, row: int) -> None:
        value = self._ui.newComboBox.itemData(row)
        if value:
            self._do(self._controller.add_structure, int(value))
        else:
            self.render_anew(self._controller.view)

    def _put_down(self) -> None:
        if self._controller.view.prompt.tool:
            self._do(self._controller.choose_tool, "")

    def delete(self) -> None:
        """Leaves the views for good."""
        self._views.delete()
