"""The embedded Segment Editor: which nodes it works on, and when it may listen to keys and views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.util import VTKObservationMixin
from vtk import vtkCommand

from ..mrml.editing import editor_node
from ..mrml.tags import is_protected


class SegmentEditor(VTKObservationMixin):
    """Drives a ``qMRMLSegmentEditorWidget``.

    It has a parameter node of its own, so that the choices in Slicer's own Segment Editor module stay as they are.
    Nodes are set once and in a fixed order (parameters, segmentation, volume): the widget complains otherwise. It works
    on the result as soon as there is one, shown or not: states are saved for undo by the widget alone, so that its
    Undo, its key and our button take back strokes of the person and writes of the model in the order they were made.
    The editor knows nothing of our marks: while a locked or reviewed segment is selected, no effect can be active.
    """

    def __init__(self, widget: Any) -> None:
        super().__init__()
        self._widget = widget
        self.logic = editor_logic()
        """Writes what the model finds, with the masks and the overwrite mode that the person chose in the editor."""
        self._segmentation_id = ""
        self._is_entered = False
        self._is_open = False
        self._is_listening = False
        self._effect_taken: Callable[[], None] = lambda: None
        self._soon = qt.QTimer(widget)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.connect("timeout()", self._spare_protected)

    def prepare(self) -> None:
        """Makes the parameter node of this scene, or finds it; before anything is written or edited."""
        node = editor_node(slicer.mrmlScene)
        if self.logic.GetSegmentEditorNode() is not node:
            self.logic.SetSegmentEditorNode(node)
        if self._widget.mrmlSegmentEditorNode() is not node:
            self._widget.setMRMLSegmentEditorNode(node)
        if not self.hasObserver(node, vtkCommand.ModifiedEvent, self._choice_changed):
            self.removeObservers()
            self.addObserver(node, vtkCommand.ModifiedEvent, self._choice_changed)

    def show(self, segmentation_id: str, is_open: bool) -> None:
        """Works on a segmentation; "", or one that is gone, is none. ``is_open``: the person edits in it now."""
        node = slicer.mrmlScene.GetNodeByID(segmentation_id) if segmentation_id else None
        wanted = segmentation_id if node is not None else ""
        if wanted != self._segmentation_id:
            self._listen(False)
            self._segmentation_id = wanted
            if wanted:
                self._attach(node)
        self._is_open = is_open and bool(wanted)
        self._listen(self._is_entered and self._is_open)

    def enter(self) -> None:
        """The module was opened."""
        self._is_entered = True
        self._listen(self._is_open)

    def exit(self) -> None:
        """The module was left: no key and no click in a view may reach the editor any more."""
        self._is_entered = False
        self._listen(False)

    def forget_scene(self) -> None:
        """The scene is about to close: lets go of all nodes."""
        self._is_open = False
        self.removeObservers()
        self._listen(False)
        if self._segmentation_id:
            self._segmentation_id = ""
            self._widget.setSegmentationNode(None)
        self._widget.setMRMLSegmentEditorNode(None)
        self.logic.SetSegmentEditorNode(None)

    @property
    def is_on_result(self) -> bool:
        """Whether the widget still works on the segmentation that it was given: a scene that was read may change it."""
        node = self._widget.mrmlSegmentEditorNode()
        segmentation = node.GetSegmentationNode() if node is not None else None
        return segmentation is not None and segmentation.GetID() == self._segmentation_id

    @property
    def active_effect(self) -> str:
        """Name of the tool that is in use, or ""."""
        node = self._widget.mrmlSegmentEditorNode()
        return (node.GetActiveEffectName() or "") if node is not None else ""

    def save_state_for_undo(self) -> None:
        """Makes what the logic writes next one step of undo of the widget."""
        node = self.logic.GetSegmentationNode()
        if node is not None and node.GetID() != self._segmentation_id:
            self._segmentation_id = node.GetID()
            self._attach(node)
        self._widget.saveStateForUndo()

    def undo(self) -> bool:
        """Takes the last step back; whether there was one."""
        return self._is_changed_by(self._widget.undo)

    def redo(self) -> bool:
        """Makes the last step that was taken back again; whether there was one."""
        return self._is_changed_by(self._widget.redo)

    def select(self, segment_id: str) -> None:
        """Selects a segment in the editor."""
        if self._segmentation_id and segment_id and self._widget.currentSegmentID() != segment_id:
            self._widget.setCurrentSegmentID(segment_id)
        self._spare_protected()

    def on_effect(self, call: Callable[[], None]) -> None:
        """Has a function called when the person takes a tool of the editor."""
        self._effect_taken = call

    def rest(self) -> None:
        """Puts the tool of the editor down."""
        if self.active_effect:
            self._widget.setActiveEffectByName("")

    def _choice_changed(self, _caller: Any, _event: Any) -> None:
        if self.active_effect:
            self._effect_taken()
        if self._is_effect_on_protected():
            # Later: the widget is in the middle of switching to the effect, or to the segment.
            self._soon.start()

    def _spare_protected(self) -> None:
        if self._is_effect_on_protected():
            self._widget.setActiveEffectByName("")

    def _is_effect_on_protected(self) -> bool:
        node = self._widget.mrmlSegmentEditorNode()
        segmentation = node.GetSegmentationNode() if node is not None else None
        if segmentation is None or not node.GetActiveEffectName():
            return False
        segment = segmentation.GetSegmentation().GetSegment(node.GetSelectedSegmentID() or "")
        return segment is not None and is_protected(segment)

    def _is_changed_by(self, step: Callable[[], None]) -> bool:
        """The widget does not say whether it has a step left; if it has, the segmentation tells of it."""
        node = slicer.mrmlScene.GetNodeByID(self._segmentation_id) if self._segmentation_id else None
        if node is None:
            return False
        heard: list[str] = []
        segmentation = node.GetSegmentation()
        tag = segmentation.AddObserver("AnyEvent", lambda _caller, event: heard.append(event))
        try:
            step()
        finally:
            segmentation.RemoveObserver(tag)
        return bool(heard)

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
