"""Stand-ins for the qMRML widgets that show and edit segments, on real segmentations.

Effects, views and the cells of the table are not modelled.
"""

from __future__ import annotations

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from .qmrml_widgets import qMRMLWidget
from .standin import stored


class qMRMLSegmentsTableView(qMRMLWidget):
    """A table of the segments of one segmentation: name, and which are selected."""

    selectionChanged = Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = Signal(str)

    vars().update(stored(int, 3, "selectionMode"))
    vars().update(stored(bool, True, "headerVisible"))
    vars().update(stored(bool, True, "visibilityColumnVisible"))
    vars().update(stored(bool, True, "colorColumnVisible"))
    vars().update(stored(bool, True, "opacityColumnVisible"))
    vars().update(stored(bool, False, "statusColumnVisible"))
    vars().update(stored(bool, False, "layerColumnVisible"))
    vars().update(stored(bool, False, "readOnly"))
    vars().update(stored(bool, False, "filterBarVisible"))
    vars().update(stored(str, "", "textFilter", lambda self, _: self._refresh()))
    vars().update(stored(bool, False, "jumpToSelectedSegmentEnabled"))
    segmentCount = Property(int, lambda self: len(self._ids()))

    def __init__(self, parent=None):
        super().__init__(parent)
        self._node, self._tags, self._hidden = None, [], ()
        self._table = QtWidgets.QTableWidget(0, 1, self)
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.setHorizontalHeaderLabels(["Name"])
        self._table.horizontalHeader().setStretchLastSection(True)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged)
        self.connect("destroyed()", self._unwatch)

    def segmentationNode(self):
        """The segmentation, or None."""
        return self._node

    def setSegmentationNode(self, node):
        """Show the segments of a segmentation."""
        self._unwatch()
        self._node = node
        if node is not None:
            import slicer

            events = slicer.vtkSegmentation
            watched = (events.SegmentAdded, events.SegmentRemoved, events.SegmentModified, events.SegmentsOrderModified)
            self._tags = [
                (node.GetSegmentation(), node.GetSegmentation().AddObserver(each, lambda *_: self._refresh()))
                for each in watched
            ]
        self._refresh()

    def tableWidget(self):
        """The table inside."""
        return self._table

    def displayedSegmentIDs(self):
        """IDs of the segments on the list."""
        return tuple(self._ids())

    def setHideSegments(self, segment_ids):
        """Leave segments out of the list."""
        self._hidden = tuple(segment_ids)
        self._refresh()

    def hideSegments(self):
        """IDs of the segments left out."""
        return self._hidden

    def selectedSegmentIDs(self):
        """IDs of the selected rows."""
        rows = {each.row() for each in self._table.selectedIndexes()}
        return tuple(each for row, each in enumerate(self._ids()) if row in rows)

    def setSelectedSegmentIDs(self, segment_ids):
        """Select rows."""
        self._table.clearSelection()
        wanted = set(segment_ids)
        flag = QtCore.QItemSelectionModel.SelectionFlag.Select | QtCore.QItemSelectionModel.SelectionFlag.Rows
        for row, each in enumerate(self._ids()):
            if each in wanted:
                self._table.selectionModel().select(self._table.model().index(row, 0), flag)

    def clearSelection(self):
        """Select nothing."""
        self._table.clearSelection()

    def rowForSegmentID(self, segment_id):
        """The row of a segment, -1 where it is not listed."""
        ids = self._ids()
        return ids.index(segment_id) if segment_id in ids else -1

    def segmentIDForRow(self, row):
        """The segment of a row, '' where there is none."""
        ids = self._ids()
        return ids[row] if 0 <= row < len(ids) else ""

    def _ids(self) -> list[str]:
        if self._node is None or self._node.GetSegmentation() is None:
            return []
        segmentation = self._node.GetSegmentation()
        text = self.textFilter.lower()
        return [
            each
            for each in segmentation.GetSegmentIDs()
            if each not in self._hidden and text in segmentation.GetSegment(each).GetName().lower()
        ]

    def _refresh(self) -> None:
        selected = self.selectedSegmentIDs() if self._table.rowCount else ()
        ids = self._ids()
        self._table.setRowCount(len(ids))
        for row, each in enumerate(ids):
            self._table.setItem(
                row, 0, QtWidgets.QTableWidgetItem(self._node.GetSegmentation().GetSegment(each).GetName())
            )
        self.setSelectedSegmentIDs(selected)

    def _unwatch(self, *_):
        for observed, tag in self._tags:
            observed.RemoveObserver(tag)
        self._tags = []


class qMRMLSegmentEditorWidget(qMRMLWidget):
    """The Segment Editor without effects: writes the choices to the editor's parameter node; undo is Slicer's own."""

    currentSegmentIDChanged = Signal(str)
    sourceVolumeNodeChanged = Signal(object)
    segmentationNodeChanged = Signal(object)

    vars().update(stored(bool, True, "segmentationNodeSelectorVisible"))
    vars().update(stored(bool, True, "sourceVolumeNodeSelectorVisible"))
    vars().update(stored(bool, True, "autoShowSourceVolumeNode"))
    vars().update(stored(bool, True, "switchToSegmentationsButtonVisible"))
    vars().update(stored(bool, True, "undoEnabled"))
    vars().update(stored(int, 10, "maximumNumberOfUndoStates"))
    vars().update(stored(bool, False, "readOnly"))
    vars().update(stored(int, 2, "effectButtonStyle"))
    vars().update(stored(int, 2, "effectColumnCount"))
    vars().update(stored(bool, True, "unorderedEffectsVisible"))
    vars().update(stored(str, "", "defaultTerminologyEntrySettingsKey"))
    vars().update(stored(str, "", "defaultTerminologyEntry"))
    vars().update(stored(bool, False, "jumpToSelectedSegmentEnabled"))

    def __init__(self, parent=None):
        super().__init__(parent)
        from slicer import vtkSlicerSegmentEditorLogic

        self._editor, self._order, self._shortcuts = None, (), False
        self._logic = vtkSlicerSegmentEditorLogic()
        self._table = qMRMLSegmentsTableView(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.addWidget(QtWidgets.QLabel("Segment Editor (stand-in)", self))
        layout.addWidget(self._table)
        self._table.connect("selectionChanged(QItemSelection,QItemSelection)", self._row_selected)

    def mrmlSegmentEditorNode(self):
        """The editor's parameter node, or None."""
        return self._editor

    def setMRMLSegmentEditorNode(self, node):
        """Work on a parameter node."""
        self._editor = node
        if self._scene is not None and self._logic.GetMRMLScene() is not self._scene:
            self._logic.SetMRMLScene(self._scene)
        self._logic.SetSegmentEditorNode(node)
        self.updateWidgetFromMRML()

    def updateWidgetFromMRML(self):
        """Show what the parameter node says."""
        self._table.setSegmentationNode(self.segmentationNode())

    def segmentationNode(self):
        """The segmentation that is edited, or None."""
        return self._editor.GetSegmentationNode() if self._editor else None

    def segmentationNodeID(self):
        """ID of the segmentation, '' where there is none."""
        return self.segmentationNode().GetID() if self.segmentationNode() else ""

    def setSegmentationNode(self, node):
        """Edit a segmentation; without a parameter node nothing happens, as in Slicer."""
        if self._editor is not None and node is not self.segmentationNode():
            self._editor.SetAndObserveSegmentationNode(node)
            self.updateWidgetFromMRML()
            self.segmentationNodeChanged.emit(node)

    def setSegmentationNodeID(self, node_id):
        """Edit a segmentation, by ID."""
        self.setSegmentationNode(self._scene.GetNodeByID(node_id) if node_id else None)

    def sourceVolumeNode(self):
        """The volume behind the segmentation, or None."""
        return self._editor.GetSourceVolumeNode() if self._editor else None

    def sourceVolumeNodeID(self):
        """ID of the volume, '' where there is none."""
        return self.sourceVolumeNode().GetID() if self.sourceVolumeNode() else ""

    def setSourceVolumeNode(self, node):
        """Edit on a volume."""
        if self._editor is not None and node is not self.sourceVolumeNode():
            self._editor.SetAndObserveSourceVolumeNode(node)
            self.sourceVolumeNodeChanged.emit(node)

    def setSourceVolumeNodeID(self, node_id):
        """Edit on a volume, by ID."""
        self.setSourceVolumeNode(self._scene.GetNodeByID(node_id) if node_id else None)

    def currentSegmentID(self):
        """ID of the selected segment, '' where there is none."""
        return (self._editor.GetSelectedSegmentID() or "") if self._editor else ""

    def setCurrentSegmentID(self, segment_id):
        """Select a segment."""
        if self._editor is not None and segment_id != self.currentSegmentID():
            self._editor.SetSelectedSegmentID(segment_id)
            self._table.setSelectedSegmentIDs([segment_id])
            self.currentSegmentIDChanged.emit(segment_id)

    def activeEffect(self):
        """Effects are not modelled: always None."""

    def setActiveEffectByName(self, name):
        """Note the effect in the parameter node."""
        if self._editor is not None:
            self._editor.SetActiveEffectName(name)

    def saveStateForUndo(self):
        """Make what follows one step of undo."""
        if self.segmentationNode() is not None:
            self._logic.SaveStateForUndo()

    def undo(self):
        """Go one state back."""
        self._logic.Undo()

    def redo(self):
        """Go one state forth."""
        self._logic.Redo()

    def setEffectNameOrder(self, names):
        """Order of the effects."""
        self._order = tuple(names)

    def effectNameOrder(self):
        """Order of the effects."""
        return self._order

    def setupViewObservations(self):
        """There are no views."""

    def removeViewObservations(self):
        """There are no views."""

    def installKeyboardShortcuts(self, parent=None):
        """Note that the shortcuts are on."""
        self._shortcuts = True

    def uninstallKeyboardShortcuts(self):
        """Note that the shortcuts are off."""
        self._shortcuts = False

    def hideLabelLayer(self):
        """There are no views."""

    def turnOffLightboxes(self):
        """There are no views."""
        return False

    def rotateSliceViewsToSegmentation(self):
        """There are no views."""

    def _row_selected(self, *_):
        selected = self._table.selectedSegmentIDs()
        if len(selected) == 1:
            self.setCurrentSegmentID(selected[0])


CLASSES = {each.__name__: each for each in (qMRMLSegmentsTableView, qMRMLSegmentEditorWidget)}
"""The classes by name."""
