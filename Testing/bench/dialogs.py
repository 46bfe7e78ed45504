"""Modal dialogs that record what they were asked and answer from a list, since nobody is there to click.

A test fills `recorder.answers` beforehand; without an answer a dialog is cancelled. Everything that was shown is in
`recorder.shown`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from PySide6 import QtWidgets

from .standin import StandIn


@dataclass
class Shown:
    """One message or dialog: what kind it was, its text and the other arguments."""

    kind: str
    text: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class Recorder:
    """What was shown since the last reset, and the answers still to give."""

    shown: list[Shown] = field(default_factory=list)
    answers: deque = field(default_factory=deque)

    def ask(self, kind: str, text: str, default: Any, **arguments: Any) -> Any:
        """Note a question and return the next prepared answer, or `default` where there is none."""
        self.shown.append(Shown(kind, text, arguments))
        return self.answers.popleft() if self.answers else default

    def tell(self, kind: str, text: str, **arguments: Any) -> None:
        """Note a message that needs no answer."""
        self.shown.append(Shown(kind, text, arguments))

    def reset(self) -> None:
        """Forget all messages and answers."""
        self.shown.clear()
        self.answers.clear()

    def texts(self, kind: str = "") -> list[str]:
        """The texts shown, of one kind or of all."""
        return [each.text for each in self.shown if kind in ("", each.kind)]


recorder = Recorder()


def run_modal(dialog: Any, *_: Any) -> Any:
    """Stands for `exec_()`: records the dialog instead of blocking.

    The answer True accepts (Ok, Yes or Retry of a message box), False or none cancels; a number is returned as it is.
    """
    if isinstance(dialog, QtWidgets.QMessageBox):
        shown = {name: getattr(dialog, name) for name in ("windowTitle", "informativeText", "detailedText")}
        answer = recorder.ask(type(dialog).__name__, dialog.text, False, **shown)
        return _button(dialog, answer) if isinstance(answer, bool) else answer
    answer = recorder.ask(type(dialog).__name__, getattr(dialog, "windowTitle", ""), False)
    return int(answer) if isinstance(answer, bool) else answer


def _button(box: QtWidgets.QMessageBox, accepted: bool) -> Any:
    buttons = QtWidgets.QMessageBox.StandardButton
    order = (buttons.Ok, buttons.Yes, buttons.Retry) if accepted else (buttons.Cancel, buttons.No, buttons.Close)
    return next((each for each in order if box.standardButtons & each), order[0])


class FileDialog(StandIn, QtWidgets.QFileDialog):
    """PythonQt's file dialog functions return the path alone, '' where the person cancels."""

    @staticmethod
    def getOpenFileName(parent=None, caption="", dir="", filter="", *_):
        """Path of an existing file."""
        return recorder.ask("getOpenFileName", caption, "", dir=dir, filter=filter)

    @staticmethod
    def getOpenFileNames(parent=None, caption="", dir="", filter="", *_):
        """Paths of existing files, a tuple."""
        return recorder.ask("getOpenFileNames", caption, (), dir=dir, filter=filter)

    @staticmethod
    def getSaveFileName(parent=None, caption="", dir="", filter="", *_):
        """Path to write to."""
        return recorder.ask("getSaveFileName", caption, "", dir=dir, filter=filter)

    @staticmethod
    def getExistingDirectory(parent=None, caption="", dir="", *_):
        """Path of an existing folder."""
        return recorder.ask("getExistingDirectory", caption, "", dir=dir)


class InputDialog(StandIn, QtWidgets.QInputDialog):
    """PythonQt's `getText` returns the text alone, '' where the person cancels."""

    @staticmethod
    def getText(parent, title, label, *_):
        """One line of text."""
        return recorder.ask("getText", label, "", title=title)


def _message(kind: str) -> Any:
    def show(parent, title, text, *_):
        return recorder.ask(kind, text, QtWidgets.QMessageBox.StandardButton.Cancel, title=title)

    return staticmethod(show)


class MessageBox(StandIn, QtWidgets.QMessageBox):
    """The static functions of `QMessageBox` record instead of blocking."""

    information = _message("information")
    question = _message("question")
    warning = _message("warning")
    critical = _message("critical")


def replacements() -> dict[str, type]:
    """Classes that stand in `qt` in place of PySide6's own."""
    return {"QFileDialog": FileDialog, "QInputDialog": InputDialog, "QMessageBox": MessageBox}
