"""Stand-ins for the CTK widgets that the module uses, with the names of CTK's public headers and nothing more.

They look alike enough for a screenshot and keep their properties; CTK's finer behaviour is not modelled.
"""

from __future__ import annotations

import types

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Qt, Signal
from PySide6.QtWidgets import QStyle

from . import dialogs
from .standin import StandIn, stored


class ctkCollapsibleButton(StandIn, QtWidgets.QAbstractButton):
    """A titled part of a panel that folds; `checked` is the opposite of `collapsed`."""

    contentsCollapsed = Signal(bool)

    vars().update(stored(int, 10, "collapsedHeight"))
    vars().update(stored(int, int(QtWidgets.QFrame.Shape.NoFrame.value), "contentsFrameShape"))
    vars().update(stored(int, int(QtWidgets.QFrame.Shadow.Plain.value), "contentsFrameShadow"))
    vars().update(stored(int, 1, "contentsLineWidth"))
    vars().update(stored(int, 0, "contentsMidLineWidth"))
    vars().update(
        stored(int, int((Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter).value), "buttonTextAlignment")
    )
    vars().update(
        stored(int, int((Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter).value), "indicatorAlignment")
    )

    def __init__(self, *args):
        text = args[0] if args and isinstance(args[0], str) else ""
        super().__init__(args[-1] if args and not isinstance(args[-1], str) else None)
        self._collapsed = False
        self._folding = False
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._head_height(), 0, 0)
        self.connect("toggled(bool)", lambda on: self._fold(not on))

    def setCollapsed(self, collapsed):
        """Fold or unfold."""
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)

    def _head_height(self) -> int:
        return self.fontMetrics().height() + 8

    def _fold(self, collapsed: bool) -> None:
        self._collapsed, self._folding = collapsed, True
        for child in self.findChildren(QtWidgets.QWidget):
            if child.parent() is self and not child.isWindow():
                wanted = child.property("visibilityToParent")
                child.setVisible(not collapsed and wanted is not False)
        self._folding = False
        self.setMaximumHeight(self._head_height() + self.collapsedHeight if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    def childEvent(self, event):
        """Watch new children, so that one that is shown while the part is folded appears only when it unfolds."""
        if event.added() and isinstance(event.child(), QtWidgets.QWidget):
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child, event):
        """Remember what each child wants while the part is folded."""
        kind = event.type()
        if kind in (QtCore.QEvent.Type.ShowToParent, QtCore.QEvent.Type.HideToParent) and not self._folding:
            child.setProperty("visibilityToParent", kind == QtCore.QEvent.Type.ShowToParent)
            if self._collapsed and kind == QtCore.QEvent.Type.ShowToParent:
                self._folding = True
                child.setVisible(False)
                self._folding = False
        return False

    def sizeHint(self):
        """Room for the head, and for the contents where a layout knows it."""
        head = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text) + 40, self._head_height())
        if self._collapsed:
            return head + QtCore.QSize(0, self.collapsedHeight)
        return head if self.layout() is None else self.layout().totalSizeHint().expandedTo(head)

    def minimumSizeHint(self):
        """As `sizeHint`, with the contents' minimum."""
        head = QtCore.QSize(40, self._head_height())
        if self._collapsed:
            return head + QtCore.QSize(0, self.collapsedHeight)
        return head if self.layout() is None else self.layout().totalMinimumSize().expandedTo(head)

    def hitButton(self, position):
        """Only the head reacts to clicks."""
        return position.y() < self._head_height()

    def paintEvent(self, _event):
        """Draw the head as a flat header with an arrow."""
        painter = QtWidgets.QStylePainter(self)
        head = QtCore.QRect(0, 0, self.rect.width(), self._head_height())
        painter.fillRect(head, self.palette.color(QtGui.QPalette.ColorRole.Midlight))
        option = QtWidgets.QStyleOption()
        option.initFrom(self)
        option.rect = QtCore.QRect(4, 4, head.height() - 8, head.height() - 8)
        arrow = (
            QStyle.PrimitiveElement.PE_IndicatorArrowRight
            if self._collapsed
            else QStyle.PrimitiveElement.PE_IndicatorArrowDown
        )
        painter.drawPrimitive(arrow, option)
        painter.drawText(head.adjusted(head.height(), 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text)


class ctkCollapsibleGroupBox(StandIn, QtWidgets.QGroupBox):
    """A group box that folds; `checked` is the opposite of `collapsed`."""

    def __init__(self, *args):
        super().__init__(*args)
        self._collapsed = False
        self.setCheckable(True)
        self.connect("toggled(bool)", self._fold)

    def setCollapsed(self, collapsed):
        """Fold or unfold."""
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)
    vars().update(stored(int, 14, "collapsedHeight"))

    def _fold(self, on: bool) -> None:
        self._collapsed = not on
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(on)


class ctkComboBox(StandIn, QtWidgets.QComboBox):
    """A combo box with a text for no choice and a tamed mouse wheel."""

    NeverScroll, AlwaysScroll, ScrollWithFocus, ScrollWithNoVScrollBar = range(4)
    currentUserDataAsStringChanged = Signal(str)
    defaultTextChanged = Signal(str)

    vars().update(stored(str, "", "defaultText", lambda self, text: self.setPlaceholderText(text)))
    vars().update(stored(int, AlwaysScroll, "scrollWheelEffect"))
    vars().update(stored(int, int(Qt.TextElideMode.ElideNone.value), "elideMode"))
    vars().update(stored(QtGui.QIcon, QtGui.QIcon(), "defaultIcon"))
    forceDefault = Property(
        bool, lambda self: self.__dict__.get("_forced", False), lambda self, on: self.__dict__.update(_forced=on)
    )

    def __init__(self, parent=None):
        super().__init__(parent)
        self.connect("currentIndexChanged(int)", lambda: self.currentUserDataAsStringChanged.emit(self._user_data()))

    def _user_data(self) -> str:
        data = self.itemData(self.currentIndex)
        return "" if data is None else str(data)

    def setCurrentUserDataAsString(self, text):
        """Choose the item with this user data."""
        self.setCurrentIndex(self.findData(text))

    currentUserDataAsString = Property(str, _user_data, setCurrentUserDataAsString)


class ctkPathLineEdit(StandIn, QtWidgets.QWidget):
    """A line for a path with a browse button; the dialog answers through `bench.dialogs`."""

    Dirs, Files, Drives, NoSymLinks, Readable, Writable, Executable = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40
    Modified, Hidden, System, AllDirs, CaseSensitive = 0x80, 0x100, 0x200, 0x400, 0x800
    NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x1000, 0x2000, 0x4000, -1
    AllEntries, TypeMask, PermissionMask, AccessMask = 0x07, 0x0F, 0x70, 0x3F0
    ShowDirsOnly, DontResolveSymlinks, DontConfirmOverwrite = 0x01, 0x02, 0x04
    AdjustToContents, AdjustToContentsOnFirstShow, AdjustToMinimumContentsLength = range(3)

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    vars().update(stored(str, "", "label"))
    vars().update(stored(int, 0x07, "filters"))
    vars().update(stored(int, 0, "options"))
    vars().update(stored(str, "", "settingKey"))
    vars().update(stored(bool, True, "showBrowseButton", lambda self, on: self._browse.setVisible(on)))
    vars().update(stored(bool, True, "showHistoryButton"))
    vars().update(stored(int, AdjustToContentsOnFirstShow, "sizeAdjustPolicy"))
    vars().update(stored(int, 0, "minimumContentsLength"))
    vars().update(stored("QStringList", [], "nameFilters"))

    def __init__(self, parent=None):
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        layout.addWidget(self._combo)
        layout.addWidget(self._browse)
        self._combo.connect("editTextChanged(QString)", self.currentPathChanged.emit)
        self._browse.connect("clicked()", self.browse)

    def setCurrentPath(self, path):
        """Show a path."""
        self._combo.setEditText(path)

    currentPath = Property(str, lambda self: self._combo.currentText, setCurrentPath, user=True)

    def comboBox(self):
        """The combo box inside."""
        return self._combo

    def browse(self):
        """Ask for a path."""
        kind = "getExistingDirectory" if not self.filters & self.Files else "getOpenFileName"
        if self.filters & self.Writable and kind == "getOpenFileName":
            kind = "getSaveFileName"
        path = dialogs.recorder.ask(kind, self.label, "", filter=self.nameFilters)
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self):
        """Keep the path for the next time; the stand-in has it in the list alone."""
        if self.currentPath and self._combo.findText(self.currentPath) < 0:
            self._combo.addItem(self.currentPath)

    def retrieveHistory(self):
        """Settings are not read by the stand-in."""


class ctkSearchBox(StandIn, QtWidgets.QLineEdit):
    """A line edit with a magnifying glass and a clear button."""

    vars().update(stored(bool, False, "showSearchIcon"))
    vars().update(stored(QtGui.QIcon, QtGui.QIcon(), "searchIcon"))
    vars().update(stored(QtGui.QIcon, QtGui.QIcon(), "clearIcon"))

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setClearButtonEnabled(True)

    def setAlwaysShowClearIcon(self, show):
        """Whether the clear button shows without text."""
        self._always_clear = bool(show)

    def alwaysShowClearIcon(self):
        """Whether the clear button shows without text."""
        return self.__dict__.get("_always_clear", False)


class ctkMessageBox(dialogs.MessageBox):
    """A message box that can remember "do not show again" under a settings key."""

    vars().update(stored(str, "", "dontShowAgainSettingsKey"))
    vars().update(stored(bool, False, "dontShowAgainVisible"))
    vars().update(stored(bool, False, "dontShowAgain"))


CLASSES = {
    each.__name__: each
    for each in (
        ctkCollapsibleButton,
        ctkCollapsibleGroupBox,
        ctkComboBox,
        ctkPathLineEdit,
        ctkSearchBox,
        ctkMessageBox,
    )
}


def module() -> types.ModuleType:
    """The module `ctk`."""
    ctk = types.ModuleType("ctk", "Stand-in for the CTK widgets in PythonQt.")
    vars(ctk).update(CLASSES)
    return ctk
