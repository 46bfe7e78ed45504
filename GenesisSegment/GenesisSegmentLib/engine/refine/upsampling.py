"""Brings a mask from the grid of a region back to the voxels of the CT."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.geometry import Box
from .regions import Region


def brought_back(
    mask: np.ndarray, logits: np.ndarray | None, before: np.ndarray, native: np.ndarray, region: Region
) -> np.ndarray:
    """The mask that the CT's voxels in the region get: bool (i, j, k) of its box.

    Where the grid of the region is coarser than the CT, only the surroundings of voxels of the grid that change are
    touched, so that the rest keeps its detail; there, the surface lies where the interpolated values change their
    sign. Only a narrow band of voxels at the surface is interpolated.

    Args:
        mask: bool on the region's grid, as it is to be.
        logits: float32, positive in ``mask``; without them the surface is that of the mask, smoothed.
        before: bool on the region's grid, as it was.
        native: bool of the region's box in the CT, as it was.
        region: where they lie.
    """
    if region.is_native:
        return mask
    changed = Box.around(mask != before)
    if changed is None:
        return native
    out = native.copy()
    part = changed.grown(2, mask.shape)
    _bring(mask, logits, before, out, region, part)
    return out


def _bring(
    mask: np.ndarray, logits: np.ndarray | None, before: np.ndarray, out: np.ndarray, region: Region, part: Box
) -> None:
    """Brings back a part of the region's grid that holds all changes and what surrounds them."""
    new = mask[part.slices]
    values = np.where(new, np.float32(1), np.float32(-1)) if logits is None else logits[part.slices]
    touched = _dilated(new != before[part.slices])
    voxels = tuple(
        slice(a * step, min(b * step, n))
        for a, b, step, n in zip(part.start, part.stop, region.step, region.box.shape, strict=True)
    )
    shape = out[voxels].shape
    np.copyto(out[voxels], _repeated(new, region.step, shape), where=_repeated(touched, region.step, shape))
    band = _voxels(touched & _dilated(new) & _dilated(~new), region.step, shape)
    places = [(axis - step // 2) / step for axis, step in zip(band, region.step, strict=True)]
    out[voxels][band] = ndimage.map_coordinates(values, places, order=1, mode="nearest") > 0


def _dilated(marks: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.maximum_filter(marks, 3))


def _repeated(marks: np.ndarray, step: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Each voxel of the grid for all voxels of its step."""
    for axis, (times, length) in enumerate(zip(step, shape, strict=True)):
        marks = marks.repeat(times, axis).take(range(length), axis)
    return marks


def _voxels(marks: np.ndarray, step: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The voxels in the steps that are marked: three arrays of indices."""
    steps = np.indices(step).reshape(3, 1, -1)
    first = (np.argwhere(marks) * step).T[:, :, None]
    voxels = (first + steps).reshape(3, -1)
    i, j, k = voxels[:, (voxels < np.array(shape)[:, None]).all(axis=0)]
    return i, j, k
