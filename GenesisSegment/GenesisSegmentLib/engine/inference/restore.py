"""Brings masks from the model's grid back to the CT's own grid, voxel for voxel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import SimpleITK as sitk

from ...core.geometry import Box, Geometry
from ...core.segmentation import BITS
from .preprocess import axis_image

_ROUNDING = 1e-6


def restore_nearest(bits: np.ndarray, grid: Geometry, native: Geometry) -> np.ndarray:
    """Bits uint32 on ``grid`` -> bits uint32 (i, j, k) on ``native``: each voxel takes the nearest, as published."""
    straight = native.to_ras
    target = native.reoriented(straight)
    out = np.zeros(target.shape, dtype=BITS)
    region = _covered(grid, target)
    if region is not None:
        out[region.slices] = _resample(bits, grid, target, region, sitk.sitkNearestNeighbor)
    return straight.invert(out)


def restore_linear(
    bits: np.ndarray,
    logits: np.ndarray,
    classes: tuple[int, ...],
    grid: Geometry,
    native: Geometry,
    advance: Callable[[float], None] = lambda share: None,
) -> np.ndarray:
    """Bits uint32 (i, j, k) on ``native`` from interpolated logits, so that coarse masks come back smooth.

    ``logits`` float16 (n, X, Y, Z) are those of the network; ``bits`` say what post-processing kept or added, and
    where both disagree the sign of the logit is turned. Each class is worked through inside its own box; ``advance``
    is told the share done after each, and may raise to stop.
    """
    straight = native.to_ras
    target = native.reoriented(straight)
    out = np.zeros(target.shape, dtype=BITS)
    for n, (index, values) in enumerate(zip(classes, logits, strict=True)):
        advance(n / len(classes))
        bit = BITS(1 << (index - 1))
        mask = (bits & bit) != 0
        found = Box.around(mask)
        if found is None:
            continue
        box = found.grown(1, grid.shape)
        inside = mask[box.slices]
        field = np.abs(values[box.slices].astype(np.float32))
        # A logit of exactly zero where post-processing set the voxel must still come out as set.
        field = np.where(inside, np.maximum(field, 1e-3), -field)
        piece = grid.cropped(box)
        region = _covered(piece, target)
        if region is not None:
            # Its own border continued, so that interpolation still sees neighbours along the other axes there.
            around = Box((-1, -1, -1), tuple(n + 1 for n in piece.shape))  # type: ignore[arg-type]
            edged = np.pad(field, 1, mode="edge")
            up = _resample(edged, piece.cropped(around), target, region, sitk.sitkLinear)
            out[region.slices] |= np.where(up > 0, bit, BITS(0))
    return straight.invert(out)


def _resample(values: np.ndarray, grid: Geometry, target: Geometry, region: Box, interpolator: int) -> np.ndarray:
    """Values on ``grid`` interpolated at the voxels of ``region`` of ``target``; both grids share their axes."""
    out = sitk.Resample(
        axis_image(values, grid, target),
        list(region.shape),
        sitk.Transform(),
        interpolator,
        [start * s for start, s in zip(region.start, target.spacing, strict=True)],
        target.spacing,
        np.eye(3).ravel().tolist(),
        0.0,
        sitk.sitkUnknown,
        True,
    )
    return sitk.GetArrayFromImage(out).transpose(2, 1, 0)


def _covered(grid: Geometry, target: Geometry) -> Box | None:
    """The voxels of ``target`` whose centres lie in a voxel of ``grid``, edges included; None where there are none."""
    first = np.linalg.solve(target.ijk_to_ras, np.append(grid.origin, 1.0))[:3]
    ratio = np.array(grid.spacing) / np.array(target.spacing)
    low = np.ceil(first - 0.5 * ratio - _ROUNDING).astype(int)
    high = np.floor(first + (np.array(grid.shape) - 0.5) * ratio + _ROUNDING).astype(int) + 1
    start, stop = np.maximum(low, 0), np.minimum(high, target.shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist())) if (start < stop).all() else None
