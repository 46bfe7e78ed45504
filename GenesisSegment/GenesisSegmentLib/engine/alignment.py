"""Segmentations brought onto one grid by moving voxels: axes permuted and flipped, borders added; never resampled."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import GeometryError
from ..core.geometry import Box, Geometry, Reorientation
from ..core.i18n import _
from ..core.segmentation import BITS, Segmentation

if TYPE_CHECKING:
    from .labels import Labels

_TOLERANCE = 0.1
"""How far, in voxels, grids may lie from each other that count as one."""
_MOST_VOXELS = 2**31
"""Parts of one scan do not span more: grids that would are not of one scan."""


def aligned(segmentation: Segmentation, geometry: Geometry) -> Segmentation:
    """The segmentation with its axes permuted and flipped to those of ``geometry``.

    Raises:
        GeometryError: its voxels do not lie where those of ``geometry`` lie.
    """
    turned = _turned(segmentation, geometry)
    if not _matches(turned.geometry, geometry):
        raise _refusal(geometry, segmentation.geometry)
    return replace(turned, geometry=geometry)


def brought_together(prediction: Labels, reference: Labels) -> tuple[Segmentation, Segmentation]:
    """Both segmentations on one grid, along the axes of the prediction.

    A file that was saved with the extent of its segments alone is given the border that it lacks, where its voxels
    lie in the places of the other's.

    Raises:
        GeometryError: the two lie on different grids.
    """
    first, second = prediction.segmentation, _turned(reference.segmentation, prediction.segmentation.geometry)
    if _matches(second.geometry, first.geometry):
        return first, aligned(second, first.geometry)
    boxes = Box.whole(first.geometry.shape), _place(second.geometry, first.geometry)
    joint = Box.joined(boxes)
    is_one_lattice = _matches(second.geometry, first.geometry.cropped(boxes[1]))
    pairs = zip(boxes, (prediction, reference), strict=True)
    is_complete = all(box == joint or labels.is_empty_outside for box, labels in pairs)
    if not is_one_lattice or not is_complete or prod(joint.shape) > _MOST_VOXELS:
        raise _refusal(first.geometry, reference.segmentation.geometry)
    geometry = first.geometry.cropped(joint)
    return _padded(first, boxes[0], joint, geometry), _padded(second, boxes[1], joint, geometry)


def on_grid_of(geometry: Geometry, labels: Labels) -> Segmentation:
    """Labels on the grid of the CT that they were drawn on, without resampling.

    Raises:
        GeometryError: they lie on another grid.
    """
    from .labels import Labels

    empty = Segmentation(np.zeros(geometry.shape, BITS, "F"), geometry, ())
    try:
        brought, on_grid = brought_together(Labels(empty), labels)
        if brought.geometry.shape != geometry.shape:
            raise GeometryError("")
    except GeometryError as error:
        raise GeometryError(
            _("CT and labels lie on different grids."),
            _("Give the CT that the labels were drawn on, or resample the labels."),
        ) from error
    return on_grid


def cropped(segmentation: Segmentation, box: Box) -> Segmentation:
    """The part of a segmentation inside ``box``; its bits are a view."""
    return replace(segmentation, bits=segmentation.bits[box.slices], geometry=segmentation.geometry.cropped(box))


def _turned(segmentation: Segmentation, geometry: Geometry) -> Segmentation:
    """The segmentation with its axes in the order and direction of those of ``geometry`` that they lie closest to."""
    cosines = geometry.directions.T @ segmentation.geometry.directions
    i, j, k = (int(axis) for axis in np.abs(cosines).argmax(axis=1))
    if {i, j, k} != {0, 1, 2}:
        raise _refusal(geometry, segmentation.geometry)
    flips = tuple(bool(cosines[a, b] < 0) for a, b in enumerate((i, j, k)))
    change = Reorientation((i, j, k), flips)  # type: ignore[arg-type]
    turned = change.apply(segmentation.bits)
    return replace(segmentation, bits=turned, geometry=segmentation.geometry.reoriented(change))


def _place(geometry: Geometry, other: Geometry) -> Box:
    """Where the voxels of a grid lie among those of ``other``, to whole voxels."""
    start = np.rint(np.linalg.solve(other.ijk_to_ras, geometry.ijk_to_ras[:, 3])[:3]).astype(int)
    return Box(tuple(start.tolist()), tuple((start + geometry.shape).tolist()))


def _padded(segmentation: Segmentation, box: Box, joint: Box, geometry: Geometry) -> Segmentation:
    bits = np.zeros(joint.shape, dtype=segmentation.bits.dtype, order="F")
    inner = tuple(slice(a - o, b - o) for a, b, o in zip(box.start, box.stop, joint.start, strict=True))
    bits[inner] = segmentation.bits
    return replace(segmentation, bits=bits, geometry=geometry)


def _matches(geometry: Geometry, other: Geometry) -> bool:
    return geometry.matches(other, tolerance_mm=_TOLERANCE * min(other.spacing))


def _refusal(geometry: Geometry, other: Geometry) -> GeometryError:
    return GeometryError(
        _("Prediction and reference lie on different grids: {one} and {other}.").format(
            one=_describe(geometry), other=_describe(other)
        ),
        _(
            "Give the prediction for the very image that the reference was drawn on, or resample one onto "
            "the other first."
        ),
    )


def _describe(geometry: Geometry) -> str:
    shape = " x ".join(str(n) for n in geometry.shape)
    spacing = " x ".join(f"{s:.4g}" for s in geometry.spacing)
    origin = ", ".join(f"{x:.1f}" for x in geometry.origin)
    return f"{shape} voxels of {spacing} mm from ({origin})"
