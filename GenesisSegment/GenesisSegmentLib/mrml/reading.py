"""Segments back as voxels on the grid of their CT, by label value: one table look-up for each shared image.

(``ExportSegmentsToLabelmapNode`` goes over the whole volume once per segment, and loses overlaps.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.errors import GeometryError
from ..core.geometry import Box, Geometry
from ..core.i18n import _
from ..core.segmentation import BITS, Segmentation
from .arrays import image_matrix, start_of, to_vtk, voxels
from .volumes import parent_to_world
from .writing import binary, class_numbers, segments_of

_SLAB = 4
"""Planes that are worked on at a time: little memory, and they stay in the processor's cache."""
_ALIGNED = 1e-3
"""Deviation, in voxels at the far corner of the image, up to which two lattices count as one."""


@dataclass(frozen=True, eq=False)
class Stored:
    """A shared image on the grid of the CT: ``labels`` (i, j, k) with the first voxel at ``start``; ``values`` says
    which label belongs to which segment."""

    labels: np.ndarray
    start: tuple[int, int, int]
    values: Mapping[str, int]

    def piece(self, k0: int, k1: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
        """Labels within the grid on planes k0..k1, and where they belong in an array of these planes."""
        box = [
            (max(low, s), min(high, s + n))
            for low, high, s, n in zip((0, 0, k0), (*shape[:2], k1), self.start, self.labels.shape, strict=True)
        ]
        if any(a >= b for a, b in box):
            return np.zeros((0, 0, 0), np.uint8), (slice(0, 0),) * 3
        own = tuple(slice(a - s, b - s) for (a, b), s in zip(box, self.start, strict=True))
        (i0, i1), (j0, j1), (a, b) = box
        return self.labels[own], (slice(i0, i1), slice(j0, j1), slice(a - k0, b - k0))


def stored_images(node: Any, grid: Geometry) -> list[Stored]:
    """Every image of a segmentation once, on ``grid`` (world); one on another lattice is resampled, nearest voxel.

    Raises:
        GeometryError: the segmentation lies under a non-linear transform.
    """
    to_world = parent_to_world(node)
    by_image: dict[int, tuple[Any, dict[str, int]]] = {}
    for segment_id, segment in segments_of(node):
        image = segment.GetRepresentation(binary())
        if image is not None and voxels(image).size:
            by_image.setdefault(id(image), (image, {}))[1][segment_id] = segment.GetLabelValue()
    return [_on_grid(image, values, to_world, grid) for image, values in by_image.values()]


def check_lattice(node: Any, grid: Geometry) -> None:
    """Refuses to change a segmentation that has an image on another lattice than ``grid`` (world).

    Slicer would resample that image, and all segments in it, to the lattice of the change. One whose axes only run the
    other way loses nothing by that: so lies the result of a left-handed CT after its scene was saved and read.

    Raises:
        GeometryError: it has one; or as :func:`stored_images`.
    """
    to_world = parent_to_world(node)
    for _segment_id, segment in segments_of(node):
        image = segment.GetRepresentation(binary())
        if image is not None and voxels(image).size and not _has_same_points(image, to_world, grid):
            raise GeometryError(
                _("{name} does not lie on the voxels of the CT, so that this change would alter its shape.").format(
                    name=segment.GetName()
                ),
                _(
                    "In the Segment Editor, press the button Specify geometry beside the source volume, choose the CT "
                    "as source geometry with an oversampling factor of 1, and try again."
                ),
            )


def read_mask(node: Any, segment_id: str, grid: Geometry) -> np.ndarray:
    """Boolean mask (i, j, k) of one segment on ``grid``; voxels outside the grid are left out.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    mask = np.zeros(grid.shape, bool, order="F")
    for stored in stored_images(node, grid):
        if segment_id in stored.values:
            labels, where = stored.piece(0, grid.shape[2], grid.shape)
            mask[where] = labels == stored.values[segment_id]
    return mask


def read_part(node: Any, segment_id: str, grid: Geometry) -> tuple[tuple[slice, slice, slice], np.ndarray]:
    """Where on ``grid`` the image of a segment lies, and the boolean mask (i, j, k) of the segment there.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    for stored in stored_images(node, grid):
        if segment_id in stored.values:
            labels, where = stored.piece(0, grid.shape[2], grid.shape)
            return where, labels == stored.values[segment_id]
    return (slice(0, 0),) * 3, np.zeros((0, 0, 0), bool)


def bit_planes(node: Any, grid: Geometry, numbers: Mapping[str, int]) -> Iterator[tuple[int, np.ndarray]]:
    """Plane by plane, uint32 bits (i, j, few k): bit ``number - 1`` is set where a segment is; first k, then bits."""
    images = _with_tables(node, grid, numbers)
    for k0 in range(0, grid.shape[2], _SLAB):
        bits = np.zeros((*grid.shape[:2], min(_SLAB, grid.shape[2] - k0)), BITS, order="F")
        _add_bits(bits, k0, grid, images)
        yield k0, bits


def read_segmentation(node: Any, grid: Geometry) -> Segmentation:
    """All segments that belong to a class, overlaps kept.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    numbers = class_numbers(node)
    images = _with_tables(node, grid, numbers)
    bits = np.zeros(grid.shape, BITS, order="F")  # memory of planes without a segment is never touched
    for k0 in range(0, grid.shape[2], _SLAB):
        _add_bits(bits[:, :, k0 : k0 + _SLAB], k0, grid, images)
    return Segmentation(bits, grid, tuple(sorted(set(numbers.values()))))


def read_label_map(node: Any, grid: Geometry, order: Sequence[tuple[str, int]]) -> np.ndarray:
    """uint8 label map (i, j, k) of (segment ID, value) pairs; later ones paint over earlier ones.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    labels = np.zeros(grid.shape, np.uint8, order="F")
    stored = stored_images(node, grid)
    owner = {segment_id: n for n, image in enumerate(stored) for segment_id in image.values}
    # Neighbours in the order that share an image share no voxel: they are painted together.
    runs: list[tuple[int, dict[str, int]]] = []
    for segment_id, value in order:
        if segment_id in owner:
            if not runs or runs[-1][0] != owner[segment_id]:
                runs.append((owner[segment_id], {}))
            runs[-1][1][segment_id] = value
    for n, values in runs:
        table = np.zeros(256, np.uint8)
        for segment_id, value in values.items():
            table[stored[n].values[segment_id]] = value
        for k in range(grid.shape[2]):
            found, where = stored[n].piece(k, k + 1, grid.shape)
            painted = table[found]
            np.copyto(labels[:, :, k : k + 1][where], painted, where=painted != 0)
    return labels


@dataclass(frozen=True)
class Changes:
    """Voxels that one mask has more and less than another, and the box around both."""

    added: int = 0
    removed: int = 0
    box: Box | None = None

    @property
    def total(self) -> int:
        """Voxels that differ."""
        return self.added + self.removed


def changes_between(before: np.ndarray, after: np.ndarray) -> Changes:
    """What differs between two boolean masks (i, j, k)."""
    differs = before != after
    count = int(np.count_nonzero(differs))
    added = int(np.count_nonzero(differs & after)) if count else 0
    return Changes(added, count - added, Box.around(differs) if count else None)


def _with_tables(node: Any, grid: Geometry, numbers: Mapping[str, int]) -> list[tuple[Stored, np.ndarray]]:
    return [(image, _table(image, numbers)) for image in stored_images(node, grid)]


def _add_bits(bits: np.ndarray, k0: int, grid: Geometry, images: list[tuple[Stored, np.ndarray]]) -> None:
    """Sets the bits of images in an array of some planes, the first of which is ``k0``."""
    for image, table in images:
        labels, where = image.piece(k0, k0 + bits.shape[2], grid.shape)
        if labels.any():
            bits[where] |= table[labels]


def _table(stored: Stored, numbers: Mapping[str, int]) -> np.ndarray:
    table = np.zeros(256, BITS)
    for segment_id, value in stored.values.items():
        if segment_id in numbers:
            table[value] |= BITS(1 << (numbers[segment_id] - 1))
    return table


def _on_grid(image: Any, values: dict[str, int], to_world: np.ndarray, grid: Geometry) -> Stored:
    if (start := _start_on(image, to_world, grid)) is not None:
        return _compact(Stored(voxels(image), start, values))
    reference, result = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    reference.SetExtent(*(edge for n in grid.shape for edge in (0, n - 1)))
    reference.SetImageToWorldMatrix(to_vtk(grid.ijk_to_ras))
    moved = slicer.vtkOrientedImageData()
    moved.ShallowCopy(image)
    moved.SetImageToWorldMatrix(to_vtk(to_world @ image_matrix(image)))
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(moved, reference, result)
    return _compact(Stored(voxels(result), start_of(result), values))


def _has_same_points(image: Any, to_world: np.ndarray, grid: Geometry) -> bool:
    """Whether the voxels of an image lie on those of ``grid``, its axes in any order and direction."""
    change = np.linalg.inv(grid.ijk_to_ras) @ to_world @ image_matrix(image)
    whole = np.rint(change)
    is_turn = bool((np.abs(whole[:3, :3]).sum(axis=0) == 1).all() and (np.abs(whole[:3, :3]).sum(axis=1) == 1).all())
    return is_turn and _deviation(image, change, whole) <= _ALIGNED


def _deviation(image: Any, one: np.ndarray, other: np.ndarray) -> float:
    """How far apart two matrices carry the corners of an image, at most."""
    extent = image.GetExtent()
    corners = np.array([[a, b, c, 1.0] for a in extent[:2] for b in extent[2:4] for c in extent[4:]]).T
    return float(np.abs((one - other) @ corners).max())


def _has_same_voxels(image: Any, to_world: np.ndarray, grid: Geometry) -> bool:
    """Whether the voxels of an image are some of the lattice of ``grid``, its axes in any order and direction.

    Slicer turns the axes of a left-handed CT when it reads it from a file, but not those of its segmentation.
    """
    change = _change(image, to_world, grid)
    turn = np.rint(change)
    is_turn = np.array_equal(turn[:3, :3] @ turn[:3, :3].T, np.eye(3))
    return is_turn and np.abs((change - turn) @ _corners(image)).max() <= _ALIGNED


def _start_on(image: Any, to_world: np.ndarray, grid: Geometry) -> tuple[int, int, int] | None:
    """Index of the first voxel of an image on the lattice of ``grid``; None where it lies on another lattice."""
    change = _change(image, to_world, grid)
    shift = np.rint(change[:3, 3])
    expected = np.eye(4)
    expected[:3, 3] = shift
    if np.abs((change - expected) @ _corners(image)).max() > _ALIGNED:
        return None
    i, j, k = (int(s + n) for s, n in zip(shift, start_of(image), strict=True))
    return i, j, k


def _change(image: Any, to_world: np.ndarray, grid: Geometry) -> np.ndarray:
    """Indices of an image to indices of ``grid``, 4x4."""
    return np.linalg.inv(grid.ijk_to_ras) @ to_world @ image_matrix(image)


def _corners(image: Any) -> np.ndarray:
    extent = image.GetExtent()
    return np.array([[a, b, c, 1.0] for a in extent[:2] for b in extent[2:4] for c in extent[4:]]).T


def _compact(stored: Stored) -> Stored:
    """The image with labels as uint8; Slicer takes a wider type where label values need it."""
    if stored.labels.dtype == np.uint8:
        return stored
    values = dict(zip(stored.values, range(1, len(stored.values) + 1), strict=True))
    labels = np.zeros(stored.labels.shape, np.uint8, order="F")
    for segment_id, value in stored.values.items():
        labels[stored.labels == value] = values[segment_id]
    return Stored(labels, stored.start, values)
