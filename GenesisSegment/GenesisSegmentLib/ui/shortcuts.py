"""Keyboard shortcuts, which work everywhere in Slicer's window but only while the module is open.

Each one clicks a button: what a disabled button refuses, its shortcut refuses too. Keys of the Segment Editor (single
letters and digits), of Slicer's menus (Ctrl with a letter, F11) and of its trees (F2) are left alone.
"""

from __future__ import annotations

from typing import Any

import qt

KEYS: dict[str, str] = {
    "segmentButton": "Ctrl+Shift+G",
    "cancelButton": "Ctrl+Shift+X",
    "editButton": "Ctrl+Shift+E",
    "showProposalCheckBox": "Ctrl+Shift+P",
    "showDifferenceCheckBox": "Ctrl+Shift+D",
    "update3DButton": "Ctrl+Shift+U",
    "propagateButton": "Ctrl+Shift+A",
    "addButton": "F4",
    "pointButton": "F6",
    "scribbleButton": "F7",
    "lassoButton": "F8",
    "rectangleButton": "F9",
    "boxButton": "F12",
}
"""Button by object name, and its key; tooltips show it."""


class Shortcuts:
    """The shortcuts of a panel: ``ui`` has the buttons by name, ``window`` is where the keys work."""

    def __init__(self, ui: Any, window: Any) -> None:
        self._shortcuts = []
        for name, key in KEYS.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", getattr(ui, name).click)
            self._shortcuts.append(shortcut)
        self.set_active(False)

    def set_active(self, is_active: bool) -> None:
        """Switches all of them on or off."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(is_active)

    def delete(self) -> None:
        """Takes them from the window for good; a reloaded module makes its own."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
