"""Brings masks from the model's grid back to the CT's own grid, voxel for voxel, slab by slab."""

from __future__ import annotations

import numpy as np

from ...core.geometry import Box, Geometry, Reorientation
from ...core.jobs import Advance
from ...core.segmentation import bit_of, class_boxes
from .bands import Bands, Runs
from .resample import places, slabs
from .spec import OnClass

_ROUNDING = 1e-6


def restore_nearest(
    bits: np.ndarray, grid: Geometry, native: Geometry, advance: Advance = lambda share: None
) -> np.ndarray:
    """Bits on ``grid`` -> bits (i, j, k) on ``native``: each voxel takes the nearest, as published.

    ``advance`` is told the share done before each slab, and may raise to stop.
    """
    straight = native.to_ras
    target = native.reoriented(straight)
    out = _no_bits(target, bits.dtype)
    region = _covered(grid, target)
    if region is not None:
        i, j, k = (
            np.clip(np.floor(at + 0.5 + _ROUNDING).astype(int), 0, n - 1)
            for at, n in zip(places(target.cropped(region), grid), grid.shape, strict=True)
        )
        source, planes, across = bits.transpose(2, 1, 0), out[region.slices].transpose(2, 1, 0), np.ix_(j, i)
        for slab in slabs(len(k), i.size * j.size):
            advance(slab.start / len(k))
            for plane, z in zip(planes[slab], k[slab], strict=True):
                plane[...] = source[z][across]
    return straight.invert(out)


def restore_linear(
    bits: np.ndarray,
    logits: np.ndarray,
    classes: tuple[int, ...],
    grid: Geometry,
    native: Geometry,
    advance: Advance = lambda share: None,
    on_class: OnClass | None = None,
) -> np.ndarray:
    """Bits (i, j, k) on ``native`` from interpolated logits, so that coarse masks come back smooth.

    ``logits`` float16 (n, X, Y, Z) are those of the network; ``bits`` say what post-processing kept or added, and
    where both disagree the sign of the logit is turned. ``advance`` is told the share done before each slab, and may
    raise to stop. ``on_class`` is given every class when all are done.
    """
    straight = native.to_ras
    target = native.reoriented(straight)
    out = _no_bits(target, bits.dtype)
    boxes = {c: box.grown(1, grid.shape) for c, box in class_boxes(bits).items() if c in classes}
    if boxes:
        _draw(out, bits, dict(zip(classes, logits, strict=True)), boxes, grid, target, advance)
    for index in classes if on_class is not None else ():
        region = _covered(grid.cropped(boxes[index]), target) if index in boxes else None
        if region is not None and on_class is not None:
            advance(1.0)
            mask = (out[region.slices] & bit_of(index)) != 0
            on_class(index, _inverted(region, straight, target.shape), straight.invert(mask), False)
    return straight.invert(out)


def _draw(
    out: np.ndarray,
    bits: np.ndarray,
    logits: dict[int, np.ndarray],
    boxes: dict[int, Box],
    grid: Geometry,
    target: Geometry,
    advance: Advance,
) -> None:
    """Draws the classes that have a box on ``grid`` into ``out``, the bits of ``target``."""
    box = Box.joined(boxes.values())
    piece = grid.cropped(box)
    region = _covered(piece, target)
    if region is None:
        return
    i, j, k = places(target.cropped(region), piece)
    bands = Bands(
        bits=bits[box.slices].transpose(2, 1, 0),
        logits={c: logits[c][box.slices].transpose(2, 1, 0) for c in boxes},
        along_j=Runs.of(j, box.shape[1], region.start[1]),
        along_i=Runs.of(i, box.shape[0], region.start[0]),
        out=out.transpose(2, 1, 0),
    )
    for slab in slabs(k.size, j.size * i.size):
        advance(slab.start / k.size)
        bands.draw(Runs.of(k[slab], box.shape[2], region.start[2] + slab.start))


def _inverted(box: Box, change: Reorientation, shape: tuple[int, int, int]) -> Box:
    """A box of a reoriented grid of ``shape`` as the box of the original grid."""
    start, stop = [0, 0, 0], [0, 0, 0]
    for side, axis, flip, low, high in zip(shape, change.axes, change.flips, box.start, box.stop, strict=True):
        start[axis], stop[axis] = (side - high, side - low) if flip else (low, high)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def _no_bits(grid: Geometry, dtype: np.dtype) -> np.ndarray:
    """Zeros (i, j, k) with i next in memory, as CTs mostly are."""
    return np.zeros(grid.shape[::-1], dtype=dtype).transpose(2, 1, 0)


def _covered(grid: Geometry, target: Geometry) -> Box | None:
    """The voxels of ``target`` whose centres lie in a voxel of ``grid``, edges included; None where there are none."""
    first = np.linalg.solve(target.ijk_to_ras, np.append(grid.origin, 1.0))[:3]
    ratio = np.array(grid.spacing) / np.array(target.spacing)
    low = np.ceil(first - 0.5 * ratio - _ROUNDING).astype(int)
    high = np.floor(first + (np.array(grid.shape) - 0.5) * ratio + _ROUNDING).astype(int) + 1
    start, stop = np.maximum(low, 0), np.minimum(high, target.shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist())) if (start < stop).all() else None
