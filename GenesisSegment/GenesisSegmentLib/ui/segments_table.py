"""The table of segments: shown, locked, reviewed, changed voxels, reset.

Cells are kept in Python for as long as the table lives: PythonQt may delete a cell with its last Python reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import qt
import slicer

from ..core.i18n import _
from ..core.workflow.view import Control, ReviewRow
from .render import color_icon, render_control, silent

NAME, SHOWN, LOCKED, REVIEWED, CHANGED, RESET = range(6)


class SegmentsTable:
    """Renders the rows.

    ``on_check(column, segment_id, is_on)``, ``on_reset(segment_id)`` and ``on_select(segment_id)`` are called for what
    the person does.
    """

    def __init__(
        self,
        table: Any,
        on_check: Callable[[int, str, bool], None],
        on_reset: Callable[[str], None],
        on_select: Callable[[str], None],
    ) -> None:
        self._table = table
        self._on_check, self._on_reset, self._on_select = on_check, on_reset, on_select
        self._ids: tuple[str, ...] = ()
        self._cells: list[list[Any]] = []
        self._buttons: list[Any] = []
        self._colors: list[tuple[int, int, int] | None] = []
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        table.connect("itemChanged(QTableWidgetItem*)", self._changed)
        table.connect("itemSelectionChanged()", self._selected)

    def render(self, rows: tuple[ReviewRow, ...], selected: str) -> None:
        """Shows these segments; rows are made anew only where segments came, went or moved."""
        ids = tuple(row.segment.segment_id for row in rows)
        with silent(self._table):
            if ids != self._ids:
                self._make(ids)
            for place, row in enumerate(rows):
                self._set(place, row)
            if selected in ids and self._table.currentRow() != ids.index(selected):
                self._table.selectRow(ids.index(selected))

    @property
    def selected(self) -> str:
        """ID of the selected segment, or ""."""
        row = self._table.currentRow()
        return self._ids[row] if 0 <= row < len(self._ids) else ""

    def _make(self, ids: tuple[str, ...]) -> None:
        self._table.setRowCount(0)
        self._table.setRowCount(len(ids))
        self._ids, self._cells, self._buttons, self._colors = ids, [], [], [None] * len(ids)
        for place, segment_id in enumerate(ids):
            cells = [qt.QTableWidgetItem() for _column in range(RESET)]
            for column, cell in enumerate(cells):
                self._table.setItem(place, column, cell)
            button = qt.QToolButton()
            button.setIcon(slicer.app.style().standardIcon(qt.QStyle.SP_BrowserReload))
            button.autoRaise = True
            button.connect("clicked()", partial(self._on_reset, segment_id))
            self._table.setCellWidget(place, RESET, button)
            self._cells.append(cells)
            self._buttons.append(button)

    def _set(self, place: int, row: ReviewRow) -> None:
        cells, segment = self._cells[place], row.segment
        if self._colors[place] != segment.color:
            self._colors[place] = segment.color
            cells[NAME].setIcon(color_icon(segment.color))
        _set_text(cells[NAME], segment.name, segment.name)
        shown = _("Hide this segment.") if segment.is_visible else _("Show this segment.")
        _set_check(cells[SHOWN], segment.is_visible, Control(True, shown))
        _set_check(cells[LOCKED], segment.is_locked, row.lock)
        _set_check(cells[REVIEWED], segment.is_reviewed, row.review)
        changed = segment.changed_voxels
        _set_text(cells[CHANGED], "" if changed is None else f"{changed:,}", row.change_text)
        render_control(self._buttons[place], row.reset)

    def _changed(self, cell: Any) -> None:
        if cell.column() in (SHOWN, LOCKED, REVIEWED):
            self._on_check(cell.column(), self._ids[cell.row()], cell.checkState() == qt.Qt.Checked)

    def _selected(self) -> None:
        if self.selected:
            self._on_select(self.selected)


def _set_text(cell: Any, text: str, tip: str) -> None:
    if cell.text() != text:
        cell.setText(text)
    if cell.toolTip() != tip:
        cell.setToolTip(tip)


def _set_check(cell: Any, is_on: bool, control: Control) -> None:
    check = qt.Qt.Checked if is_on else qt.Qt.Unchecked
    # A cell without a check box counts as unchecked: its first state must be set to make the box.
    if cell.data(qt.Qt.CheckStateRole) is None or cell.checkState() != check:
        cell.setCheckState(check)
    if cell.toolTip() != control.tip:
        cell.setToolTip(control.tip)
    wanted = qt.Qt.ItemIsSelectable
    if control.is_enabled:
        wanted = wanted | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable
    if cell.flags() != wanted:
        cell.setFlags(wanted)
