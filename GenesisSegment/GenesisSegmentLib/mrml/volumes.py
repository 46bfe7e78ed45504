"""The CT in the scene: whether it can be segmented, what it holds, and whether it is still the same."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer
import vtk

from ..core.errors import GeometryError, InputError
from ..core.geometry import Geometry
from ..core.i18n import _
from .arrays import start_of, to_numpy, voxels
from .nodes import GoneError, nodes_of

_HU_CODE = "[hnsf'U]"
_RANGES: dict[int, tuple[float, float]] = {}
"""By the time of the last change, which no two VTK objects share."""
_REMEMBERED = 16


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a volume lies: ``matrix`` maps its indices into the space of its parent transform (4x4), ``to_world`` maps
    that space to the world, ``start`` is the index of its first voxel."""

    matrix: np.ndarray
    to_world: np.ndarray
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @property
    def geometry(self) -> Geometry:
        """The grid in the world, RAS, with (0, 0, 0) as the first voxel."""
        matrix = self.to_world @ self.matrix
        first = matrix.copy()
        first[:3, 3] = (matrix @ np.array([*self.start, 1.0]))[:3]
        return Geometry(self.shape, first)


def placement(node: Any) -> Placement:
    """Where the voxels of a volume node lie.

    Raises:
        GeometryError: under a non-linear transform.
    """
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    image = node.GetImageData()
    return Placement(to_numpy(matrix), parent_to_world(node), start_of(image), image.GetDimensions())


def placement_under(volume: Any, node: Any) -> Placement:
    """Where the voxels of a volume node lie in the space of another node: the same to the bit under one transform.

    Raises:
        GeometryError: one of them is under a non-linear transform.
    """
    place = placement(volume)
    if node.GetTransformNodeID() == volume.GetTransformNodeID():
        return place
    to_world = parent_to_world(node)
    return replace(place, matrix=np.linalg.inv(to_world) @ place.to_world @ place.matrix, to_world=to_world)


def parent_to_world(node: Any) -> np.ndarray:
    """4x4 matrix from the space of a node to the world: its parent transforms, however many, put together.

    Raises:
        GeometryError: one of them is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    if not transform.IsTransformToWorldLinear():
        raise GeometryError(
            _("{node} is bent by the non-linear transform {transform}.").format(
                node=node.GetName(), transform=transform.GetName()
            ),
            _("Harden the transform on it (Data module, right click), or take it out of the transform."),
        )
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    return to_numpy(matrix)


def ct_node(scene: Any, volume_id: str) -> Any:
    """The volume node of an ID.

    Raises:
        GoneError: it is not in the scene.
    """
    node = scene.GetNodeByID(volume_id) if volume_id else None
    if node is None:
        raise GoneError(_("The CT is no longer in the scene."), _("Choose a volume."))
    return node


def check_node(node: Any) -> None:
    """Refuses what cannot be a CT, without looking at every voxel.

    Raises:
        InputError: not a scalar volume, no voxels, colours, 2-D, or values that are no Hounsfield units.
        GeometryError: under a non-linear transform, or on a grid that cannot be placed exactly.
    """
    name = node.GetName()
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(_("{name} is a label map, not a CT.").format(name=name), _("Choose the CT itself."))
    if not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(_("{name} is not a volume.").format(name=name), _("Choose a CT."))
    image = node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
        raise InputError(_("{name} holds no image data.").format(name=name), _("Load the CT again."))
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(
            _("{name} holds {count} values per voxel (colours, vectors or several volumes), not one CT.").format(
                name=name, count=components
            ),
            _("Choose a volume with a single value per voxel, for example one phase of a series."),
        )
    if min(image.GetDimensions()) < 2:
        by = " x ".join(str(n) for n in image.GetDimensions())
        raise InputError(
            _("{name} is 2-D ({by}): a single slice, not a volume.").format(name=name, by=by),
            _("Choose a volume of several slices."),
        )
    placement(node).geometry.check()
    if not _has_air(image):
        _check_range(node, *value_range(image))


def _has_air(image: Any) -> bool:
    """Whether the middle plane alone shows values of a CT; then the others need no look, which would take too long."""
    values = voxels(image)
    lowest, highest = _ends(values[:, :, values.shape[2] // 2])
    return lowest < -1 and lowest < highest < np.inf


def value_range(image: Any) -> tuple[float, float]:
    """Lowest and highest value of an image; NaN where it holds one.

    VTK's own ``GetScalarRange`` takes ten times as long, on the thread that draws.
    """
    when = _time(image)
    if when not in _RANGES:
        values = voxels(image)
        while len(_RANGES) >= _REMEMBERED:
            del _RANGES[next(iter(_RANGES))]
        _RANGES[when] = _ends(values)
    return _RANGES[when]


def _ends(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def version_of(node: Any) -> Hashable:
    """Another value whenever the voxels of a volume are others, or where it lies. VTK never gives a time twice."""
    image, place = node.GetImageData(), placement(node)
    return _time(image), place.matrix.tobytes(), place.to_world.tobytes(), place.start, place.shape


def series_uid(node: Any) -> str:
    """The DICOM SeriesInstanceUID that the subject hierarchy keeps with a node, or an empty string."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
    return hierarchy.GetItemUID(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMUIDName()) if item else ""


def is_from_dicom(node: Any) -> bool:
    """Whether a volume came from Slicer's DICOM database, which a DICOM SEG refers to."""
    return bool(node.GetAttribute("DICOM.instanceUIDs"))


def check_from_dicom(node: Any) -> None:
    """Refuses a volume that no DICOM SEG can refer to.

    Raises:
        InputError: it is one.
    """
    if not is_from_dicom(node):
        raise InputError(
            _("{name} did not come from Slicer's DICOM database, to which a DICOM SEG must refer.").format(
                name=node.GetName()
            ),
            _("Import the series in the DICOM module and segment it again, or export .seg.nrrd."),
        )


class Fingerprints:
    """Tells whether a volume is still the same: node, voxels and place.

    Voxels are hashed whole, which takes about a tenth of a second for 150 MB, but only when MRML says that they were
    modified.
    """

    def __init__(self) -> None:
        self._hashes: dict[str, tuple[int, int]] = {}

    def of(self, node: Any) -> str:
        """The fingerprint of a node, whatever it is."""
        try:
            check_node(node)
            place = placement(node)
        except InputError as error:
            return f"{node.GetID()} {error.what}"
        values = voxels(node.GetImageData())
        kind = f"{values.dtype.str} {place.start} {place.shape}"
        matrices = np.concatenate([place.matrix, place.to_world])
        return f"{node.GetID()} {kind} {zlib.crc32(matrices.tobytes()):08x} {self._hash(node):08x}"

    def remember(self, node: Any, crc: int) -> None:
        """Somebody went over all voxels anyhow: their CRC-32 in the order of memory."""
        self._hashes[node.GetID()] = _time(node.GetImageData()), crc

    def _hash(self, node: Any) -> int:
        when = _time(node.GetImageData())
        known = self._hashes.get(node.GetID())
        # MTime is unique among all VTK objects, so that another image cannot have the same one. The id of the node's
        # Python object says nothing: it is made anew whenever nobody holds it.
        if known is None or known[0] != when:
            known = (when, zlib.crc32(voxels(node.GetImageData()).T.data))
            self._hashes[node.GetID()] = known
        return known[1]


def _time(image: Any) -> int:
    return max(image.GetMTime(), image.GetPointData().GetScalars().GetMTime())


def _check_range(node: Any, lowest: float, highest: float) -> None:
    name, extent = node.GetName(), f"{lowest:g} … {highest:g}"
    remedy = _("Choose the original CT (its DICOM series, or a conversion that keeps Hounsfield units).")
    if lowest == highest:
        raise InputError(
            _("{name} is blank: every voxel is {value:g}.").format(name=name, value=lowest), _("Load the CT again.")
        )
    if lowest >= -1 and highest <= 1:
        raise InputError(
            _("{name} was normalised to values {extent}; its Hounsfield units were lost.").format(
                name=name, extent=extent
            ),
            remedy,
        )
    if lowest >= 0 and not _units_stated(node):
        raise InputError(
            _(
                "{name} is not a CT in Hounsfield units: its values go {extent}, and air and fat would be negative "
                "(is it an MR or a PET?)."
            ).format(name=name, extent=extent),
            remedy,
        )


def _units_stated(node: Any) -> bool:
    units = node.GetVoxelValueUnits()
    return bool(series_uid(node)) or (units is not None and units.GetCodeValue() == _HU_CODE)


def frame_note(node: Any) -> str:
    """Which frame of a sequence a volume shows, in a sentence, or an empty string."""
    for browser in nodes_of(node.GetScene(), "vtkMRMLSequenceBrowserNode"):
        if browser.IsProxyNodeID(node.GetID()):
            return _("{name} shows frame {frame} of {count} of a sequence; only this frame is segmented.").format(
                name=node.GetName(),
                frame=browser.GetSelectedItemNumber() + 1,
                count=browser.GetNumberOfItems(),
            )
    return ""
