"""The tree of classes and groups with check boxes.

Lines are made once and hidden while a search leaves them out, so that nothing flickers and open groups stay open.
They are kept in Python for as long as the tree lives: PythonQt would delete a line with its last Python reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from ..core.workflow.view import ClassRow
from .render import color_icon, silent

_CHECKS = {"on": "Checked", "off": "Unchecked", "some": "PartiallyChecked"}


class ClassTree:
    """Renders the rows; ``on_check(classes, is_on)`` is called when the person ticks a line."""

    def __init__(self, tree: Any, on_check: Callable[[tuple[int, ...], bool], None]) -> None:
        self._tree = tree
        self._on_check = on_check
        self._items: dict[tuple[str, ...], Any] = {}
        self._paths: list[tuple[str, ...]] = []
        self._rows: dict[tuple[str, ...], ClassRow] = {}
        self._was_expanded = False
        tree.connect("itemChanged(QTreeWidgetItem*,int)", self._changed)

    def render(self, rows: tuple[ClassRow, ...], is_expanded: bool) -> None:
        """Shows these rows and hides all others; ``is_expanded`` opens every group, as during a search."""
        with silent(self._tree):
            self._rows = {}
            self._render(rows, self._tree.invisibleRootItem(), ())
            for path, item in self._items.items():
                if item.isHidden() != (path not in self._rows):
                    item.setHidden(path not in self._rows)
        if is_expanded and not self._was_expanded:
            self._tree.expandAll()
        self._was_expanded = is_expanded

    def _render(self, rows: tuple[ClassRow, ...], parent: Any, above: tuple[str, ...]) -> None:
        place = 0
        for row in rows:
            path = (*above, row.key)
            self._rows[path] = row
            item = self._items.get(path) or self._make(path, row, parent, place)
            place = parent.indexOfChild(item) + 1
            self._set(item, row)
            self._render(row.children, item, path)

    def _make(self, path: tuple[str, ...], row: ClassRow, parent: Any, place: int) -> Any:
        item = qt.QTreeWidgetItem()
        item.setData(0, qt.Qt.UserRole, len(self._paths))
        if row.color is not None:
            item.setIcon(0, color_icon(row.color))
        parent.insertChild(place, item)
        self._paths.append(path)
        self._items[path] = item
        return item

    def _set(self, item: Any, row: ClassRow) -> None:
        if item.text(0) != row.text:
            item.setText(0, row.text)
        if item.toolTip(0) != row.tip:
            item.setToolTip(0, row.tip)
        check = getattr(qt.Qt, _CHECKS[row.check])
        # A line without a check box counts as unchecked: its first state must be set to make the box.
        if item.data(0, qt.Qt.CheckStateRole) is None or item.checkState(0) != check:
            item.setCheckState(0, check)
        if item.isDisabled() == row.is_enabled:
            item.setDisabled(not row.is_enabled)

    def _changed(self, item: Any, _column: int) -> None:
        row = self._rows.get(self._paths[int(item.data(0, qt.Qt.UserRole))])
        if row is not None:
            self._on_check(row.classes, item.checkState(0) == qt.Qt.Checked)
