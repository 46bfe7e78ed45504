"""A segmentation into files: all of them, or none. Positions are those of the world, parent transforms included."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from .. import __version__
from ..core.classes import class_table
from ..core.errors import InputError, OutputError
from ..core.files import atomic_folder, safe_name
from ..core.i18n import _
from ..core.pieces import finished
from .arrays import image_matrix, label_image, to_vtk
from .counting import count_changes
from .nodes import volume_of
from .reading import bit_planes, class_numbers, read_label_map
from .surfaces import closed_surface
from .table import cells_of, refreshing, table_of
from .tags import class_of
from .volumes import parent_to_world, placement
from .writing import binary, segments_of

FIRST_OWN_VALUE = 33
"""Label value of the first segment of the person's own; up to 32 they are class indices."""


def export_files(node: Any, folder: Path, formats: Sequence[str], paint_order: Sequence[int]) -> tuple[Path, ...]:
    """Writes the formats ``seg.nrrd``, ``nii.gz``, ``nrrd``, ``stl``, ``obj``, ``gltf`` and ``csv`` into a folder.

    Files of the same name are replaced; when anything fails, none is.

    Args:
        node: segmentation node that belongs to a CT.
        folder: made where it is not there.
        formats: keys of :data:`GenesisSegmentLib.core.workflow.export_formats.FORMATS`.
        paint_order: class indices; in label maps, later classes paint over earlier ones, and the person's own
            segments over all. Classes left out are painted first.

    Raises:
        OutputError: disk full, read-only, not permitted, or a format that is not known.
        InputError: there is no measurement table to write, or nothing to make surfaces of.
        GeometryError: the segmentation or its CT lies under a non-linear transform.
    """
    if unknown := sorted(set(formats) - set(_WRITERS)):
        raise OutputError(
            _("{formats} cannot be written.").format(formats=", ".join(unknown)), _("Choose another format.")
        )
    stem = safe_name(volume_of(node).GetName(), "segmentation")
    with atomic_folder(folder) as temporary:
        for key in formats:
            _WRITERS[key](node, temporary, stem, paint_order)
        names = sorted(p.relative_to(temporary) for p in temporary.rglob("*") if p.is_file())
    return tuple(folder / name for name in names)


def in_world(node: Any) -> Any:
    """A copy of a segmentation node outside the scene whose images lie in the world; voxels are shared, not copied."""
    to_world = parent_to_world(node)
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(node.GetName())
    images: dict[int, tuple[Any, Any]] = {}
    for segment_id, segment in segments_of(node):
        image = segment.GetRepresentation(binary())
        twin = slicer.vtkSegment()
        twin.DeepCopyMetadata(segment)
        twin.SetLabelValue(segment.GetLabelValue())
        if image is not None:
            if id(image) not in images:
                moved = slicer.vtkOrientedImageData()
                moved.ShallowCopy(image)
                moved.SetImageToWorldMatrix(to_vtk(to_world @ image_matrix(image)))
                images[id(image)] = (image, moved)
            twin.AddRepresentation(binary(), images[id(image)][1])
        copy.GetSegmentation().AddSegment(twin, segment_id)
    reference = slicer.vtkOrientedImageData()
    place = placement(volume_of(node))
    extent = volume_of(node).GetImageData().GetExtent()
    reference.SetExtent(extent)
    reference.SetImageToWorldMatrix(to_vtk(place.to_world @ place.matrix))
    copy.GetSegmentation().SetConversionParameter(
        slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName(),
        slicer.vtkSegmentationConverter.SerializeImageGeometry(reference),
    )
    return copy


def label_values(node: Any, paint_order: Sequence[int]) -> list[tuple[str, int]]:
    """Segment IDs with their values in a label map, in the order of painting."""
    numbers = class_numbers(node)
    ids = {index: segment_id for segment_id, index in numbers.items()}
    wanted = [c for c in paint_order if c in ids]
    order = [*(c for c in sorted(ids) if c not in wanted), *wanted]
    own = [segment_id for segment_id, _segment in segments_of(node) if segment_id not in numbers]
    return [*((ids[c], c) for c in order), *((i, FIRST_OWN_VALUE + n) for n, i in enumerate(own))]


def value_table(node: Any, values: Sequence[tuple[str, int]], labels: np.ndarray) -> dict[str, Any]:
    """What readers of a label map need: keys as in the files of the command line."""
    segments = dict(segments_of(node))
    in_order = sorted((value, segments[segment_id]) for segment_id, value in values)
    table = class_table()
    present = set(np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=256)).tolist()) - {0}
    return {
        "program": f"GenesisSegment {__version__}",
        "labels": {str(v): table[v].slug if v in table else s.GetName() for v, s in in_order},
        "names": {str(v): s.GetName() for v, s in in_order},
        "colors": {
            str(v): "#{:02x}{:02x}{:02x}".format(*(round(part * 255) for part in s.GetColor())) for v, s in in_order
        },
        "classes_computed": [v for v, _s in in_order if v in table],
        "classes_found": sorted(v for v in present if v in table),
        "paint_order": [value for _id, value in values],
        "overlaps_lost": _overlaps_lost(node, labels),
    }


def _overlaps_lost(node: Any, labels: np.ndarray) -> dict[str, int]:
    """Voxels of each class that another one hides; classes without loss left out."""
    numbers = class_numbers(node)
    lost = dict.fromkeys(sorted(numbers.values()), 0)
    for k, bits in bit_planes(node, placement(volume_of(node)).geometry, numbers):
        painted = labels[:, :, k : k + bits.shape[2]]
        hidden = (bits != 0) & ((bits & (bits - np.uint32(1)) != 0) | (painted >= FIRST_OWN_VALUE))
        if hidden.any():
            several, values = bits[hidden], painted[hidden]
            for c in lost:
                lost[c] += int(np.count_nonzero((several >> np.uint32(c - 1) & np.uint32(1)) & (values != c)))
    return {str(c): count for c, count in lost.items() if count}


def _write_segmentation(node: Any, folder: Path, stem: str, _order: Sequence[int]) -> None:
    storage = slicer.vtkMRMLSegmentationStorageNode()
    _store(storage, in_world(node), folder / f"{stem}.seg.nrrd")


def _write_label_map(suffix: str) -> Callable[[Any, Path, str, Sequence[int]], None]:
    def write(node: Any, folder: Path, stem: str, order: Sequence[int]) -> None:
        grid = placement(volume_of(node)).geometry
        values = label_values(node, order)
        labels = read_label_map(node, grid, values)
        volume = slicer.vtkMRMLLabelMapVolumeNode()
        volume.SetAndObserveImageData(label_image(labels, np.eye(4)))
        volume.SetIJKToRASMatrix(to_vtk(grid.ijk_to_ras))
        _store(slicer.vtkMRMLVolumeArchetypeStorageNode(), volume, folder / f"{stem}.{suffix}")
        table = json.dumps(value_table(node, values, labels), indent=1, ensure_ascii=False)
        (folder / f"{stem}.json").write_text(table + "\n", encoding="utf-8")

    return write


def _write_surfaces(suffix: str) -> Callable[[Any, Path, str, Sequence[int]], None]:
    def write(node: Any, folder: Path, stem: str, _order: Sequence[int]) -> None:
        place = folder / f"{stem}_{suffix}"
        place.mkdir()
        for name, _color, surface in _surfaces(node):
            writer = vtk.vtkSTLWriter() if suffix == "stl" else vtk.vtkOBJWriter()
            writer.SetInputData(surface)
            writer.SetFileName(str(place / f"{name}.{suffix}"))
            if suffix == "stl":
                writer.SetFileTypeToBinary()
            _succeed(writer.Write(), place)

    return write


def _write_gltf(node: Any, folder: Path, stem: str, _order: Sequence[int]) -> None:
    scene = vtk.vtkMultiBlockDataSet()
    for n, (_name, color, surface) in enumerate(_surfaces(node)):
        # The writer wants a building for each object, and paints it with this array.
        paint = vtk.vtkFloatArray()
        paint.SetName("diffuse_color")
        paint.SetNumberOfComponents(3)
        paint.InsertNextTuple3(*color)
        surface.GetFieldData().AddArray(paint)
        building = vtk.vtkMultiBlockDataSet()
        building.SetBlock(0, surface)
        scene.SetBlock(n, building)
    writer = vtk.vtkGLTFWriter()
    writer.SetInputData(scene)
    writer.SetFileName(str(folder / f"{stem}.gltf"))
    writer.InlineDataOn()
    writer.SaveTexturesOff()
    _succeed(writer.Write(), folder)


def _write_csv(node: Any, folder: Path, stem: str, _order: Sequence[int]) -> None:
    table = table_of(node)
    if table is None:
        raise InputError(_("There is no measurement table."), _("Segment the CT again to measure it."))
    finished(refreshing(node, count_changes(node)))
    with (folder / f"{stem}.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(cells_of(table.GetTable()))


_WRITERS: dict[str, Callable[[Any, Path, str, Sequence[int]], None]] = {
    "seg.nrrd": _write_segmentation,
    "nii.gz": _write_label_map("nii.gz"),
    "nrrd": _write_label_map("nrrd"),
    "stl": _write_surfaces("stl"),
    "obj": _write_surfaces("obj"),
    "gltf": _write_gltf,
    "csv": _write_csv,
}


def _surfaces(node: Any) -> list[tuple[str, tuple[float, float, float], Any]]:
    """File name, colour and surface, in LPS mm as DICOM and most viewers have it, of every segment with voxels."""
    copy = in_world(node)
    copy.GetSegmentation().CreateRepresentation(closed_surface())
    flip = vtk.vtkTransform()
    flip.Scale(-1, -1, 1)
    result, names = [], set()
    for segment_id, segment in segments_of(copy):
        surface = segment.GetRepresentation(closed_surface())
        if surface is None or surface.GetNumberOfPoints() == 0:
            continue
        index = class_of(segment_id, segment)
        name = class_table()[index].slug if index else safe_name(segment.GetName(), "segmentation")
        name = name if name not in names else f"{name}_{safe_name(segment_id, name)}"
        names.add(name)
        turn = vtk.vtkTransformPolyDataFilter()
        turn.SetTransform(flip)
        turn.SetInputData(surface)
        turn.Update()
        result.append((name, segment.GetColor(), turn.GetOutput()))
    if not result:
        raise InputError(_("No segment has a voxel to make a surface of."), _("Choose another format."))
    return result


def _store(storage: Any, node: Any, path: Path) -> None:
    storage.SetFileName(str(path))
    _succeed(storage.WriteData(node), path)


def _succeed(done: int, path: Path) -> None:
    if not done:
        raise OutputError(
            _("{name} could not be written.").format(name=path.name), _("Check the disk, or choose another folder.")
        )
