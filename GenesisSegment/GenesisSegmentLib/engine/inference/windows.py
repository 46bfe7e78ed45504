"""Where the windows lie and how much each voxel of a window counts: MONAI's sliding window, as plain numbers."""

from __future__ import annotations

import numpy as np

SIGMA_SHARE = 0.125


def starts(side: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along one axis: steps of window x (1 - overlap), the last one flush with the end."""
    if side <= window:
        return [0]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(side - window) // step) + 1
    return [min(n * step, side - window) for n in range(count)]


def importance(window: tuple[int, int, int]) -> np.ndarray:
    """Gaussian weights float32 (X, Y, Z) of a window, sigma an eighth of each side, never quite zero.

    The map that MONAI's sliding-window inference uses for ``mode="gaussian"``.
    """
    weights = np.ones(window, dtype=np.float32)
    for axis, side in enumerate(window):
        x = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
        bell = np.exp(-(x**2) / np.float32(2 * (side * SIGMA_SHARE) ** 2)).astype(np.float32)
        weights *= bell.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.maximum(weights, max(float(weights.min()), 1e-3))
