"""A scene without the Slicer application, and a CT with a result of 32 classes in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import slicer

from ...core.classes import class_table
from ...core.geometry import Geometry
from ...core.layers import Layer
from ...core.workflow.ports import ResultText
from ..arrays import to_vtk, voxels
from ..editing import Editor
from ..scene import Scene
from .labels import Shape, ellipsoids

TEXT = ResultText("starter", "Starter", "", "cpu", ())


class Stage:
    """A scene with the logics that volumes and segmentations ask for; also as ``slicer.mrmlScene``.

    ``labels`` are uint8 (i, j, k); ``scene`` is what the controller works on.
    """

    def __init__(self, shape: Shape) -> None:
        self.mrml = slicer.vtkMRMLScene()
        self._logic = slicer.vtkMRMLApplicationLogic()
        self._logic.SetMRMLScene(self.mrml)
        self._colors = slicer.vtkMRMLColorLogic()
        self._add("Colors", self._colors)  # label maps have no colours without a logic of this name
        self._logic.SetColorLogic(self._colors)
        volumes, segmentations = slicer.vtkSlicerVolumesLogic(), slicer.vtkSlicerSegmentationsModuleLogic()
        self._add("Volumes", volumes)
        self._add("Segmentations", segmentations)
        # Where slicer.util looks for them.
        slicer.mrmlScene = self.mrml
        slicer.modules = SimpleNamespace(
            volumes=SimpleNamespace(logic=lambda: volumes), segmentations=SimpleNamespace(logic=lambda: segmentations)
        )
        self.scene = self.new_scene()
        self.labels = ellipsoids(shape)
        self.layers = (Layer(self.labels, tuple(class_table())),)
        self.volume = self._volume(shape)

    def new_scene(self) -> Scene:
        """Our view of the scene, with an editor of its own."""
        editor = slicer.vtkSlicerSegmentEditorLogic()
        editor.SetMRMLApplicationLogic(self._logic)
        editor.SetMRMLScene(self.mrml)
        return Scene(self.mrml, Editor(editor))

    def _add(self, name: str, logic: Any) -> None:
        logic.SetMRMLApplicationLogic(self._logic)
        logic.SetMRMLScene(self.mrml)
        self._logic.SetModuleLogic(name, logic)

    def _volume(self, shape: Shape) -> Any:
        """Organs in fat, in air, with noise; on a grid of 0.7 x 0.7 x 1 mm."""
        node = self.mrml.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        geometry = Geometry(shape, np.diag([0.7, 0.7, 1.0, 1.0]))
        node.SetIJKToRASMatrix(to_vtk(geometry.ijk_to_ras))
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(shape)
        image.AllocateScalars(4, 1)  # VTK_SHORT
        random = np.random.default_rng(0)
        filled = voxels(image)
        body = np.full(shape[:2], -1000, np.int16)
        body[shape[0] // 10 : -shape[0] // 10, shape[1] // 10 : -shape[1] // 10] = -100
        for k in range(shape[2]):
            noise = random.integers(-20, 21, shape[:2], np.int16)
            filled[:, :, k] = np.where(self.labels[:, :, k] > 0, np.int16(40), body) + noise
        node.SetAndObserveImageData(image)
        return node
