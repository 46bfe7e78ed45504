"""Loads a scripted module file as Slicer would and drives its panel: enter, exit, scene close, clean-up, clicks."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from . import scripted_module


class ModuleHost:
    """One loaded module in a window of its own.

    `module` is the Python module, `widget` the module's widget object, `ui` what the widget calls `self.ui`.
    Raises what the module's code raises.
    """

    def __init__(self, path: Path, size: tuple[int, int] = (480, 900)) -> None:
        self.path, self.name = Path(path), Path(path).stem
        self._import()
        import slicer

        self.holder = scripted_module.qSlicerScriptedLoadableModule(self.path)
        setattr(slicer.modules, self.name.lower(), self.holder)
        slicer.app.moduleManager()._modules[self.name] = self.holder
        self.module_object = getattr(self.module, self.name)(self.holder)
        setattr(slicer.modules, self.name + "Instance", self.module_object)
        self.window = QtWidgets.QScrollArea()
        self.window.setWidgetResizable(True)
        self.window.resize(*size)
        self.widget: Any = None

    def _import(self) -> None:
        folder = str(self.path.parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        self.module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = self.module
        spec.loader.exec_module(self.module)

    def setup(self) -> ModuleHost:
        """Make the widget, as Slicer does when the module is first selected."""
        import slicer

        parent = scripted_module.qSlicerScriptedLoadableModuleWidget()
        self.widget = getattr(self.module, self.name + "Widget")(parent)
        parent._python, parent._reload = self.widget, self._reload
        self.holder._widget = parent
        setattr(slicer.modules, self.name + "Widget", self.widget)
        self.widget.setup()
        parent.setMRMLScene(slicer.mrmlScene)
        self.window.setWidget(parent)
        self.window.show()
        pump(0)
        return self

    def _reload(self) -> None:
        self.module = sys.modules[self.name]
        self.setup()

    def start(self) -> ModuleHost:
        """`setup` and `enter`."""
        return self.setup().enter()

    def enter(self) -> ModuleHost:
        """Switch to the module."""
        self.widget.parent.enter()
        return self

    def exit(self) -> None:
        """Switch to another module."""
        self.widget.parent.exit()

    def close_scene(self) -> None:
        """What File > Close scene does."""
        import slicer

        slicer.mrmlScene.Clear(0)
        pump(0)

    def cleanup(self) -> None:
        """Unload the module and delete its window; does nothing the second time."""
        import slicer

        if self.widget is None:
            return
        if self.widget.parent.isEntered:
            self.exit()
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
        self.widget = None
        self.window.delete()
        for name in (self.name.lower(), self.name + "Instance", self.name + "Widget"):
            vars(slicer.modules).pop(name, None)
        slicer.app.moduleManager()._modules.pop(self.name, None)

    # Driving the panel

    @property
    def ui(self) -> Any:
        """The widgets of the `.ui` file by name."""
        return self.widget.ui

    def find(self, name: str) -> QtWidgets.QWidget:
        """A widget of the panel by object name; `KeyError` where there is none."""
        found = self.window.findChild(QtWidgets.QWidget, name)
        if found is None:
            raise KeyError(f"no widget called {name!r} in the panel of {self.name}")
        return found

    def click(self, name: str) -> None:
        """Click a button; a disabled or hidden one raises, as a person could not click it."""
        button = self.find(name)
        if not button.enabled:
            raise AssertionError(f"{name} is disabled: {button.toolTip}")
        if not button.visible:
            raise AssertionError(f"{name} is hidden")
        button.click()
        pump(0)

    def choose(self, name: str, text: str) -> None:
        """Choose an entry of a combo box or of a node selector by its text."""
        widget = self.find(name)
        combo = getattr(widget, "_combo", widget)
        index = combo.findText(text)
        if index < 0:
            raise AssertionError(f"{name} has no entry {text!r}: {[combo.itemText(i) for i in range(combo.count)]}")
        combo.setCurrentIndex(index)
        combo.activated.emit(index)
        pump(0)

    def type_text(self, name: str, text: str) -> None:
        """Replace the text of a line edit."""
        self.find(name).setText(text)
        pump(0)

    def grab(self, path: Path | str) -> None:
        """Save a picture of the window."""
        pump(0)
        if not self.window.grab().save(str(path)):
            raise OSError(f"no picture could be written to {path}")


def pump(milliseconds: int = 0) -> None:
    """Run the event loop for a while; also deletes what asked for `deleteLater`."""
    end = time.monotonic() + milliseconds / 1000
    while True:
        QtCore.QCoreApplication.processEvents()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete)
        if time.monotonic() >= end:
            return
        time.sleep(0.002)


def wait_until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    """Run the event loop until a condition holds; raises `AssertionError` after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {condition}")
        pump(10)
