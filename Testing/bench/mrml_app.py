"""Real MRML without the Slicer application: a scene with the logics that Slicer's modules would bring.

The classes come from the ``slicer-core`` wheel, which is Slicer's own C++ without Qt. What is missing there, and done
here by the smallest means, is what the application itself does at start: register logics under the names that other
logics look for, give reading an MRB its cache folder, and make subject hierarchy items for nodes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps VTK from printing errors that are expected."""
    vtk.vtkObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        vtk.vtkObject.GlobalWarningDisplayOn()


class MrmlApp:
    """One scene and its logics; :meth:`install` makes them ``slicer.mrmlScene`` and ``slicer.modules``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="genesis-bench-")
        self.scene = slicer.vtkMRMLScene()
        self.application_logic = slicer.vtkMRMLApplicationLogic()
        self.logics: dict[str, Any] = {}
        self._add_colors()
        with quiet():  # it looks for Slicer's own JSON files, which the wheel leaves out
            self._add_logic("Terminologies", slicer.vtkSlicerTerminologiesModuleLogic())
        self._add_logic("Segmentations", slicer.vtkSlicerSegmentationsModuleLogic())
        self._add_logic("Volumes", slicer.vtkSlicerVolumesLogic())
        self._add_logic("Transforms", slicer.vtkSlicerTransformLogic())
        self._add_logic("SubjectHierarchy", slicer.vtkSlicerSubjectHierarchyModuleLogic())
        self._add_logic("Sequences", slicer.vtkSlicerSequencesLogic())
        self._add_logic("Tables", slicer.vtkSlicerTablesLogic())
        self._allow_reading_of_bundles()
        self._hierarchy = SubjectHierarchyItems(self.scene)

    def install(self) -> MrmlApp:
        """Puts scene and logics where code inside Slicer finds them; returns itself."""
        slicer.mrmlScene = self.scene
        slicer.modules = SimpleNamespace(
            **{
                name.lower(): SimpleNamespace(logic=lambda logic=logic: logic)  # type: ignore[misc]
                for name, logic in self.logics.items()
            }
        )
        return self

    def segment_editor(self) -> Any:
        """A segment editor logic, as the editor's widget has one; its parameter node is not set."""
        logic = slicer.vtkSlicerSegmentEditorLogic()
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        return logic

    def save_bundle(self, path: Path) -> bool:
        """Saves the scene as MRB."""
        return bool(self.scene.WriteToMRB(str(path)))

    def load_bundle(self, path: Path) -> bool:
        """Opens an MRB in place of the scene."""
        return bool(self.scene.ReadFromMRB(str(path), True))

    def clear(self) -> None:
        """Empties the scene, singletons included, as closing it does and a little more."""
        self.scene.Clear(True)

    def close(self) -> None:
        """Clears the scene and removes the temporary folder."""
        self._hierarchy.stop()
        self.scene.Clear(True)
        self._folder.cleanup()

    def _add_logic(self, name: str, logic: Any) -> None:
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        self.application_logic.SetModuleLogic(name, logic)
        self.logics[name] = logic

    def _add_colors(self) -> None:
        # Volumes and label maps look for a logic of exactly this name, or have no colour node.
        logic = slicer.vtkMRMLColorLogic()
        self.application_logic.SetMRMLScene(self.scene)
        self._add_logic("Colors", logic)
        self.application_logic.SetColorLogic(logic)

    def _allow_reading_of_bundles(self) -> None:
        self._remote = slicer.vtkMRMLRemoteIOLogic()
        self._remote.SetMRMLScene(self.scene)
        self._remote.AddDataIOToScene()
        cache = Path(self._folder.name) / "cache"
        cache.mkdir()
        self.scene.GetCacheManager().SetRemoteCacheDirectory(str(cache))
        self._io = slicer.vtkDataIOManagerLogic()
        self._io.SetMRMLApplicationLogic(self.application_logic)
        self._io.SetAndObserveDataIOManager(self.scene.GetDataIOManager())


class SubjectHierarchyItems:
    """Keeps one subject hierarchy item for each displayable node, as a Qt plugin of Slicer does."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def added(_caller: Any, _event: Any, node: Any) -> None:
            self._added(node)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def removed(_caller: Any, _event: Any, node: Any) -> None:
            self._removed(node)

        self._tags = [
            scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, added),
            scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, removed),
        ]

    def stop(self) -> None:
        """Forgets the scene."""
        for tag in self._tags:
            self._scene.RemoveObserver(tag)

    def _hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def _added(self, node: Any) -> None:
        # A scene that is being read brings its own items.
        if self._scene.IsImporting() or not _is_listed(node):
            return
        hierarchy = self._hierarchy()
        if not hierarchy.GetItemByDataNode(node):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    def _removed(self, node: Any) -> None:
        if self._scene.IsClosing() or not _is_listed(node):
            return
        hierarchy = self._hierarchy()
        if item := hierarchy.GetItemByDataNode(node):
            hierarchy.RemoveItem(item, False, False)


def _is_listed(node: Any) -> bool:
    return (
        node is not None
        and node.IsA("vtkMRMLStorableNode")
        and not node.IsA("vtkMRMLSubjectHierarchyNode")
        and (node.IsA("vtkMRMLDisplayableNode") or node.IsA("vtkMRMLTableNode"))
    )
