"""What is written and read: 32 classes as large as the organs of a trunk. Needs NumPy alone."""

from __future__ import annotations

import numpy as np

from ...core.classes import class_table

Shape = tuple[int, int, int]


def ellipsoids(shape: Shape) -> np.ndarray:
    """uint8 labels (i, j, k): 4 x 4 x 2 ellipsoids side by side, within the box that the organs of a trunk take.

    That is 7/10 of the width of a scan, half of its depth, and its whole height.
    """
    labels = np.zeros(shape, np.uint8, order="F")
    trunk = labels[shape[0] * 3 // 20 : shape[0] * 17 // 20, shape[1] // 4 : shape[1] * 3 // 4]
    sides = [n // c for n, c in zip(trunk.shape, (4, 4, 2), strict=True)]
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, side)) for side in sides)]
    inside = sum(axis**2 for axis in axes) < 0.95
    for number, index in enumerate(class_table()):
        at = (number % 4, number // 4 % 4, number // 16)
        trunk[tuple(slice(c * side, (c + 1) * side) for c, side in zip(at, sides, strict=True))][inside] = index
    return labels
