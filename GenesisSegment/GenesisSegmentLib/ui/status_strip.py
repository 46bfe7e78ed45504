"""The strip at the top: what happens, how far it is, Cancel, the log."""

from __future__ import annotations

import qt
import slicer

from ..core.workflow.view import StatusStrip
from .panel import Panel
from .render import put, render_control, show
from .shortcuts import KEYS

_ICONS = {"warning": "SP_MessageBoxWarning", "error": "SP_MessageBoxCritical", "good": "SP_DialogApplyButton"}
_STEPS = 1000


class StatusPanel(Panel):
    """Renders :class:`StatusStrip`."""

    part = "status"

    def _connect(self) -> None:
        self._kind = ""
        self._ui.cancelButton.connect("clicked()", lambda: self._do(self._controller.cancel))
        self._ui.dismissButton.connect("clicked()", lambda: self._do(self._controller.dismiss))
        self._ui.showLogButton.connect("clicked()", self._show_log)

    def render(self, part: StatusStrip) -> None:
        """Sets the widgets of the strip."""
        ui = self._ui
        if ui.statusLabel.text != part.text:
            ui.statusLabel.text = part.text
            ui.statusLabel.repaint()  # at once: what is announced may hold the event loop up
        self._render_icon(part.kind)
        show(ui.progressFrame, part.fraction is not None)
        if part.fraction is not None:
            put(ui.progressBar, value=round(part.fraction * _STEPS))
        put(ui.timeLeftLabel, text=part.time_left)
        render_control(ui.cancelButton, part.cancel, KEYS["cancelButton"])
        render_control(ui.showLogButton, part.show_log)
        render_control(ui.dismissButton, part.dismiss)

    def _render_icon(self, kind: str) -> None:
        if kind == self._kind:
            return
        self._kind = kind
        label = self._ui.statusIconLabel
        if kind in _ICONS:
            icon = slicer.app.style().standardIcon(getattr(qt.QStyle, _ICONS[kind]))
            label.setPixmap(icon.pixmap(16, 16))
        show(label, kind in _ICONS)

    def _show_log(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._controller.view.status.log))
