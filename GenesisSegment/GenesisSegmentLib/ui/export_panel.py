"""The Export part: formats, paint order where classes overlap, folder, and the button."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import qt

from ..core.i18n import _
from ..core.workflow.view import Choice, ExportPart
from .panel import Panel
from .render import put, render_control, render_note, show, silent


class ExportPanel(Panel):
    """Renders :class:`ExportPart`."""

    part = "export"

    def _connect(self) -> None:
        ui = self._ui
        self._boxes: dict[str, Any] = {}
        self._order: tuple[str, ...] = ()
        ui.paintUpButton.connect("clicked()", partial(self._move, -1))
        ui.paintDownButton.connect("clicked()", partial(self._move, 1))
        ui.paintOrderList.connect("currentRowChanged(int)", lambda: self._render_arrows())
        ui.folderPathLineEdit.connect("currentPathChanged(QString)", self._folder_chosen)
        fold = ui.exportCollapsibleButton
        fold.connect("contentsCollapsed(bool)", lambda is_folded: self._do(self._controller.show_export, not is_folded))
        ui.exportButton.connect("clicked()", lambda: self._do(self._controller.export))

    def render(self, part: ExportPart) -> None:
        """Sets the widgets of the part."""
        ui = self._ui
        for choice in part.formats:
            self._render_format(choice, choice.value in part.chosen)
        show(ui.paintFrame, bool(part.paint_order))
        put(ui.overlapNoteLabel, text=part.overlap_note)
        self._render_order(part.paint_order)
        # Compared as paths: while somebody types "folder/", the text must not be put back to "folder".
        if part.folder and Path(ui.folderPathLineEdit.currentPath) != Path(part.folder):
            with silent(ui.folderPathLineEdit):
                put(ui.folderPathLineEdit, currentPath=part.folder)
        render_control(ui.exportButton, part.export)
        render_note(ui.lastFilesLabel, _links(part.last_files))
        put(ui.lastFilesLabel, toolTip="\n".join(part.last_files))

    def _render_format(self, choice: Choice, is_chosen: bool) -> None:
        box = self._boxes.get(choice.value)
        if box is None:
            box = self._boxes[choice.value] = qt.QCheckBox()
            box.objectName = f"formatCheckBox_{choice.value}"
            box.connect("clicked()", self._formats_chosen)
            self._ui.formatsFrame.layout().addWidget(box)
        put(box, text=choice.text, toolTip=choice.tip, enabled=choice.is_enabled)
        with silent(box):
            put(box, checked=is_chosen)

    def _formats_chosen(self) -> None:
        chosen = tuple(key for key, box in self._boxes.items() if box.checked)
        self._do(self._controller.choose_formats, chosen)

    def _render_order(self, order: tuple[Choice, ...]) -> None:
        paint_list = self._ui.paintOrderList
        texts = tuple(choice.text for choice in order)
        selected = self._selected()
        with silent(paint_list):
            if tuple(paint_list.item(i).text() for i in range(paint_list.count)) != texts:
                paint_list.clear()
                for text in texts:
                    paint_list.addItem(text)
            self._order = tuple(choice.value for choice in order)
            if selected in self._order:
                paint_list.setCurrentRow(self._order.index(selected))
        self._render_arrows()

    def _render_arrows(self) -> None:
        row, last = self._ui.paintOrderList.currentRow, len(self._order) - 1
        choose = _("Choose a class in the list first.")
        up = choose if row < 0 else _("It is painted first already.") if row == 0 else ""
        down = choose if row < 0 else _("It is painted last already.") if row == last else ""
        earlier, later = _("Paint the selected class earlier."), _("Paint the selected class later, over the others.")
        put(self._ui.paintUpButton, enabled=not up, toolTip=up or earlier)
        put(self._ui.paintDownButton, enabled=not down, toolTip=down or later)

    def _folder_chosen(self, path: Any) -> None:
        if str(path).strip():
            self._do(self._controller.choose_folder, Path(str(path)))

    def _selected(self) -> str:
        row = self._ui.paintOrderList.currentRow
        return self._order[row] if 0 <= row < len(self._order) else ""

    def _move(self, step: int) -> None:
        if self._selected():
            self._do(self._controller.move_paint, int(self._selected()), step)


def _links(files: tuple[str, ...]) -> str:
    """How many files were written, with a link to their folder."""
    if not files:
        return ""
    folder = Path(files[0]).parent
    link = f'<a href="{escape(qt.QUrl.fromLocalFile(str(folder)).toString())}">{escape(folder.name)}</a>'
    return _("Written: {count} files in {folder}").format(count=len(files), folder=link)
