"""Classical methods that answer prompts, to compare the click network with. Each stands where the network would."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..refine.seeded import seeds

_FADE_HU = 40.0
_NOISE_HU = 25.0

Method = Callable[[np.ndarray, np.ndarray, tuple[float, float, float]], np.ndarray]
"""HU, seeds (1 in, -1 out, 0 open) and spacing -> bool, all (X, Y, Z)."""


class ClassicalClicks:
    """A seeded method behind the interface of the click network (:class:`..refine.draft.Clicks`).

    Seeds are the prompts, and the core of the segment and of what is around it, as far as they lie away from prompts
    that say otherwise. Without a segment the faces of the region count as outside.
    """

    def __init__(self, method: Method) -> None:
        self._method = method

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        """See :class:`..refine.draft.Clicks`."""
        marks = seeds(mask, inside, outside, spacing_mm)
        if not (marks > 0).any() or not (marks < 0).any():
            return np.where(mask | inside, 1.0, -1.0).astype(np.float32)
        return np.where(self._method(hu, marks, spacing_mm), 1.0, -1.0).astype(np.float32)


def grow_cut(hu: np.ndarray, marks: np.ndarray, spacing: tuple[float, float, float], steps: int = 60) -> np.ndarray:
    """Grow-cut (Vezhnevets and Konouchine 2005): seeds conquer voxels that look like them, over faces, step by step."""
    label = marks.astype(np.float32)
    strength = np.abs(label)
    smooth = np.clip(hu, -1000, 400).astype(np.float32)
    ways = [(axis, np.exp(-np.abs(np.diff(smooth, axis=axis)) / _FADE_HU).astype(np.float32)) for axis in range(3)]
    for _ in range(steps):
        for axis, ease in ways:
            low = tuple(slice(None, -1) if a == axis else slice(None) for a in range(3))
            high = tuple(slice(1, None) if a == axis else slice(None) for a in range(3))
            for source, target in ((low, high), (high, low)):
                attack = strength[source] * ease
                wins = attack > strength[target]
                strength[target][wins] = attack[wins]
                label[target][wins] = label[source][wins]
    return label > 0


def random_walker(hu: np.ndarray, marks: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Random walker (Grady 2006) of scikit-image, conjugate gradient with a Jacobi preconditioner."""
    from skimage.segmentation import random_walker as walk

    labels = np.where(marks > 0, 1, np.where(marks < 0, 2, 0))
    scaled = np.clip(hu, -200, 300).astype(np.float32) / _NOISE_HU
    return (
        walk(scaled, labels, beta=10, mode="cg_j", tol=1e-2, prob_tol=0.1, spacing=np.array(spacing) / min(spacing))
        == 1
    )
