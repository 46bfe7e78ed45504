"""To and from the grid that lesions are made on: 1 mm, along the CT's own axes, around the organ.

Axes are independent, so both ways are three products with small matrices. A voxel takes the mean over its own length
or over that of a voxel that it is taken from, whichever is longer: that is linear interpolation to the finer grid, and
partial volume on the coarser one, as in a thick slice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Lattice:
    """A grid of 1 mm that begins in the middle of the first voxel of a ``box`` of a grid with ``spacing`` mm."""

    box: Box
    spacing: Spacing

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Lattice:
        """All of a grid of 1 mm."""
        return cls(Box.whole(shape), (1.0, 1.0, 1.0))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis."""
        i, j, k = (
            max(1, round((n - 1) * s) + 1) if s != 1 else n for n, s in zip(self.box.shape, self.spacing, strict=True)
        )
        return i, j, k

    @property
    def is_native(self) -> bool:
        """Whether it is the grid itself."""
        return self.spacing == (1.0, 1.0, 1.0)

    def taken(self, values: np.ndarray) -> np.ndarray:
        """Values of the box (X, Y, Z) at 1 mm, float32."""
        values = np.asarray(values, np.float32)
        if self.is_native:
            return values
        for axis, step in enumerate(self.spacing):
            matrix = _means(self.box.shape[axis], step, 0.0, self.shape[axis], 1.0, 0.0)
            values = _applied(matrix, values, axis)
        return values

    def marked(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the box, bool (X, Y, Z), at 1 mm."""
        return mask if self.is_native else self.taken(mask) >= 0.5

    def back(self, values: np.ndarray, part: Box) -> tuple[np.ndarray, Box]:
        """Values (X, Y, Z) of a ``part`` of the 1 mm grid on the grid of the box, and where there.

        The result, float32, covers every voxel that reaches into the part, as far as it lies in the box.
        """
        if self.is_native:
            start = tuple(a + b for a, b in zip(self.box.start, part.start, strict=True))
            stop = tuple(a + b for a, b in zip(self.box.start, part.stop, strict=True))
            return np.asarray(values, np.float32), Box(start, stop)  # type: ignore[arg-type]
        starts, stops = [], []
        values = np.asarray(values, np.float32)
        for axis, step in enumerate(self.spacing):
            reach, last = 0.5 * max(1.0, step), self.box.shape[axis] - 1
            first = min(last, max(0, int(np.floor((part.start[axis] - 0.5 - reach) / step))))
            end = min(last, max(first, int(np.ceil((part.stop[axis] - 0.5 + reach) / step))))
            matrix = _means(part.shape[axis], 1.0, part.start[axis], end - first + 1, step, first * step)
            values = _applied(matrix, values, axis)
            starts.append(self.box.start[axis] + first)
            stops.append(self.box.start[axis] + end + 1)
        return values, Box(tuple(starts), tuple(stops))  # type: ignore[arg-type]


def _means(count: int, step: float, start: float, to_count: int, to_step: float, to_start: float) -> np.ndarray:
    """What each of ``count`` samples weighs in each of ``to_count``: (to_count, count).

    Beyond the first and the last sample there is more of the same.
    """
    length = max(step, to_step)
    places = to_start + to_step * np.arange(to_count)[:, None]
    edges = start + step * (np.arange(count + 1) - 0.5)
    edges[0], edges[-1] = -np.inf, np.inf
    low = np.maximum(places - length / 2, edges[:-1])
    high = np.minimum(places + length / 2, edges[1:])
    return (np.maximum(high - low, 0) / length).astype(np.float32)


def _applied(matrix: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """A matrix applied along an axis."""
    return np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
