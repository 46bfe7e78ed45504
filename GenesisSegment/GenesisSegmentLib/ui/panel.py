"""What the parts of the panel have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..core.workflow.view import View


class Panel:
    """A part of the panel: renders its part of the view, and sends the person's actions to the controller.

    ``ui`` has the widgets of the ``.ui`` file by name.
    """

    part: ClassVar[str]
    """Which part of the view is shown."""

    def __init__(self, ui: Any, controller: Any) -> None:
        self._ui = ui
        self._controller = controller
        self._shown: Any = None
        self._connect()

    def update(self, view: View) -> None:
        """Renders the part if it changed."""
        part = getattr(view, self.part)
        if part != self._shown:
            self._shown = part
            self.render(part)

    def render_anew(self, view: View) -> None:
        """Renders the part, changed or not."""
        self._shown = None
        self.update(view)

    def render(self, part: Any) -> None:
        """Sets the widgets."""
        raise NotImplementedError

    def _connect(self) -> None:
        """Connects the widgets' signals."""

    def _do(self, command: Callable[..., None], *arguments: Any) -> None:
        """Sends a command, then renders: a widget that the person moved must follow where the controller refused."""
        command(*arguments)
        self.render_anew(self._controller.view)
