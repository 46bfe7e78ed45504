"""Classical methods for :class:`..refine.seeded.SeededClicks`, to compare the click network with."""

from __future__ import annotations

import numpy as np

_FADE_HU = 40.0
_NOISE_HU = 25.0


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
