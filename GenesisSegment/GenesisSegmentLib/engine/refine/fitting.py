"""Refits the head of one class: the 153 numbers of three tiny layers, on the features of some voxels.

The head is that of Liu et al., "CLIP-Driven Universal Model for Organ Segmentation and Tumor Detection" (ICCV 2023).
Without torch: the gradient of so small a network is a few products of matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from ..inference.head import WIDTH

STEPS = 40
KEEP = 0.003
"""How much it costs to change the numbers as much as they are large."""
_SPLIT = np.cumsum((64, 64, 8, 8, 8))


@dataclass(frozen=True, eq=False)
class Samples:
    """Voxels of one window: ``features`` float32 (8, n), whether each is ``inside`` the class, how much it counts.

    ``numbers`` (153,) are those of the class in this window before the fit.
    """

    features: np.ndarray
    inside: np.ndarray
    weights: np.ndarray
    numbers: np.ndarray


def refitted(samples: Sequence[Samples], steps: int = STEPS) -> np.ndarray:
    """What to add to the numbers (153,) of the class, the same in each window, so that the samples come out right.

    Binary cross-entropy, minimised by L-BFGS; the numbers are held near what they were.
    """
    scale = float(np.sqrt(np.mean([np.square(s.numbers).mean() for s in samples]))) or 1.0
    total = float(sum(s.weights.sum() for s in samples))

    def loss(change: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = KEEP * float(change @ change), 2 * KEEP * change
        for s in samples:
            of_window, gradient = _loss(s, (s.numbers + scale * change).astype(np.float32))
            value, slope = value + of_window / total, slope + scale * gradient / total
        return value, slope

    start = np.zeros_like(samples[0].numbers, dtype=np.float64)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return scale * np.asarray(found.x)


def _loss(s: Samples, numbers: np.ndarray) -> tuple[float, np.ndarray]:
    """The weighted sum of the cross-entropy, and its gradient (153,)."""
    w1, w2, w3, b1, b2, b3 = np.split(numbers, _SPLIT)
    w1, w2 = w1.reshape(WIDTH, WIDTH), w2.reshape(WIDTH, WIDTH)
    first = np.maximum(w1 @ s.features + b1[:, None], 0)
    second = np.maximum(w2 @ first + b2[:, None], 0)
    logit = w3 @ second + b3
    value = s.weights @ (np.logaddexp(0, logit) - s.inside * logit)
    down = s.weights * (0.5 * (1 + np.tanh(0.5 * logit)) - s.inside)
    to_second = np.outer(w3, down) * (second > 0)
    to_first = (w2.T @ to_second) * (first > 0)
    parts = (
        (to_first @ s.features.T).ravel(),
        (to_second @ first.T).ravel(),
        second @ down,
        to_first.sum(axis=1),
        to_second.sum(axis=1),
        down.sum(keepdims=True),
    )
    return float(value), np.concatenate(parts).astype(np.float64)
