"""The Learn part: what was accepted, the round that runs or ended, and which model is in use."""

from __future__ import annotations

from typing import Any

import qt

from ..core.workflow.view import LearnPart, ScoreRow
from .panel import Panel
from .render import put, render_choices, render_control, render_note, show, silent

_STEPS = 1000
_TIME = "HH:mm"
_COLORS = {"good": (0, 128, 0), "bad": (192, 0, 0)}


class LearnPanel(Panel):
    """Renders :class:`LearnPart`."""

    part = "learn"

    def _connect(self) -> None:
        ui, controller = self._ui, self._controller
        self._rows: tuple[ScoreRow, ...] = ()
        self._cells: list[Any] = []
        header = ui.scoresTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        fold = ui.learnCollapsibleButton
        fold.connect("contentsCollapsed(bool)", lambda is_folded: self._do(controller.show_learn, not is_folded))
        ui.installLearningButton.connect("clicked()", lambda: self._do(controller.install_learning))
        ui.learnButton.connect("clicked()", lambda: self._do(controller.learn))
        ui.pauseLearningButton.connect("clicked(bool)", lambda on: self._do(controller.pause_learning, on))
        ui.stopLearningButton.connect("clicked()", lambda: self._do(controller.stop_learning))
        ui.learnAutomaticComboBox.connect("activated(int)", lambda _row: self._automatic_chosen())
        ui.learnCountSpinBox.connect("valueChanged(int)", lambda _count: self._automatic_chosen())
        ui.learnTimeEdit.connect("timeChanged(QTime)", lambda _time: self._automatic_chosen())
        ui.useVersionButton.connect("clicked()", lambda: self._do(controller.use_version))
        ui.goBackButton.connect("clicked()", lambda: self._do(controller.go_back))
        ui.openReportButton.connect("clicked()", self._open_report)

    def render(self, part: LearnPart) -> None:
        """Sets the widgets of the part."""
        ui = self._ui
        show(ui.learnCollapsibleButton, part.is_visible)
        render_note(ui.learnCountsLabel, part.counts)
        render_note(ui.learnNoteLabel, part.note)
        render_note(ui.outcomeLabel, part.outcome)
        render_note(ui.inUseLabel, part.in_use)
        self._render_round(part)
        self._render_automatic(part)
        self._render_scores(part.rows)
        for button, control in (
            (ui.installLearningButton, part.install),
            (ui.learnButton, part.learn),
            (ui.pauseLearningButton, part.pause),
            (ui.stopLearningButton, part.stop),
            (ui.useVersionButton, part.use),
            (ui.goBackButton, part.back),
            (ui.openReportButton, part.open_report),
        ):
            render_control(button, control)

    def _render_round(self, part: LearnPart) -> None:
        ui = self._ui
        show(ui.roundFrame, part.fraction is not None)
        if part.fraction is not None:
            put(ui.roundProgressBar, value=round(part.fraction * _STEPS))
        put(ui.roundTimeLeftLabel, text=part.time_left)
        render_note(ui.roundLabel, part.round_text)
        put(ui.pauseLearningButton, text=part.pause_text)

    def _render_automatic(self, part: LearnPart) -> None:
        ui = self._ui
        render_choices(ui.learnAutomaticComboBox, part.automatics, part.automatic)
        for box, control in ((ui.learnCountSpinBox, part.count_box), (ui.learnTimeEdit, part.time_box)):
            render_control(box, control)
        with silent(ui.learnCountSpinBox):
            put(ui.learnCountSpinBox, value=part.count)
        if ui.learnTimeEdit.time.toString(_TIME) != part.time:
            with silent(ui.learnTimeEdit):
                ui.learnTimeEdit.setTime(qt.QTime.fromString(part.time, _TIME))

    def _automatic_chosen(self) -> None:
        ui = self._ui
        value = ui.learnAutomaticComboBox.itemData(ui.learnAutomaticComboBox.currentIndex)
        time = ui.learnTimeEdit.time.toString(_TIME)
        self._do(self._controller.set_automatic, str(value), int(ui.learnCountSpinBox.value), str(time))

    def _render_scores(self, rows: tuple[ScoreRow, ...]) -> None:
        table = self._ui.scoresTable
        show(table, bool(rows))
        if rows == self._rows:
            return
        self._rows = rows
        table.setRowCount(0)
        table.setRowCount(len(rows))
        self._cells = []
        for place, row in enumerate(rows):
            for column, text in enumerate((row.name, row.before, row.after, row.cases, row.verdict)):
                cell = qt.QTableWidgetItem(text)
                cell.setToolTip(row.tip)
                if row.kind in _COLORS:
                    cell.setForeground(qt.QBrush(qt.QColor(*_COLORS[row.kind])))
                table.setItem(place, column, cell)
                self._cells.append(cell)

    def _open_report(self) -> None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(self._controller.view.learn.report))
