"""The embedded Segment Editor: which nodes it works on, and when it may listen to keys and views."""

from __future__ import annotations

from typing import Any

import slicer

_TAG = "GenesisSegment"


class SegmentEditor:
    """Drives a ``qMRMLSegmentEditorWidget``.

    It has a parameter node of its own, so that the choices in Slicer's own Segment Editor module stay as they are.
    Nodes are set once and in a fixed order (parameters, segmentation, volume): the widget complains otherwise.
    """

    def __init__(self, widget: Any) -> None:
        self._widget = widget
        self.logic = editor_logic()
        """Writes what the model finds, with the masks and the overwrite mode that the person chose in the editor."""
        self._segmentation_id = ""
        self._is_entered = False
        self._is_listening = False

    def prepare(self) -> None:
        """Makes the parameter node of this scene, or finds it; before anything is written or edited."""
        node = parameter_node()
        if self.logic.GetSegmentEditorNode() is not node:
            self.logic.SetSegmentEditorNode(node)
        if self._widget.mrmlSegmentEditorNode() is not node:
            self._widget.setMRMLSegmentEditorNode(node)

    def show(self, segmentation_id: str) -> None:
        """Works on a segmentation; "", or one that is gone, stops editing."""
        node = slicer.mrmlScene.GetNodeByID(segmentation_id) if segmentation_id else None
        wanted = segmentation_id if node is not None else ""
        if wanted != self._segmentation_id:
            self._listen(False)
            self._segmentation_id = wanted
            if wanted:
                self._attach(node)
        self._listen(self._is_entered and bool(wanted))

    def enter(self) -> None:
        """The module was opened."""
        self._is_entered = True
        self._listen(bool(self._segmentation_id))

    def exit(self) -> None:
        """The module was left: no key and no click in a view may reach the editor any more."""
        self._is_entered = False
        self._listen(False)

    def forget_scene(self) -> None:
        """The scene is about to close: lets go of all nodes."""
        self._listen(False)
        if self._segmentation_id:
            self._segmentation_id = ""
            self._widget.setSegmentationNode(None)
        self._widget.setMRMLSegmentEditorNode(None)
        self.logic.SetSegmentEditorNode(None)

    def save_state_for_undo(self) -> None:
        """Makes what follows one step of undo; of the editor's Undo button where the editor is shown."""
        if self._segmentation_id:
            self._widget.saveStateForUndo()
        else:
            self.logic.SaveStateForUndo()

    def select(self, segment_id: str) -> None:
        """Selects a segment in the editor."""
        if self._segmentation_id and segment_id and self._widget.currentSegmentID() != segment_id:
            self._widget.setCurrentSegmentID(segment_id)

    def _attach(self, segmentation: Any) -> None:
        self.prepare()
        widget = self._widget
        widget.setSegmentationNode(segmentation)
        role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        widget.setSourceVolumeNode(segmentation.GetNodeReference(role))

    def _listen(self, is_listening: bool) -> None:
        if is_listening == self._is_listening:
            return
        self._is_listening = is_listening
        if is_listening:
            self._widget.setupViewObservations()
            self._widget.installKeyboardShortcuts()
        else:
            self._widget.setActiveEffectByName("")
            self._widget.uninstallKeyboardShortcuts()
            self._widget.removeViewObservations()


def editor_logic() -> Any:
    """A segment editor logic on this scene, without a parameter node yet."""
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    return logic


def parameter_node() -> Any:
    """Our parameter node of the editor in this scene, made where there is none; neighbours are safe by default."""
    scene = slicer.mrmlScene
    node = scene.GetSingletonNode(_TAG, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_TAG)
        node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        node = scene.AddNode(node)
    return node
