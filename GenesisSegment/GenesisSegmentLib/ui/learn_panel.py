"""The Learn part: the place where the learner will show what it does; hidden until there is one."""

from __future__ import annotations

from ..core.workflow.view import LearnPart
from .panel import Panel
from .render import show


class LearnPanel(Panel):
    """Renders :class:`LearnPart`."""

    part = "learn"

    def render(self, part: LearnPart) -> None:
        """Shows or hides the part."""
        show(self._ui.learnCollapsibleButton, part.is_visible)
