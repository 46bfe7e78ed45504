"""From stored numbers to Hounsfield units: slope and intercept."""

from __future__ import annotations

import numpy as np


def rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """``stored * slope + intercept``, exact in integers where both are whole and the slope is 1, else float32.

    The memory order of ``stored`` is kept; without anything to do it is returned itself.
    """
    if slope == 1 and intercept == 0:
        return stored
    if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2 and slope == 1 and float(intercept).is_integer():
        return stored.astype(np.int32) + np.int32(intercept)
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def to_int16(values: np.ndarray, lowest: int = -32768, highest: int = 32767) -> np.ndarray:
    """Values [i, j, k] rounded and clipped to int16, plane by plane to spare memory; the memory order is kept."""
    result = np.empty_like(values, dtype=np.int16)
    for k in range(values.shape[2]):
        plane = values[:, :, k]
        if plane.dtype.kind == "f":
            plane = np.rint(plane)
        result[:, :, k] = np.clip(plane, lowest, highest)
    return result
