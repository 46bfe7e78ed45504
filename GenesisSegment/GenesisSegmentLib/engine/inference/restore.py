"""Brings masks from the model's grid back to the CT's own grid, voxel for voxel, slab by slab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box, Geometry, Reorientation
from ...core.jobs import Advance
from ...core.segmentation import bit_of, class_boxes
from .resample import Matrices, matrices, places, resample_plane, slabs, used
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
    where both disagree the sign of the logit is turned. Each class is worked through inside its own box; ``advance``
    is told the share done before each slab, and may raise to stop. ``on_class`` is given every class as soon as it is
    done.
    """
    straight = native.to_ras
    target = native.reoriented(straight)
    out = _no_bits(target, bits.dtype)
    boxes = class_boxes(bits)
    pieces = []
    for index, values in zip(classes, logits, strict=True):
        if index not in boxes:
            continue
        box = boxes[index].grown(1, grid.shape)
        piece = grid.cropped(box)
        region = _covered(piece, target)
        if region is not None:
            by = matrices(piece, target.cropped(region))
            pieces.append(_Piece(index, bits[box.slices], values[box.slices], by, region, out[region.slices]))
    work = [(p, slab) for p in pieces for slab in slabs(p.out.shape[2], p.out.shape[0] * p.out.shape[1])]
    for n, (p, slab) in enumerate(work):
        advance(n / len(work))
        p.draw(slab)
        if on_class is not None and (n + 1 == len(work) or work[n + 1][0] is not p):
            mask = (p.out & p.bit) != 0
            on_class(p.index, _inverted(p.region, straight, target.shape), straight.invert(mask), False)
    return straight.invert(out)


@dataclass(frozen=True, eq=False)
class _Piece:
    """One class in its box: ``bits`` and ``logits`` on the model's grid, and ``out``, the ``region`` of the CT's."""

    index: int
    bits: np.ndarray
    logits: np.ndarray
    by: Matrices
    region: Box
    out: np.ndarray

    @property
    def bit(self) -> np.uint32 | np.uint64:
        """Of the class."""
        return bit_of(self.index)

    def draw(self, slab: slice) -> None:
        """Sets the class in the planes ``slab`` of ``out`` where the interpolated field is positive."""
        by_i, by_j, by_k = self.by
        along = by_k[slab]
        field = self._field(used(along))
        between = along[:, used(along)] @ field.reshape(len(field), -1)
        for plane, out in zip(between, self.out.transpose(2, 1, 0)[slab], strict=True):
            up = resample_plane(plane.reshape(field.shape[1:]), by_i, by_j)
            out |= np.where(up > 0, self.bit, bit_of())

    def _field(self, planes: slice) -> np.ndarray:
        """Float32 (planes, i, j), positive where the class is."""
        inside = (self.bits[..., planes].transpose(2, 0, 1) & self.bit) != 0
        field = np.abs(self.logits[..., planes].transpose(2, 0, 1).astype(np.float32))
        # A logit of exactly zero where post-processing set the voxel must still come out as set.
        return np.ascontiguousarray(np.where(inside, np.maximum(field, 1e-3), -field))


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
