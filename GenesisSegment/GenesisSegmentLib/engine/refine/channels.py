"""What the click network sees: the CT in two windows, the segment now, the prompts, and what the image says of them."""

from __future__ import annotations

import numpy as np

from .geodesic_map import geodesic_maps

CHANNELS = 11
SOFT, MASK, INSIDE, OUTSIDE, WHOSE = 0, 2, 3, 4, 8
REACH = 4
"""Voxels around a prompt in which its channel fades from one to nothing: a single voxel is too little to be seen."""
SOFT_HU = (-160.0, 240.0)
WHOLE_HU = (-1024.0, 1024.0)
CONTRAST_HU = 150.0
"""Differences that are told apart from what was pointed at; a convolution cannot carry that across a region."""
_SAMPLES = 4096


def channels(
    hu: np.ndarray,
    mask: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    spacing_mm: tuple[float, float, float],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Input of the network, float32 (11, X, Y, Z), from a CT in HU and three bool arrays (X, Y, Z).

    ``mask`` is the segment now; ``inside`` and ``outside`` are the voxels that prompts put in and out of it. ``out``:
    an array to write to. The sides must be even.
    """
    whole = np.empty((CHANNELS, *hu.shape), dtype=np.float32) if out is None else out
    for channel, (low, high) in enumerate((SOFT_HU, WHOLE_HU)):
        np.clip(hu, low, high, out=whole[channel])
        whole[channel] -= (low + high) / 2
        whole[channel] *= 2 / (high - low)
    whole[MASK] = mask
    whole[INSIDE] = nearness(inside)
    whole[OUTSIDE] = nearness(outside)
    close = (REACH - 1) / REACH
    for channel, voxels in enumerate((mask, whole[INSIDE] >= close, whole[OUTSIDE] >= close), OUTSIDE + 1):
        _contrast(hu, voxels, whole[channel])
    whole[WHOSE:] = geodesic_maps(hu, mask, inside, outside, spacing_mm)
    return whole


def nearness(voxels: np.ndarray) -> np.ndarray:
    """1 on ``voxels``, falling to 0 at :data:`REACH` voxels from them: float32 (X, Y, Z).

    The distance is counted in steps over faces and over corners in turn, whose ball is nearly round.
    """
    near = np.zeros(voxels.shape, dtype=np.float32)
    if not voxels.any():
        return near
    reached = voxels.copy()
    near += reached
    for step in range(1, REACH):
        reached = _over_corners(reached) if step % 2 else _over_faces(reached)
        near += reached
    near /= REACH
    return near


def _contrast(hu: np.ndarray, voxels: np.ndarray, out: np.ndarray) -> None:
    """How much brighter than the median of ``voxels`` everything is, -1 to 1; 0 where there are no such voxels."""
    values = hu[voxels]
    if not len(values):
        out[:] = 0
        return
    np.subtract(hu, np.median(values[:: len(values) // _SAMPLES + 1]), out=out)
    out /= CONTRAST_HU
    np.clip(out, -1, 1, out=out)


def _over_faces(voxels: np.ndarray) -> np.ndarray:
    grown = voxels.copy()
    for axis in range(3):
        _spread(voxels, grown, axis)
    return grown


def _over_corners(voxels: np.ndarray) -> np.ndarray:
    grown = voxels
    for axis in range(3):
        source, grown = grown, grown.copy()
        _spread(source, grown, axis)
    return grown


def _spread(source: np.ndarray, target: np.ndarray, axis: int) -> None:
    """Adds both neighbours along one axis."""
    low, high = [slice(None)] * 3, [slice(None)] * 3
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    target[tuple(low)] |= source[tuple(high)]
    target[tuple(high)] |= source[tuple(low)]
