"""Which of two sets of seeds is nearer, where crossing an edge of the image is as long as a detour.

Raster scans in both directions until nothing changes, as in Toivanen, "New geodesic distance transforms for gray-scale
images" (1996), over all 26 neighbours; compiled by numba on one thread, and in numpy where numba is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import ndimage

from ...core.home import data_home

Kernel = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]

MM_PER_HU = 0.3
"""How long a path becomes by a step of one Hounsfield unit: an edge of 50 HU counts as 15 mm."""
HU_RANGE = (-250.0, 350.0)
"""Differences of air or of bone among themselves say nothing."""
_SCANS = 2
"""Pairs of scans at most; where a path turns more often than that, it is not worth the wait."""
FAR = 3e38


def nearer(
    hu: np.ndarray, seeds: np.ndarray, rivals: np.ndarray, free: np.ndarray, spacing_mm: tuple[float, float, float]
) -> np.ndarray:
    """Which free voxels are nearer to ``seeds`` than to ``rivals``: bool (i, j, k). See :func:`distances`."""
    own, other = distances(hu, seeds, rivals, free, spacing_mm)
    return (own < other) & free


def distances(
    hu: np.ndarray, seeds: np.ndarray, rivals: np.ndarray, free: np.ndarray, spacing_mm: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """How far every voxel is from ``seeds`` and from ``rivals``: two of float32 (i, j, k), :data:`FAR` without a way.

    Args:
        hu: float32 (i, j, k).
        seeds, rivals: bool (i, j, k).
        free: bool (i, j, k): the voxels that paths run through.
        spacing_mm: along i, j, k.
    """
    # Smoothed, as noise would make every path long.
    smooth = ndimage.uniform_filter(np.clip(hu, *HU_RANGE), 3, output=np.float32)
    image = _bordered(smooth * np.float32(MM_PER_HU), 0)
    own = _bordered(np.where(seeds, 0, FAR).astype(np.float32), FAR)
    other = _bordered(np.where(rivals, 0, FAR).astype(np.float32), FAR)
    steps = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)])
    lengths = np.linalg.norm(steps * np.array(spacing_mm), axis=1).astype(np.float32).reshape(3, 3, 3)
    spread = _compiled() or _spread_in_numpy
    spread(image, own, other, _bordered(free, False), lengths)
    return own[1:-1, 1:-1, 1:-1], other[1:-1, 1:-1, 1:-1]


def prepare() -> None:
    """Loads or compiles what :func:`nearer` needs, so that its first call is as quick as the others."""
    some = np.zeros((3, 3, 3), dtype=bool)
    nearer(some.astype(np.float32), some, some, some, (1.0, 1.0, 1.0))


def _bordered(values: np.ndarray, edge: float) -> np.ndarray:
    """With a border of one voxel, and k next in memory, in which order the scans run."""
    return np.pad(np.ascontiguousarray(values), 1, constant_values=edge)


def is_compiled() -> bool:
    """Whether numba is there. Without it, a preview takes several times as long."""
    return _compiled() is not None


@cache
def _compiled() -> Kernel | None:
    try:
        import numba
    except ImportError:
        return None
    if not numba.config.CACHE_DIR:  # type: ignore[attr-defined]
        numba.config.CACHE_DIR = str(data_home() / "compiled")  # type: ignore[attr-defined]
    try:
        return numba.njit(cache=True, nogil=True)(_spread)
    except RuntimeError:  # no folder can be written: it is compiled anew in each process
        return numba.njit(nogil=True)(_spread)


def _spread(image: np.ndarray, own: np.ndarray, other: np.ndarray, free: np.ndarray, lengths: np.ndarray) -> None:
    """Makes both distances as short as paths through free voxels are. All arrays have a border of one voxel.

    The neighbours in rows that were done before are taken for a whole row at once, which the processor does eight
    voxels at a time; then the row is gone through in both directions.
    """
    rows, columns, count = image.shape
    along = lengths[1, 1, 0]
    for _scan in range(_SCANS):
        is_changed = False
        for way in (1, -1):
            for a in range(1, rows - 1):
                i = a if way == 1 else rows - 1 - a
                for b in range(1, columns - 1):
                    j = b if way == 1 else columns - 1 - b
                    value, is_free = image[i, j], free[i, j]
                    for distance in (own, other):
                        row = distance[i, j]
                        before = row.copy()
                        for di, dj in ((-1, -1), (-1, 0), (-1, 1), (0, -1)):
                            edge, source = image[i + way * di, j + way * dj], distance[i + way * di, j + way * dj]
                            for dk in (-1, 0, 1):
                                length = lengths[1 + di, 1 + dj, 1 + dk]
                                for k in range(1, count - 1):
                                    found = source[k + dk] + length + abs(value[k] - edge[k + dk])
                                    row[k] = found if found < row[k] and is_free[k] else row[k]
                        for k in range(1, count - 1):
                            found = row[k - 1] + along + abs(value[k] - value[k - 1])
                            row[k] = found if found < row[k] and is_free[k] else row[k]
                        for k in range(count - 2, 0, -1):
                            found = row[k + 1] + along + abs(value[k] - value[k + 1])
                            row[k] = found if found < row[k] and is_free[k] else row[k]
                        for k in range(1, count - 1):
                            is_changed |= row[k] != before[k]
        if not is_changed:
            return


def _spread_in_numpy(
    image: np.ndarray, own: np.ndarray, other: np.ndarray, free: np.ndarray, lengths: np.ndarray
) -> None:
    """The same, all free voxels at once, as often as a path has voxels."""
    _rows, columns, count = image.shape
    places = np.flatnonzero(free)
    steps = np.array([(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) != (0, 0, 0)])
    neighbours = places[:, None] + steps @ np.array([columns * count, count, 1])
    values = image.ravel()
    length = lengths[tuple(steps.T + 1)] + np.abs(values[places][:, None] - values[neighbours])
    for distance in (own.ravel(), other.ravel()):
        while True:
            shorter = np.minimum(distance[places], (distance[neighbours] + length).min(axis=1, initial=FAR))
            if (shorter == distance[places]).all():
                break
            distance[places] = shorter
