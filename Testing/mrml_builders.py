"""Volumes, transforms and results in a real MRML scene, small enough for tests."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from builders import an_oblique_geometry, ct_voxels, rotation
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.layers import Layer
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.core.workflow.ports import ExportRequest, Guarded, ResultText, Snapshot
from GenesisSegmentLib.mrml.editing import Editor
from GenesisSegmentLib.mrml.scene import Scene

SHAPE = (24, 20, 16)
SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, LIVER, PANCREAS, LIVER_TUMOR = 1, 2, 3, 6, 11, 27
TEXT = ResultText("starter", "Starter", "ab" * 32, "cpu", ("Not for clinical use.",))


ORIENTATIONS = [(axes, signs) for axes in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def grid_of(
    axes: tuple[int, ...], signs: tuple[int, ...], spacing: tuple[float, float, float] = (0.7, 0.9, 5.0)
) -> Geometry:
    """A grid whose axes run along those of the patient, permuted and flipped."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for column, (axis, sign, size) in enumerate(zip(axes, signs, spacing, strict=True)):
        matrix[axis, column] = sign * size
    matrix[:3, 3] = -31.5, 12.25, -904.0
    return Geometry(SHAPE, matrix)


def vtk_matrix(matrix: np.ndarray) -> Any:
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, float).ravel())
    return result


def image_of(voxels: np.ndarray, start: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """A vtkImageData that owns a copy of the voxels (i, j, k) or (i, j, k, component)."""
    image = vtk.vtkImageData()
    image.SetExtent(*(edge for s, n in zip(start, voxels.shape, strict=False) for edge in (s, s + n - 1)))
    components = voxels.shape[3] if voxels.ndim == 4 else 1
    flat = np.ascontiguousarray(np.moveaxis(voxels.reshape(*voxels.shape[:3], components), (0, 1, 2), (2, 1, 0)))
    image.GetPointData().SetScalars(numpy_to_vtk(flat.reshape(-1, components), deep=True))
    return image


def add_volume(
    app: Any,
    geometry: Geometry | None = None,
    voxels: np.ndarray | None = None,
    *,
    start: tuple[int, int, int] = (0, 0, 0),
    transform: Any = None,
    name: str = "CT",
    kind: str = "vtkMRMLScalarVolumeNode",
) -> Any:
    """A volume node whose first voxel lies where ``geometry`` says, in the space of its parent transform."""
    geometry = geometry or an_oblique_geometry(SHAPE)
    voxels = ct_voxels(geometry.shape) if voxels is None else voxels
    node = app.scene.AddNewNodeByClass(kind, name)
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, 3] = (geometry.ijk_to_ras @ [*(-s for s in start), 1])[:3]
    node.SetIJKToRASMatrix(vtk_matrix(matrix))
    node.SetAndObserveImageData(image_of(voxels, start))
    if transform is not None:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def add_transform(app: Any, matrix: np.ndarray | None = None, parent: Any = None) -> Any:
    """A linear transform node: a turn and a shift, unless a matrix is given."""
    if matrix is None:
        matrix = np.eye(4)
        matrix[:3, :3] = rotation((25, -15, 40))
        matrix[:3, 3] = 40, -17, 8
    node = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(vtk_matrix(matrix))
    if parent is not None:
        node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def add_bending(app: Any) -> Any:
    """A non-linear transform node."""
    points = [vtk.vtkPoints(), vtk.vtkPoints()]
    for x, y, z in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
        points[0].InsertNextPoint(x, y, z)
        points[1].InsertNextPoint(x + (y > 0) * 9, y, z + (x > 0) * 5)
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetBasisToR()
    spline.SetSourceLandmarks(points[0])
    spline.SetTargetLandmarks(points[1])
    node = app.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Spline")
    node.SetAndObserveTransformToParent(spline)
    return node


def box_mask(shape: tuple[int, int, int], *edges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in edges)] = True
    return mask


def masks_of_a_patient(shape: tuple[int, int, int] = SHAPE) -> dict[int, np.ndarray]:
    """Liver with a tumour inside it, its neighbour the right kidney, and a spleen; no flip looks like another."""
    return {
        LIVER: box_mask(shape, (3, 11), (4, 15), (5, 14)),
        RIGHT_KIDNEY: box_mask(shape, (11, 16), (4, 9), (2, 9)),
        SPLEEN: box_mask(shape, (17, 22), (11, 18), (8, 15)),
        LIVER_TUMOR: box_mask(shape, (5, 9), (7, 10), (8, 13)),
    }


def layer(masks: dict[int, np.ndarray], shape: tuple[int, int, int] = SHAPE, looked_for: Iterable[int] = ()) -> Layer:
    labels = np.zeros(shape, np.uint8, order="F")
    for index, mask in masks.items():
        labels[mask] = index
    return Layer(labels, tuple(sorted({*masks, *looked_for})))


def layers_of(masks: dict[int, np.ndarray], shape: tuple[int, int, int] = SHAPE) -> tuple[Layer, ...]:
    """Organs in one layer, lesions in another."""
    groups = ({c: m for c, m in masks.items() if c < 26}, {c: m for c, m in masks.items() if c >= 26})
    return tuple(layer(group, shape) for group in groups if group)


def row(index: int, name: str, **fields: Any) -> dict[str, Any]:
    """A measurement row as the worker sends it."""
    empty = dict.fromkeys(("lesion", "mean_hu", "sd_hu", "lesion_count", "longest_mm", "perpendicular_mm"))
    return {"index": index, "name": name, "voxels": 0, "volume_ml": 0.0, "touches_border": False, **empty, **fields}


def segment(scene: Any, volume: Any, masks: dict[int, np.ndarray] | None = None) -> Any:
    """Writes a result of these masks, overlaps in layers of their own; returns the segmentation node."""
    snapshot = scene.snapshot(volume.GetID())
    masks = masks_of_a_patient(snapshot.volume.geometry.shape) if masks is None else masks
    layers = layers_of(masks, snapshot.volume.geometry.shape)
    return slicer.mrmlScene.GetNodeByID(scene.write_result(snapshot, layers, TEXT, [row(6, "liver", voxels=792)]))


def world_centroid(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    return (geometry.ijk_to_ras @ [*np.argwhere(mask).mean(axis=0), 1])[:3]


def slicer_centroid(node: Any, segment_id: str) -> np.ndarray:
    """World position of a segment's centre by VTK alone: its image, the matrices of image and transform."""
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    scalars = image.GetPointData().GetScalars()
    dims = image.GetDimensions()
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    extent = image.GetExtent()
    total, count = np.zeros(3), 0
    for n in range(scalars.GetNumberOfTuples()):
        if scalars.GetTuple1(n):
            index = (n % dims[0] + extent[0], n // dims[0] % dims[1] + extent[2], n // dims[0] // dims[1] + extent[4])
            total += to_world.TransformPoint(matrix.MultiplyPoint((*map(float, index), 1.0))[:3])
            count += 1
    return total / count


class SceneAtOnce(Scene):
    """The scene, with the work that it does in pieces done at once."""

    def snapshot(self, volume_id: str) -> Snapshot:
        return finished(self.copying(volume_id))

    def write_partial(self, snapshot: Snapshot, class_index: int, box: Box, mask: np.ndarray) -> None:
        finished(self.writing_partial(snapshot, class_index, box, mask))

    def count_changes(self, segmentation_id: str) -> None:
        finished(self.counting(segmentation_id))

    def guard(self, segmentation_id: str, is_in_editor: bool = True) -> Guarded:
        return finished(self.guarding(segmentation_id, is_in_editor))

    def reset_to_proposal(self, segmentation_id: str, segment_id: str) -> None:
        finished(self.resetting(segmentation_id, segment_id))

    def show_difference(self, segmentation_id: str, segment_id: str) -> None:
        finished(self.showing_difference(segmentation_id, segment_id))

    def overlapping(self, segmentation_id: str) -> tuple[tuple[int, int], ...]:
        return finished(self.finding_overlaps(segmentation_id))

    def export(self, segmentation_id: str, volume_id: str, request: ExportRequest) -> tuple[Path, ...]:
        export = finished(self.preparing_export(segmentation_id, volume_id, request))
        return finished(export.writing(lambda _text, _fraction: None))


def overwriting(scene: SceneAtOnce, editor: Editor, volume: Any) -> Any:
    """A segmented patient in an editor that overwrites all segments."""
    node = segment(scene, volume)
    editor.work_on(node)
    editor.logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    return node
