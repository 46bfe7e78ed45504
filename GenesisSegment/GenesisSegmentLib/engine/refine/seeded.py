"""A whole structure from the first prompt on an empty place, without a network: the prompt against all around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from .geodesic import nearer

CERTAIN_MM = 8.0
"""Voxels so deep within the segment, or so far outside of it, are believed, away from prompts against it."""
_SURE = 10.0

Method = Callable[[np.ndarray, np.ndarray, tuple[float, float, float]], np.ndarray]
"""HU, seeds (1 in, -1 out, 0 open) and spacing -> bool, all (X, Y, Z)."""


def nearest(hu: np.ndarray, marks: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """A voxel belongs to the seeds that are nearer, as long over an edge of the image as over a detour."""
    return nearer(hu, marks > 0, marks < 0, np.ones(hu.shape, dtype=bool), spacing_mm)


class SeededClicks:
    """A method that begins with seeds, where the click network would stand (:class:`.draft.Clicks`).

    Seeds are the prompts, and the core of the segment and of what is around it, as far as they lie away from prompts
    that say otherwise. Without a segment the faces of the region count as outside.
    """

    def __init__(self, method: Method = nearest) -> None:
        self._method = method

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        """See :class:`.draft.Clicks`; 10 or -10: it knows no doubt."""
        marks = seeds(mask, inside, outside, spacing_mm)
        if not (marks > 0).any() or not (marks < 0).any():
            return np.where(mask | inside, _SURE, -_SURE).astype(np.float32)
        return np.where(self._method(hu, marks, spacing_mm), _SURE, -_SURE).astype(np.float32)


def seeds(mask: np.ndarray, inside: np.ndarray, outside: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """1 where a voxel is surely in the segment, -1 where it surely is not, 0 where the method decides: int8."""
    marks = np.zeros(mask.shape, dtype=np.int8)
    if mask.any():
        marks[_deep(mask, spacing) & _away(outside, spacing)] = 1
        marks[_deep(~mask, spacing) & _away(inside, spacing)] = -1
    else:
        for axis in range(3):
            for side in (0, -1):
                marks[tuple(side if a == axis else slice(None) for a in range(3))] = -1
    marks[inside], marks[outside] = 1, -1
    return marks


def _deep(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    depth = ndimage.distance_transform_edt(mask, sampling=spacing)
    return depth > min(CERTAIN_MM, 0.5 * float(depth.max()))


def _away(marks: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    if not marks.any():
        return np.ones(marks.shape, dtype=bool)
    return ndimage.distance_transform_edt(~marks, sampling=spacing) > 2 * CERTAIN_MM
