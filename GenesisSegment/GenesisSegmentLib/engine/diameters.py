"""The axial diameters of a lesion, as a radiologist measures them for RECIST 1.1 (Eisenhauer et al., 2009).

Long axis: the longest line between two edge points of the lesion in one axial slice, over all slices. Short axis: the
longest line across the lesion in the same slice at right angles to it. Edge points lie half-way between a pixel of the
lesion and its neighbour outside, so that a digitised circle has the diameter of the circle, neither half a pixel more
nor less on each side; both lines are taken in the convex hull.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import ConvexHull

_SAME_MM = 1e-6


class Diameters(NamedTuple):
    """Long and short axis in millimetres."""

    longest_mm: float
    perpendicular_mm: float


def axial_diameters(mask: np.ndarray, spacing_mm: Sequence[float], axial: int) -> Diameters:
    """Diameters of a non-empty mask (i, j, k); slices lie at right angles to axis ``axial``.

    Where several slices, or several lines of a slice, are equally long, the pair with the longest short axis counts.
    """
    slices = np.moveaxis(mask, axial, 0)
    in_plane = tuple(s for axis, s in enumerate(spacing_mm) if axis != axial)
    # No line is longer than the diagonal of its slice's box: with the largest box first, most slices can be left out.
    bounds = np.array([_diagonal(plane, in_plane) for plane in slices])
    best = Diameters(0.0, 0.0)
    for k in np.argsort(-bounds, kind="stable"):
        if bounds[k] < best.longest_mm - _SAME_MM or bounds[k] == 0:
            break
        found = _plane_diameters(_hull(slices[k], in_plane))
        if found.longest_mm > best.longest_mm + _SAME_MM or (
            found.longest_mm > best.longest_mm - _SAME_MM and found.perpendicular_mm > best.perpendicular_mm
        ):
            best = found
    return best


def _diagonal(plane: np.ndarray, spacing: tuple[float, ...]) -> float:
    sides = []
    for axis in range(2):
        hit = np.flatnonzero(plane.any(axis=1 - axis))
        if hit.size == 0:
            return 0.0
        sides.append((hit[-1] - hit[0] + 1) * spacing[axis])
    return float(np.hypot(*sides))


def _hull(plane: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Corners (n, 2) of the convex hull of the edge points in millimetres, in order."""
    padded = np.pad(plane, 1)
    points = []
    for axis in range(2):
        for step in (-1, 1):
            edge = np.argwhere(padded & ~np.roll(padded, -step, axis=axis)).astype(float)
            edge[:, axis] += step / 2
            points.append(edge * spacing)
    corners = np.concatenate(points)
    return corners[ConvexHull(corners).vertices]


def _plane_diameters(hull: np.ndarray) -> Diameters:
    between = hull[None, :] - hull[:, None]
    lengths = np.hypot(between[..., 0], between[..., 1])
    longest = lengths.max()
    pairs = np.argwhere(np.triu(lengths >= longest - _SAME_MM))
    across = max(_longest_across(hull, between[a, b] / lengths[a, b]) for a, b in pairs)
    return Diameters(float(longest), across)


def _longest_across(hull: np.ndarray, direction: np.ndarray) -> float:
    """Longest chord of a convex polygon at right angles to ``direction``; it passes through a corner."""
    along = hull @ direction
    sideways = hull @ np.array([-direction[1], direction[0]])
    start, end = along, np.roll(along, -1)
    rise = end - start
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (along[:, None] - start) / rise  # where on each edge (columns) the chord of each corner (rows) passes
    crossing = sideways + np.where(rise == 0, 0.0, part) * (np.roll(sideways, -1) - sideways)
    passes = (part >= 0) & (part <= 1)
    high = np.where(passes, crossing, -np.inf).max(axis=1)
    low = np.where(passes, crossing, np.inf).min(axis=1)
    return float((high - low).max())
