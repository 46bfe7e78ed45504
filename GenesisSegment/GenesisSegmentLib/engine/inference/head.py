"""The universal head in numpy, for runs without torch (Liu et al., ICCV 2023, text-driven segmentor)."""

from __future__ import annotations

import numpy as np

from ...core.jobs import Advance

WIDTH = 8
_SPLIT = np.cumsum((64, 64, 8, 8, 8))
_CHUNK_VOXELS = 4096


def apply_head(features: np.ndarray, numbers: np.ndarray, advance: Advance = lambda share: None) -> np.ndarray:
    """Features float32 (8, X, Y, Z) and class numbers (n, 153) -> logits float32 (n, X, Y, Z).

    Voxels are worked through in pieces that stay in the processor's cache, class by class: products so small that the
    BLAS does not split them over threads, whose waiting would cost more than the work. ``advance`` is told the share
    done now and then and may raise to stop.
    """
    n = len(numbers)
    w1, w2, w3, b1, b2, b3 = np.split(numbers.astype(np.float32), _SPLIT, axis=1)
    w1, b1 = w1.reshape(n, WIDTH, WIDTH), b1.reshape(n, WIDTH, 1)
    w2, b2 = w2.reshape(n, WIDTH, WIDTH), b2.reshape(n, WIDTH, 1)
    w3, b3 = w3.reshape(n, 1, WIDTH), b3.reshape(n, 1, 1)
    flat = features.reshape(WIDTH, -1)
    out = np.empty((n, flat.shape[1]), dtype=np.float32)
    for start in range(0, flat.shape[1], _CHUNK_VOXELS):
        if start % (64 * _CHUNK_VOXELS) == 0:
            advance(start / flat.shape[1])
        piece = slice(start, start + _CHUNK_VOXELS)
        hidden = w1 @ flat[:, piece]
        hidden += b1
        np.maximum(hidden, 0, out=hidden)
        hidden = w2 @ hidden
        hidden += b2
        np.maximum(hidden, 0, out=hidden)
        out[:, piece] = (w3 @ hidden + b3)[:, 0]
    return out.reshape(n, *features.shape[1:])
