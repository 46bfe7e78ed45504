"""The images that hold the segments of a segmentation, as they lie on the grid of the CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.errors import GeometryError
from ..core.geometry import Geometry
from ..core.i18n import _
from .arrays import image_matrix, start_of, to_vtk, voxels
from .volumes import parent_to_world
from .writing import binary, segments_of

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
    return [on_grid(image, values, to_world, grid) for image, values in by_image.values()]


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


def on_grid(image: Any, values: dict[str, int], to_world: np.ndarray, grid: Geometry) -> Stored:
    """An image and its labels on ``grid``, resampled (nearest voxel) where its own lattice is another.

    Args:
        image: a vtkOrientedImageData.
        values: which label belongs to which segment.
        to_world: from the space that the image lies in to that of ``grid``, 4x4.
        grid: where to have it.
    """
    if (start := start_on(image, to_world, grid)) is not None:
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


def start_on(image: Any, to_world: np.ndarray, grid: Geometry) -> tuple[int, int, int] | None:
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
