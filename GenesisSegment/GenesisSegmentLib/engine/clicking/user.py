"""Somebody who corrects a segment: looks where it is most wrong, and draws there, not quite exactly."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from ...core.geometry import Box
from ...core.prompts import Kind, Prompt, axis_box


@dataclass(frozen=True)
class UserRecipe:
    """How a simulated user draws.

    ``kinds`` are the shares of points, scribbles and lassos; ``box_share`` of those who start from nothing draw a box.
    ``jitter`` is how far a hand is off, in voxels (sd); it never leaves what the user means, for people see where they
    draw. ``largest_share`` is how often the largest mistake is dealt with first.
    """

    kinds: tuple[tuple[Kind, float], ...] = (("point", 0.6), ("scribble", 0.25), ("lasso", 0.15))
    box_share: float = 0.3
    jitter: float = 1.0
    largest_share: float = 0.75
    box_slack: float = 0.08
    """By how much of the structure's side a box is drawn too large or too small, at most, on each side."""


POINTS = UserRecipe(kinds=(("point", 1.0),), box_share=0.0)
"""Someone who only clicks."""
EXACT = UserRecipe(kinds=(("point", 1.0),), box_share=0.0, jitter=0.0, largest_share=1.0)
"""Someone who always clicks into the middle of the largest mistake: what papers measure."""


class SimulatedUser:
    """Draws prompts, in voxels of the arrays that are shown to it."""

    def __init__(self, recipe: UserRecipe, rng: np.random.Generator) -> None:
        self._recipe, self._rng = recipe, rng

    def prompt(self, mask: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> Prompt | None:
        """What the user draws, shown the segment ``mask`` while thinking of ``truth``, bool (X, Y, Z).

        None where there is nothing to correct.
        """
        if not mask.any() and truth.any() and self._rng.uniform() < self._recipe.box_share:
            return self._box(truth)
        mistake = self._mistake(mask ^ truth)
        if mistake is None:
            return None
        wrong, box = mistake
        is_positive = bool(truth[box.slices][wrong].any())
        kinds, shares = zip(*self._recipe.kinds, strict=True)
        kind = kinds[int(self._rng.choice(len(kinds), p=np.array(shares) / sum(shares)))]
        points, radius_mm = self._points(kind, wrong, spacing)
        if len(points) < 2:
            kind, radius_mm = "point", 0.0
        places = [(p + box.start).tolist() for p in points]
        return Prompt(kind, tuple((i, j, k) for i, j, k in places), is_positive, radius_mm)

    def _mistake(self, wrong: np.ndarray) -> tuple[np.ndarray, Box] | None:
        """One connected mistake, cut out: bool, and where it lies. Too much and too little never hang together here."""
        where = Box.around(wrong)
        if where is None:
            return None
        parts, count = cc3d.connected_components(
            np.ascontiguousarray(wrong[where.slices]), connectivity=6, return_N=True
        )
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:].astype(float)
        if self._rng.uniform() < self._recipe.largest_share:
            chosen = int(sizes.argmax())
        else:
            chosen = int(self._rng.choice(count, p=sizes / sizes.sum()))
        part = parts == chosen + 1
        box = Box.around(part)
        assert box is not None
        start = tuple(a + b for a, b in zip(where.start, box.start, strict=True))
        stop = tuple(a + b for a, b in zip(where.start, box.stop, strict=True))
        return part[box.slices], Box(start, stop)  # type: ignore[arg-type]

    def _points(
        self, kind: Kind, wrong: np.ndarray, spacing: tuple[float, float, float]
    ) -> tuple[list[np.ndarray], float]:
        depth = ndimage.distance_transform_edt(np.pad(wrong, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
        middle = self._middle(wrong, depth)
        if kind == "point":
            return [middle], 0.0
        k = round(middle[2])
        slice_, deep = wrong[:, :, k], depth[:, :, k]
        if kind == "lasso":
            return _outline(slice_, middle, self._rng), 0.0
        radius = float(self._rng.uniform(0, 0.5) * deep.max()) if self._rng.uniform() < 0.6 else 0.0
        return _stroke(deep, middle, radius, self._rng), radius

    def _middle(self, wrong: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """A place well inside the mistake: its deepest voxel, or one that is deep enough; then the hand trembles."""
        if self._recipe.jitter == 0 or self._rng.uniform() < 0.5:
            chosen = int(depth.argmax())
        else:
            chosen = int(self._rng.choice(np.flatnonzero(depth >= 0.5 * depth.max())))
        place = np.array(np.unravel_index(chosen, wrong.shape))
        moved = (
            np.rint(place + self._rng.normal(0, self._recipe.jitter, 3)).astype(int) if self._recipe.jitter else place
        )
        is_on = all(0 <= m < n for m, n in zip(moved, wrong.shape, strict=True)) and wrong[tuple(moved)]
        return (moved if is_on else place).astype(float)

    def _box(self, truth: np.ndarray) -> Prompt:
        around = Box.around(truth)
        assert around is not None
        low, high = np.array(around.start), np.array(around.stop)
        slack = self._recipe.box_slack * (high - low)
        low = np.rint(low - self._rng.uniform(-0.5, 1, 3) * slack).astype(int)
        high = np.rint(high + self._rng.uniform(-0.5, 1, 3) * slack).astype(int)
        return axis_box(Box(tuple(low.tolist()), tuple(np.maximum(low + 1, high).tolist())))


def _stroke(depth: np.ndarray, middle: np.ndarray, radius: float, rng: np.random.Generator) -> list[np.ndarray]:
    """A polyline through a slice of the mistake (its depths, (X, Y)), along its longer side, that stays inside."""
    inside = np.argwhere(depth > max(radius, 1e-6))
    if len(inside) < 4:
        return [middle]
    centred = inside - inside.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    wanted = np.quantile(along, np.sort(rng.uniform(0.1, 0.9, int(rng.integers(2, 5)))))
    places = [inside[int(np.argmin(np.abs(along - w) + rng.uniform(0, 1.5, len(along))))] for w in wanted]
    points = [np.array([*places[0], middle[2]], dtype=float)]
    for place in places[1:]:
        way = np.linspace(points[-1][:2], place, 2 * int(np.abs(points[-1][:2] - place).max()) + 2)
        cells = np.rint(way).astype(int)
        if (depth[cells[:, 0], cells[:, 1]] > 0).all():
            points.append(np.array([*place, middle[2]], dtype=float))
    return points


def _outline(slice_: np.ndarray, middle: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """A loop a little inside the part of a slice of the mistake, (X, Y), that can be seen from its middle."""
    points = []
    for angle in np.arange(14) * 2 * np.pi / 14 + rng.uniform(0, 0.4):
        way = np.array([np.cos(angle), np.sin(angle)])
        reach = 0.0
        while True:
            cell = np.rint(middle[:2] + (reach + 0.5) * way).astype(int)
            if not all(0 <= c < n for c, n in zip(cell, slice_.shape, strict=True)) or not slice_[tuple(cell)]:
                break
            reach += 0.5
        points.append(np.array([*(middle[:2] + rng.uniform(0.75, 0.95) * reach * way), middle[2]]))
    return points
