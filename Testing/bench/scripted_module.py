"""Stand-in for `slicer.ScriptedLoadableModule`: the four base classes, and the C++ objects that hold a module.

Written from the public interface. The section for developers is left out.
"""

from __future__ import annotations

import unittest
from pathlib import Path

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Property, QObject

from .qmrml_widgets import qMRMLWidget
from .standin import StandIn, stored

__all__ = [
    "ScriptedLoadableModule", "ScriptedLoadableModuleLogic", "ScriptedLoadableModuleTest",
    "ScriptedLoadableModuleWidget",
]  # fmt: skip


class qSlicerScriptedLoadableModule(StandIn, QObject):
    """The C++ side of a scripted module: what `parent` is in the module's constructor."""

    vars().update(stored(str, "", "path"))
    vars().update(stored(str, "", "title"))
    vars().update(stored("QStringList", [], "categories"))
    vars().update(stored("QStringList", [], "dependencies"))
    vars().update(stored("QStringList", [], "contributors"))
    vars().update(stored("QStringList", [], "associatedNodeTypes"))
    vars().update(stored(str, "", "helpText"))
    vars().update(stored(str, "", "acknowledgementText"))
    vars().update(stored(QtGui.QIcon, QtGui.QIcon(), "icon"))
    vars().update(stored(bool, False, "hidden"))
    vars().update(stored(int, -1, "index"))

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._widget = None
        self.setPath(str(path))
        self.setObjectName(path.stem)

    def widgetRepresentation(self):
        """The C++ side of the widget, or None before it was made."""
        return self._widget


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The C++ side of a module's widget: what `parent` is in the widget's constructor."""

    isEntered = Property(bool, lambda self: self._entered)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.setLayout(QtWidgets.QVBoxLayout())
        self._python = self._reload = None
        self._entered = False

    def self(self):
        """The widget's Python object."""
        return self._python

    def reload(self):
        """Make the Python object anew from the module's file."""
        self._reload()

    def enter(self):
        """Switch to the module."""
        self._entered = True
        if hasattr(self._python, "enter"):
            self._python.enter()

    def exit(self):
        """Switch to another module."""
        self._entered = False
        if hasattr(self._python, "exit"):
            self._python.exit()


class ScriptedLoadableModule:
    """Metadata of a module."""

    def __init__(self, parent):
        import slicer

        self.parent, self.moduleName = parent, type(self).__name__
        for suffix in (".svg", ".png"):
            icon = Path(self.resourcePath(f"Icons/{self.moduleName}{suffix}"))
            if icon.is_file():
                parent.icon = QtGui.QIcon(str(icon))
                break
        if not hasattr(slicer, "selfTests"):
            slicer.selfTests = {}
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename):
        """Path below `Resources` beside the module."""
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage=None):
        """A sentence with a link to the documentation."""
        import slicer

        url = slicer.app.moduleDocumentationUrl(self.moduleName)
        return f'<p>For more information see the <a href="{url}">online documentation</a>.</p>'

    def runTest(self, msec=100, **kwargs):
        """Run the module's self test."""
        import sys

        test = getattr(sys.modules[type(self).__module__], self.moduleName + "Test")()
        test.messageDelay = msec
        test.runTest(**kwargs)


class ScriptedLoadableModuleWidget:
    """The panel of a module."""

    def __init__(self, parent=None):
        import slicer

        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent
        if parent is None:
            self.parent = qMRMLWidget()
            self.parent.setLayout(QtWidgets.QVBoxLayout())
            self.parent.setMRMLScene(slicer.mrmlScene)
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename):
        """Path below `Resources` beside the module."""
        import slicer

        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self):
        """Build the panel."""

    def cleanup(self):
        """Undo `setup`."""

    def onReload(self):
        """Load the module's file again."""
        import slicer

        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, name):
        import slicer

        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """Computation of a module, and its parameter node."""

    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        """The module's parameter node, made where there is none."""
        import slicer

        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)
                return node
        else:
            found = self.getAllParameterNodes()
            if found:
                return found[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self):
        """All parameter nodes of the module."""
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [each for each in nodes if each.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        """A new parameter node, not in the scene yet."""
        import slicer

        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Self test of a module."""

    def delayDisplay(self, message, requestedDelay=None, msec=None):
        """Log the message."""
        import slicer

        slicer.util.delayDisplay(message, 0)

    def runTest(self):
        """Overridden by the module."""
