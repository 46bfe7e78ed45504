"""Stand-ins for qMRML widgets, with the names of Slicer's public headers and nothing more.

They work on the real MRML scene: node selectors list real nodes and follow additions, removals and new names.
"""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .standin import StandIn, stored


def scene_class() -> Any:
    """MRML's scene class, imported when a widget needs it."""
    from slicer import vtkMRMLScene

    return vtkMRMLScene


class SceneWatch:
    """Calls a function after the scene's nodes changed; ends with `stop`."""

    def __init__(self, scene: Any, changed: Any) -> None:
        self.scene = scene
        events = scene_class()
        watched = (
            events.NodeAddedEvent, events.NodeRemovedEvent, events.EndCloseEvent,
            events.EndImportEvent, events.EndBatchProcessEvent,
        )  # fmt: skip
        self.tags = [scene.AddObserver(event, lambda *_: changed()) for event in watched]

    def stop(self) -> None:
        """Remove the observers."""
        for tag in self.tags:
            self.scene.RemoveObserver(tag)
        self.tags = []


class qMRMLWidget(StandIn, QtWidgets.QWidget):
    """A widget that hands its scene on to the widgets that a `.ui` file connects to it."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, *args):
        super().__init__(*args)
        self._scene = None

    def mrmlScene(self):
        """The scene, None at first."""
        return self._scene

    def setMRMLScene(self, scene):
        """Take a scene and tell the connected widgets."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qMRMLNodeComboBox(StandIn, QtWidgets.QWidget):
    """Selector of a node of the scene; disabled until it has a scene."""

    currentNodeChanged = Signal((object,), (bool,))
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    nodeAddedByUserAction = Signal(object)
    nodeAboutToBeRemoved = Signal(object)
    currentNodeRenamed = Signal(str)
    nodeAboutToBeEdited = Signal(object)

    vars().update(stored("QStringList", [], "nodeTypes", lambda self, _: self._refresh()))
    vars().update(stored(bool, False, "showHidden", lambda self, _: self._refresh()))
    vars().update(stored(bool, True, "showChildNodeTypes", lambda self, _: self._refresh()))
    vars().update(stored("QStringList", [], "hideChildNodeTypes", lambda self, _: self._refresh()))
    vars().update(stored(str, "", "baseName"))
    vars().update(stored(bool, False, "noneEnabled", lambda self, _: self._refresh()))
    vars().update(stored(str, "None", "noneDisplay", lambda self, _: self._refresh()))
    vars().update(stored(bool, True, "addEnabled"))
    vars().update(stored(bool, True, "removeEnabled"))
    vars().update(stored(bool, False, "editEnabled"))
    vars().update(stored(bool, False, "renameEnabled"))
    vars().update(stored(bool, True, "selectNodeUponCreation"))
    vars().update(stored(str, "Singleton", "interactionNodeSingletonTag"))
    vars().update(stored(int, 0, "sizeAdjustPolicy"))

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = self._watch = self._current_id = None
        self._attributes, self._renames = [], {}
        self._combo = QtWidgets.QComboBox(self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.connect("currentIndexChanged(int)", self._combo_changed)
        self._combo.connect("activated(int)", lambda: self.nodeActivated.emit(self.currentNode()))
        self.connect("destroyed()", self._stop)
        self.setEnabled(False)

    # Scene and nodes

    def mrmlScene(self):
        """The scene, None at first."""
        return self._scene

    def setMRMLScene(self, scene):
        """List the nodes of a scene."""
        if scene is self._scene:
            return
        self._stop()
        self._scene = scene
        if scene is not None:
            self._watch = SceneWatch(scene, self._refresh)
        self.setEnabled(scene is not None)
        self._refresh()

    def nodes(self):
        """The nodes on the list."""
        if self._scene is None:
            return ()
        found = []
        for i in range(self._scene.GetNumberOfNodes()):
            node = self._scene.GetNthNode(i)
            if self._takes(node):
                found.append(node)
        return tuple(found)

    def nodeCount(self):
        """How many nodes are on the list."""
        return len(self.nodes())

    def nodeFromIndex(self, index):
        """The node at a place of the list, or None."""
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def addAttribute(self, node_type, name, value=None):
        """List only nodes with this attribute."""
        self._attributes.append((node_type, name, value))
        self._refresh()

    def removeAttribute(self, node_type, name):
        """Undo `addAttribute`."""
        self._attributes = [each for each in self._attributes if each[:2] != (node_type, name)]
        self._refresh()

    # Choice

    def currentNode(self):
        """The chosen node, or None."""
        return self._scene.GetNodeByID(self._current_id) if self._scene and self._current_id else None

    def setCurrentNode(self, node):
        """Choose a node (or its ID); None where it is not on the list."""
        self._choose(node if node is None or isinstance(node, str) else node.GetID())

    def setCurrentNodeID(self, node_id):
        """Choose a node by its ID."""
        self._choose(node_id)

    def setCurrentNodeIndex(self, index):
        """Choose a node by its place on the list."""
        node = self.nodeFromIndex(index)
        self._choose(node.GetID() if node else None)

    currentNodeID = Property(str, lambda self: self._current_id or "", setCurrentNodeID)

    def addNode(self, node_type=None):
        """Create a node of the first (or the named) type."""
        name = self.baseName or (node_type or self.nodeTypes[0]).removeprefix("vtkMRML").removesuffix("Node")
        node = self._scene.AddNewNodeByClass(node_type or self.nodeTypes[0], self._scene.GenerateUniqueName(name))
        for _, attribute, value in self._attributes:
            node.SetAttribute(attribute, str(value or ""))
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUserAction.emit(node)
        return node

    def removeCurrentNode(self):
        """Remove the chosen node from the scene."""
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())

    def renameCurrentNode(self):
        """Slicer asks for the name; the stand-in does nothing."""

    def editCurrentNode(self):
        """Tell that the node is to be edited."""
        self.nodeAboutToBeEdited.emit(self.currentNode())

    # Inside

    def _stop(self, *_):
        if self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._observe_names(())

    def _observe_names(self, nodes) -> None:
        wanted = {node.GetID(): node for node in nodes}
        for node_id in [each for each in self._renames if each not in wanted]:
            node, tag = self._renames.pop(node_id)
            node.RemoveObserver(tag)
        for node_id, node in wanted.items():
            if node_id not in self._renames:
                self._renames[node_id] = (node, node.AddObserver("ModifiedEvent", lambda node, _: self._renamed(node)))

    def _renamed(self, node) -> None:
        index = self._combo.findData(node.GetID())
        if index >= 0 and self._combo.itemText(index) != node.GetName():
            self._combo.setItemText(index, node.GetName())
            if node.GetID() == self._current_id:
                self.currentNodeRenamed.emit(node.GetName())

    def _takes(self, node) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        matches = node.IsA if self.showChildNodeTypes else (lambda name: node.GetClassName() == name)
        if not any(matches(each) for each in self.nodeTypes) or any(node.IsA(each) for each in self.hideChildNodeTypes):
            return False
        return all(
            node.GetAttribute(name) is not None and value in (None, node.GetAttribute(name))
            for kind, name, value in self._attributes
            if node.IsA(kind)
        )

    def _refresh(self) -> None:
        listed = [(None, self.noneDisplay)] if self.noneEnabled else []
        nodes = self.nodes()
        self._observe_names(nodes)
        listed += [(node.GetID(), node.GetName()) for node in nodes]
        ids = [each for each, _ in listed]
        shown = [self._combo.itemData(i) for i in range(self._combo.count)]
        for each in set(ids) - set(shown) - {None}:
            self.nodeAdded.emit(self._scene.GetNodeByID(each))
        chosen = self._current_id if self._current_id in ids else (ids[0] if ids else None)
        self._combo.blockSignals(True)
        self._combo.clear()
        for node_id, name in listed:
            self._combo.addItem(name, node_id)
        self._combo.blockSignals(False)
        self._choose(chosen)

    def _combo_changed(self, index: int) -> None:
        self._choose(self._combo.itemData(index))

    def _choose(self, node_id: str | None) -> None:
        ids = [self._combo.itemData(i) for i in range(self._combo.count)]
        node_id = node_id if node_id in ids else None
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(ids.index(node_id) if node_id in ids else -1)
        self._combo.blockSignals(False)
        if node_id != self._current_id:
            self._current_id = node_id
            self.currentNodeChanged[object].emit(self.currentNode())
            self.currentNodeChanged[bool].emit(self.currentNode() is not None)
            self.currentNodeIDChanged.emit(node_id or "")


CLASSES = {each.__name__: each for each in (qMRMLWidget, qMRMLNodeComboBox)}
"""The classes by name."""
