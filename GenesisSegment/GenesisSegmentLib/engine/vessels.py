"""Pieces of one vessel told from look-alikes elsewhere in the body."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .components import components

SAME_VESSEL_MM = 80.0
"""Ascending and descending aorta lie 4 to 8 cm apart; an arm beside the chest lies more than 15 cm from either."""
_END_MM = 50.0
"""Of the vessel, from which its course is drawn on."""

Levels = list[tuple[float, np.ndarray]]
"""Height in mm of every level that is occupied, ascending, with its voxels (n, 2) in mm."""
Line = tuple[np.ndarray, np.ndarray]
"""A place (x, y) in mm and the way per mm of height, of a straight course."""


def one_vessel(mask: np.ndarray, spacing_mm: Sequence[float], share: float) -> np.ndarray:
    """The largest piece of a vessel that runs along the third axis, and others that could be the same vessel.

    A piece of at least ``share`` of the largest one is kept where it lies, level by level, within 80 mm of it: at
    levels that both share (an arch whose top the field of view cuts off) of its nearest voxel, above and below it of
    its course, drawn on in a straight line, which an oblique volume needs. ``mask`` is boolean (i, j, k).
    """
    found = components(mask)
    if len(found) < 2 or found.sizes[1] < share * found.sizes[0]:
        return found.mask(0) if len(found) else np.zeros_like(mask)
    main = _levels(found.mask(0), spacing_mm)
    ends = _course(main, top=False), _course(main, top=True)
    kept = [0]
    for rank in np.flatnonzero(found.sizes >= share * found.sizes[0])[1:].tolist():
        distances = [
            _distance(main, ends, z, points.mean(axis=0)) for z, points in _levels(found.mask(rank), spacing_mm)
        ]
        if np.median(distances) <= SAME_VESSEL_MM:
            kept.append(rank)
    return found.mask(*kept)


def _levels(mask: np.ndarray, spacing_mm: Sequence[float]) -> Levels:
    across = np.array(spacing_mm[:2])
    occupied = np.flatnonzero(mask.any(axis=(0, 1))).tolist()
    return [(k * spacing_mm[2], np.argwhere(mask[:, :, k]) * across) for k in occupied]


def _course(levels: Levels, top: bool) -> tuple[float, Line]:
    """Height of an end of a vessel, and its course there."""
    ordered = levels[::-1] if top else levels
    end = ordered[0][0]
    last = [(z - end, points.mean(axis=0)) for z, points in ordered if abs(z - end) <= _END_MM]
    if len(last) < 3:
        return end, (last[0][1], np.zeros(2))
    slope, place = np.polyfit([z for z, _ in last], np.array([center for _, center in last]), 1)
    return end, (place, slope)


def _distance(main: Levels, ends: tuple[tuple[float, Line], tuple[float, Line]], z: float, center: np.ndarray) -> float:
    """How far in mm a place lies from the vessel at its level."""
    for (end, (place, slope)), is_beyond in zip(ends, (z < ends[0][0], z > ends[1][0]), strict=True):
        if is_beyond:
            return float(np.linalg.norm(center - place - slope * (z - end)))
    points = min(main, key=lambda level: abs(level[0] - z))[1]
    return float(np.linalg.norm(points - center, axis=1).min())
