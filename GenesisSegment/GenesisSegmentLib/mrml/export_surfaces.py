"""Files of surfaces, in LPS mm as DICOM and most viewers have it; one surface at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.errors import InputError
from ..core.files import numbered, safe_name
from ..core.i18n import _
from ..core.pieces import ALONE, Pieces
from .arrays import label_image
from .export_copy import SegmentsCopy
from .export_labels import succeed
from .reading import Single, boxing
from .surfaces import closed_surface
from .tags import structure_of
from .writing import binary

Tell = Callable[[float, str], None]
"""Takes how far the files are, 0 to 1, and the segment that is next."""
_MADE = 0.8
"""Making a surface takes most of the time."""


@dataclass(frozen=True, eq=False)
class Surface:
    """``file`` is the name of its file, without suffix."""

    name: str
    file: str
    color: tuple[float, float, float]
    points: Any


def making_surfaces(copy: SegmentsCopy, tell: Tell) -> Pieces[list[Surface]]:
    """The surface of every segment with voxels.

    Raises:
        InputError: there is none.
    """
    surfaces: list[Surface] = []
    names: set[str] = set()
    owners = {segment_id: stored for stored in copy.images for segment_id in stored.values}
    for n, (segment_id, segment) in enumerate(copy.segments):
        tell(_MADE * n / len(copy.segments), segment.GetName())
        stored = owners.get(segment_id)
        single = Single(stored, stored.values[segment_id] if stored else 0, copy.place.geometry.shape)
        box = yield from boxing(single)
        if box is None:
            continue
        index = copy.numbers.get(segment_id)
        file = structure_of(segment, index).slug if index else safe_name(segment.GetName(), "segmentation")
        file = _free_name(file, names)
        names.add(file.casefold())
        yield ALONE
        i, j = (slice(a - s, b - s) for s, a, b in zip(single.box.start, box.start[:2], box.stop[:2], strict=False))
        mask = single.planes(box.start[2], box.stop[2], single.box)[i, j]
        image = label_image(mask.astype(np.uint8), copy.place.geometry.ijk_to_ras, box.start)
        surfaces.append(Surface(segment.GetName(), file, segment.GetColor(), _surface_of(image, copy)))
    if not surfaces:
        raise InputError(_("No segment has a voxel to make a surface of."), _("Choose another format."))
    return surfaces


def writing_meshes(
    copy: SegmentsCopy, surfaces: Sequence[Surface], folder: Path, suffix: str, tell: Tell
) -> Pieces[None]:
    """A file ``stl`` or ``obj`` for each surface, in a folder of their own."""
    place = folder / f"{copy.stem}_{suffix}"
    place.mkdir()
    for n, surface in enumerate(surfaces):
        tell(_MADE + (1 - _MADE) * n / len(surfaces), surface.name)
        yield ALONE
        writer = vtk.vtkSTLWriter() if suffix == "stl" else vtk.vtkOBJWriter()
        writer.SetInputData(surface.points)
        file = place / f"{surface.file}.{suffix}"
        writer.SetFileName(str(file))
        if suffix == "stl":
            writer.SetFileTypeToBinary()
        succeed(writer.Write(), file)


def writing_gltf(copy: SegmentsCopy, surfaces: Sequence[Surface], folder: Path, tell: Tell) -> Pieces[None]:
    """One file with all surfaces in their colours."""
    tell(_MADE, "")
    yield ALONE
    scene = vtk.vtkMultiBlockDataSet()
    for n, surface in enumerate(surfaces):
        # The writer wants a building for each object, and paints it with this array.
        paint = vtk.vtkFloatArray()
        paint.SetName("diffuse_color")
        paint.SetNumberOfComponents(3)
        paint.InsertNextTuple3(*surface.color)
        points = vtk.vtkPolyData()
        points.ShallowCopy(surface.points)
        points.GetFieldData().AddArray(paint)
        building = vtk.vtkMultiBlockDataSet()
        building.SetBlock(0, points)
        scene.SetBlock(n, building)
    writer = vtk.vtkGLTFWriter()
    writer.SetInputData(scene)
    file = folder / f"{copy.stem}.gltf"
    writer.SetFileName(str(file))
    writer.InlineDataOn()
    writer.SaveTexturesOff()
    succeed(writer.Write(), file)


def _free_name(name: str, taken: Set[str]) -> str:
    """``name``, or that with a number. Windows and macOS take "Liver" and "liver" for one: ``taken`` are casefolded."""
    return next(free for free in numbered(name) if free.casefold() not in taken)


def _surface_of(image: Any, copy: SegmentsCopy) -> Any:
    """As Slicer makes it, with the smoothing that was chosen for the segmentation; in LPS."""
    node, segment = slicer.vtkMRMLSegmentationNode(), slicer.vtkSegment()
    segmentation = node.GetSegmentation()
    segmentation.DeserializeConversionParameters(copy.looks.GetSegmentation().SerializeAllConversionParameters())
    segment.SetLabelValue(1)
    segment.AddRepresentation(binary(), image)
    segmentation.AddSegment(segment, "segment")
    segmentation.CreateRepresentation(closed_surface())
    flip = vtk.vtkTransform()
    flip.Scale(-1, -1, 1)
    turn = vtk.vtkTransformPolyDataFilter()
    turn.SetTransform(flip)
    turn.SetInputData(segment.GetRepresentation(closed_surface()))
    turn.Update()
    return turn.GetOutput()
