"""The shape of a lesion: an ellipsoid, deformed elastically on a grid of three nodes in each plane (models.md 7.1)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy import ndimage

PLANES = ((0, 1), (1, 2), (0, 2))
"""The axes of the planes in which a shape is deformed, in turn; all slices across a plane alike."""
NODES = 3
_ROUNDING = 1e-9
"""Voxels exactly on the surface are inside, however their sum of squares is rounded."""


def draw_nodes(sigma: float, rng: np.random.Generator) -> np.ndarray:
    """How far the nodes are moved, in voxels: (plane, axis of it, 3, 3), normally distributed."""
    return rng.normal(0.0, sigma, (len(PLANES), 2, NODES, NODES))


def lesion_shape(radii: tuple[int, int, int], nodes: np.ndarray) -> np.ndarray:
    """The deformed ellipsoid, bool (X, Y, Z) with odd sides; its middle is that of the array, which holds all of it.

    The nodes span a box from -2 to 2 radii along each axis, beyond which there is nothing. The result is that of three
    resamplings of that box with the nearest neighbour. But all slices across a plane take their values from the same
    places, so the displacements are computed once and whole rows are looked up, as far from the middle as the shape
    can have moved.
    """
    moved = [displacements(n, (4 * radii[a] + 1, 4 * radii[b] + 1)) for n, (a, b) in zip(nodes, PLANES, strict=True)]
    reach = list(radii)
    for plane, by in zip(PLANES, moved, strict=True):
        for axis, part in zip(plane, by, strict=True):
            reach[axis] += int(np.abs(part).max()) + 1
    reach = [min(2 * r, n) for r, n in zip(radii, reach, strict=True)]
    shape = ellipsoid(radii, reach)
    for plane, by in zip(PLANES, moved, strict=True):
        shape = _deformed(shape, plane, by)
    return shape


def ellipsoid(radii: tuple[int, int, int], reach: Sequence[int]) -> np.ndarray:
    """bool (X, Y, Z): within the radii of the middle of a box that goes on for ``reach`` voxels to each side."""
    x, y = ((np.arange(-n, n + 1) / r) ** 2 for n, r in zip(reach[:2], radii[:2], strict=True))
    left = 1 - x[:, None] - y
    most = np.where(left < -_ROUNDING, -1, np.floor(radii[2] * np.sqrt(np.maximum(left, 0)) + _ROUNDING))
    return np.abs(np.arange(-reach[2], reach[2] + 1, dtype=np.int16)) <= most[:, :, None].astype(np.int16)


def displacements(nodes: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """The displacements float64 (2, A, B) in a plane: the cubic spline through the nodes, which span the plane."""
    one, other = (_spline(n) for n in sides)
    return np.asarray(one @ nodes @ other.T)


@lru_cache(maxsize=256)
def _spline(count: int) -> np.ndarray:
    """What each node weighs at ``count`` places between the first and the last of them: (count, nodes)."""
    at = np.linspace(0, NODES - 1, count)[None]
    return np.stack([ndimage.map_coordinates(unit, at, order=3, mode="mirror") for unit in np.eye(NODES)], axis=1)


def _deformed(shape: np.ndarray, plane: tuple[int, int], moved: np.ndarray) -> np.ndarray:
    """``shape`` in the middle of the box for which the displacements ``moved`` (2, A, B) are, deformed by them."""
    rows = np.moveaxis(shape, plane, (0, 1))
    (a, b, depth), (_axes, whole_a, whole_b) = rows.shape, moved.shape
    skip_a, skip_b = (whole_a - a) // 2, (whole_b - b) // 2
    middle = moved[:, skip_a : whole_a - skip_a, skip_b : whole_b - skip_b]
    i, j = middle[0] + np.arange(skip_a, skip_a + a)[:, None], middle[1] + np.arange(skip_b, skip_b + b)
    is_inside = (i >= 0) & (i <= whole_a - 1) & (j >= 0) & (j <= whole_b - 1)
    i, j = np.floor(i + 0.5) - skip_a, np.floor(j + 0.5) - skip_b
    is_inside &= (i >= 0) & (i < a) & (j >= 0) & (j < b)
    # An empty row behind the last one stands for all that lies outside.
    source = np.where(is_inside, i * b + j, a * b).astype(np.intp)
    table = np.zeros((a * b + 1, depth), bool)
    table[:-1].reshape(rows.shape)[...] = rows
    return np.moveaxis(table.take(source.ravel(), axis=0).reshape(rows.shape), (0, 1), plane)
