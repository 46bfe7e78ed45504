"""The grid on which a correction is computed: 64 or 96 voxels a side, as fine as the CT or coarser."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.geometry import Box, Geometry

SMALL, LARGE = 64, 96
MARGIN = 16
"""Voxels of the grid around the prompt, at least, that it is seen in."""
COARSEST_MM = 6.0
_CUBIC = 1.5
"""Axes with more to see whose spacing is at most so many times the finest become coarser together."""


@dataclass(frozen=True)
class Region:
    """A box of the CT, and a grid of ``side`` voxels in it that takes each ``step``-th voxel of the CT along an axis.

    Where the CT is smaller than the grid, the grid goes on beyond it: :meth:`sampled` repeats the edge there.
    """

    box: Box
    step: tuple[int, int, int]
    side: int
    geometry: Geometry

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Of the grid in mm."""
        i, j, k = (s * n for s, n in zip(self.geometry.spacing, self.step, strict=True))
        return i, j, k

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many voxels of the grid lie in the CT, along each axis."""
        i, j, k = (-(-n // step) for n, step in zip(self.box.shape, self.step, strict=True))
        return i, j, k

    @property
    def is_native(self) -> bool:
        """Whether the voxels of the grid are those of the CT."""
        return self.step == (1, 1, 1)

    def sampled(self, values: np.ndarray) -> np.ndarray:
        """The grid's voxels of an array (i, j, k) of the box: the ones in the middle of each step."""
        if self.is_native:
            return values
        return values[np.ix_(*(_middles(n, step) for n, step in zip(self.box.shape, self.step, strict=True)))]

    def pooled(self, marks: np.ndarray) -> np.ndarray:
        """Marks (i, j, k) of the box on the grid: where one voxel of a step is marked, so that thin lines stay."""
        if self.is_native:
            return marks
        if not marks.any():
            return np.zeros(self.counts, dtype=bool)
        for axis, step in enumerate(self.step):
            whole = np.moveaxis(marks, axis, 0)
            first = whole[::step].copy()
            for n in range(1, step):
                further = whole[n::step]
                first[: len(further)] |= further
            marks = np.moveaxis(first, 0, axis)
        return marks

    def filled(self, values: np.ndarray, mode: str = "constant") -> np.ndarray:
        """The voxels of the grid inside the CT -> the whole grid, ``side`` cubed."""
        beyond = [(0, self.side - n) for n in values.shape]
        return np.pad(values, beyond, mode=mode) if any(n for _low, n in beyond) else values  # type: ignore[call-overload]

    def wider(self) -> Region | None:
        """The region around the same place that sees more of the CT, or None where there is no more to see."""
        sizes = zip(self.box.shape, self.geometry.shape, self.spacing, strict=True)
        spacings = [spacing if n < whole else np.inf for n, whole, spacing in sizes]  # of the axes with more to see
        finest = min(spacings)
        if finest >= COARSEST_MM:
            return None
        step = self.step
        if self.side == LARGE:
            i, j, k = (n * 2 if s <= _CUBIC * finest else n for n, s in zip(step, spacings, strict=True))
            step = (i, j, k)
        centre = tuple((a + b) / 2 for a, b in zip(self.box.start, self.box.stop, strict=True))
        return replace(self, box=_placed(centre, LARGE, step, self.geometry), step=step, side=LARGE)


def region_around(extent: Box, geometry: Geometry) -> Region:
    """The smallest and finest region that shows a box of the CT with a margin."""
    needed = np.array(extent.shape) + 2 * MARGIN
    centre = tuple((a + b) / 2 for a, b in zip(extent.start, extent.stop, strict=True))
    side, step = SMALL if needed.max() <= SMALL else LARGE, (1, 1, 1)
    if needed.max() > LARGE:
        # The margin is counted in voxels of the grid, which are not known yet: half of it stays at least.
        spacing = np.array(geometry.spacing)
        coarse = float((np.array(extent.shape) * spacing).max()) / (LARGE - MARGIN)
        i, j, k = np.maximum(1, np.ceil(coarse / spacing - 1e-6)).astype(int).tolist()
        step = (i, j, k)
    return Region(_placed(centre, side, step, geometry), step, side, geometry)


def _placed(centre: tuple[float, ...], side: int, step: tuple[int, int, int], geometry: Geometry) -> Box:
    """A box of ``side`` steps around a place, moved into the CT, or all of it where it is smaller."""
    start, stop = [], []
    for c, s, n in zip(centre, step, geometry.shape, strict=True):
        length = min(side * s, n)
        low = min(max(0, round(c - length / 2)), n - length)
        start.append(low)
        stop.append(low + length)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def _middles(length: int, step: int) -> np.ndarray:
    return np.minimum(np.arange(0, length, step) + step // 2, length - 1)
