"""The Set-up part: what will be installed, the model file to import, the self-test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import qt

from ..core.i18n import _
from ..core.workflow.ports import Package
from ..core.workflow.view import SetupPart
from .panel import Panel
from .render import put, render_control, render_note, show

_VERSION = re.compile("[<>=!~ ]")


class SetupPanel(Panel):
    """Renders :class:`SetupPart`."""

    part = "setup"

    def _connect(self) -> None:
        ui, controller = self._ui, self._controller
        self._packages: tuple[Package, ...] = ()
        self._cells: list[Any] = []
        header = ui.packagesTable.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        ui.installButton.connect("clicked()", lambda: self._do(controller.install))
        ui.importModelButton.connect("clicked()", self._import_model)
        ui.selfTestButton.connect("clicked()", lambda: self._do(controller.self_test))
        ui.showSetupButton.connect("clicked()", lambda: self._do(_nothing))

    def render(self, part: SetupPart) -> None:
        """Sets the widgets of the part; it also shows when the person asked for it."""
        ui = self._ui
        put(ui.showSetupButton, enabled=not part.is_visible)
        if part.is_visible:
            put(ui.showSetupButton, toolTip=_("The set-up is shown because something is missing."))
        else:
            put(ui.showSetupButton, toolTip=_("Shows or hides the set-up: packages, import of a model, self-test."))
        show(ui.setupCollapsibleButton, part.is_visible or ui.showSetupButton.checked)
        render_note(ui.setupLabel, part.text)
        self._render_packages(part.packages)
        render_control(ui.installButton, part.install)
        render_control(ui.importModelButton, part.import_model)
        render_control(ui.selfTestButton, part.self_test)
        render_note(ui.verdictsLabel, "\n".join(part.verdicts))

    def _render_packages(self, packages: tuple[Package, ...]) -> None:
        table = self._ui.packagesTable
        show(table, bool(packages))
        if packages == self._packages:
            return
        self._packages = packages
        table.setRowCount(0)
        table.setRowCount(len(packages))
        self._cells = []
        for row, package in enumerate(sorted(packages, key=lambda package: package.is_good)):  # what is missing first
            for column, (text, tip) in enumerate(_row(package)):
                cell = qt.QTableWidgetItem(text)
                cell.setToolTip(tip)
                table.setItem(row, column, cell)
                self._cells.append(cell)
        table.resizeRowsToContents()

    def _import_model(self) -> None:
        path = qt.QFileDialog.getOpenFileName(
            self._ui.setupCollapsibleButton,
            _("Import a model file"),
            "",
            _("Models (*.pth *.pt *.onnx);;All files (*)"),
        )
        if path:
            self._do(self._controller.import_model, Path(str(path)))


def _row(package: Package) -> tuple[tuple[str, str], ...]:
    """Text and tooltip of the cells; what a package is for stands below its name."""
    size = _("installed") if package.is_good else _("{size} MB").format(size=package.download_mb)
    state = _("Installed: {version}").format(version=package.installed) if package.installed else _("Not installed.")
    name = _VERSION.split(package.requirement)[0]
    return (
        (f"{name}\n{package.reason}", f"{package.requirement}\n{package.reason}\n{state}"),
        (package.licence, package.licence),
        (size, state),
    )


def _nothing() -> None:
    """Opening or closing the part by hand changes nothing but the part."""
