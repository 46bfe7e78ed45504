"""Sets widgets only where something changed, and so that they do not answer with a signal.

Without this, rendering would call the command that a person's click calls, and the panel would flicker at every tick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import qt

from ..core.workflow.view import Choice, Control


@contextmanager
def silent(widget: Any) -> Iterator[None]:
    """Keeps a widget from emitting signals inside the block."""
    was_blocked = widget.blockSignals(True)
    try:
        yield
    finally:
        widget.blockSignals(was_blocked)


def put(widget: Any, **properties: Any) -> None:
    """Sets Qt properties that differ."""
    for name, value in properties.items():
        if getattr(widget, name) != value:
            setattr(widget, name, value)


def show(widget: Any, is_visible: bool) -> None:
    """Shows or hides a widget of its own account, whether or not the part around it is folded."""
    if widget.isHidden() == is_visible:
        widget.setVisible(is_visible)


def render_control(widget: Any, control: Control, shortcut: str = "") -> None:
    """A button or field: usable or not, with the reason in the tooltip; checked or not."""
    put(widget, enabled=control.is_enabled, toolTip=f"{control.tip} ({shortcut})" if shortcut else control.tip)
    show(widget, control.is_visible)
    if getattr(widget, "checkable", False):
        with silent(widget):
            put(widget, checked=control.is_checked)


def render_note(label: Any, text: str) -> None:
    """A line of text that takes no room while it is empty."""
    put(label, text=text)
    show(label, bool(text))


def render_choices(combo: Any, choices: tuple[Choice, ...], value: str) -> None:
    """The entries of a combo box, and which one is chosen; made anew only where an entry changed."""
    texts = [(choice.value, choice.text) for choice in choices]
    with silent(combo):
        if [(combo.itemData(i), combo.itemText(i)) for i in range(combo.count)] != texts:
            combo.clear()
            for choice in choices:
                combo.addItem(choice.text, choice.value)
        for i, choice in enumerate(choices):
            if combo.itemData(i, qt.Qt.ToolTipRole) != choice.tip:
                combo.setItemData(i, choice.tip, qt.Qt.ToolTipRole)
            entry = combo.model().item(i)
            if entry.isEnabled() != choice.is_enabled:
                entry.setEnabled(choice.is_enabled)
        put(combo, currentIndex=combo.findData(value))
    put(combo, toolTip=next((choice.tip for choice in choices if choice.value == value), ""))


def color_icon(color: tuple[int, int, int]) -> Any:
    """A small square of a colour (red, green, blue; 0-255)."""
    pixmap = qt.QPixmap(12, 12)
    pixmap.fill(qt.QColor(*color))
    return qt.QIcon(pixmap)
