"""What the image says about a correction: how much nearer every voxel is to what is inside than to what is outside.

Geodesic maps beside the image are what lets a small network understand prompts: Wang et al., "DeepIGeoS: A Deep
Interactive Geodesic Framework for Medical Image Segmentation", IEEE TPAMI 2019.
"""

from __future__ import annotations

import numpy as np

from .geodesic import FAR, distances
from .seeded import seeds

_FADE_MM = 25.0


def geodesic_maps(
    hu: np.ndarray,
    mask: np.ndarray,
    inside: np.ndarray,
    outside: np.ndarray,
    spacing_mm: tuple[float, float, float],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whose each voxel seems to be, -1 (outside) to 1 (inside), and how near it is to both kinds of prompts, 0 to 1.

    All float32 (X, Y, Z), computed at half resolution: the sides must be even. The first is told from the seeds of
    :func:`.seeded.seeds`, so that the segment speaks as well, the others from prompts alone. Arguments: see
    :class:`.draft.Clicks`.
    """
    i, j, k = (2 * s for s in spacing_mm)
    coarse, said, denied = _halved(hu) / np.float32(8), _halved(inside) > 0, _halved(outside) > 0
    marks = seeds(_halved(mask) >= 4, said, denied, (i, j, k))
    everywhere = np.ones(marks.shape, dtype=bool)
    own, other = distances(coarse, marks > 0, marks < 0, everywhere, (i, j, k))
    own, other = np.minimum(own, FAR / 4), np.minimum(other, FAR / 4)  # whose sum is still a number
    whose = (other - own) / np.maximum(other + own, np.float32(1e-3))
    near, far = (
        np.exp(away / np.float32(-_FADE_MM)) for away in distances(coarse, said, denied, everywhere, (i, j, k))
    )
    return _doubled(whose), _doubled(near), _doubled(far)


def _halved(values: np.ndarray) -> np.ndarray:
    """The sum of every two by two by two voxels: float32."""
    total = np.zeros(tuple(n // 2 for n in values.shape), dtype=np.float32)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                total += values[i::2, j::2, k::2]
    return total


def _doubled(values: np.ndarray) -> np.ndarray:
    """Linear interpolation to twice as many voxels; at the faces the outermost value is repeated."""
    for axis in range(3):
        whole = np.moveaxis(values, axis, 0)
        fine = np.empty((len(whole), 2, *whole.shape[1:]), dtype=np.float32)
        fine[:] = np.float32(0.75) * whole[:, None]
        fine[1:, 0] += np.float32(0.25) * whole[:-1]
        fine[:-1, 1] += np.float32(0.25) * whole[1:]
        fine[0, 0] += np.float32(0.25) * whole[0]
        fine[-1, 1] += np.float32(0.25) * whole[-1]
        values = np.moveaxis(fine.reshape(-1, *whole.shape[1:]), 0, axis)
    return np.ascontiguousarray(values)
