"""Linear interpolation of logits where it decides: between voxels that differ.

Between eight voxels of the model's grid that all lie in a class, or all outside of it, every interpolated value has
their sign. So these cells are copied, all classes in one go, and only the band of cells round the surface of each class
is interpolated. Numbers are added in the order in which a resampling of the whole grid adds them, along k, i, j in
float32: the masks are the same.

Arrays are indexed (k, j, i) here, with i next in memory, as CTs mostly are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.segmentation import bit_of

_BATCH_VOXELS = 1 << 17
"""Voxels that are interpolated at a time: their intermediate results stay in the processor's cache."""
_LEAST_LOGIT = np.float32(1e-3)
"""A logit of exactly zero where post-processing set the voxel must still come out as set."""


@dataclass(frozen=True, eq=False)
class Runs:
    """The voxels of one axis in runs of n, each between the same two voxels of the model's grid.

    ``low`` and ``high`` (runs) are these two, ``at`` (n, runs) the voxels, the last one repeated where a run is
    shorter; ``weights`` (2, n, runs) float32 are what each voxel takes from the two.
    """

    low: np.ndarray
    high: np.ndarray
    at: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, places: np.ndarray, count: int, first: int) -> Runs:
        """Runs of voxels, numbered from ``first`` on, at ascending ``places`` among ``count`` voxels of the model.

        Beyond the ends the last voxel counts.
        """
        places = np.clip(places, 0, count - 1)
        low = np.minimum(np.floor(places).astype(np.intp), max(0, count - 2))
        weights = np.stack([1 - (places - low), places - low]).astype(np.float32)
        starts = np.flatnonzero(np.diff(low, prepend=-1))
        lengths = np.diff(starts, append=low.size)
        n = _run_length(lengths)
        parts = -(-lengths // n)
        part = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        begin, end = np.repeat(starts, parts) + n * part, np.repeat(starts + lengths, parts)
        index = np.minimum(begin + np.arange(n)[:, None], end - 1)
        return cls(low[begin], np.minimum(low[begin] + 1, count - 1), index + first, weights[:, index])

    @property
    def lengths(self) -> np.ndarray:
        """Voxels of each run."""
        return self.at[-1] - self.at[0] + 1

    def after(self, first: int) -> Runs:
        """The same runs, with the model's voxels counted from ``first`` on."""
        return replace(self, low=self.low - first, high=self.high - first)

    def both(self, runs: np.ndarray) -> np.ndarray:
        """The two voxels of the model's grid (2, m) that these m runs lie between."""
        return np.stack([self.low[runs], self.high[runs]])

    def span(self, first: int, last: int) -> slice:
        """The voxels of these runs and of those between."""
        return slice(int(self.at[0, first]), int(self.at[-1, last]) + 1)


def _run_length(lengths: np.ndarray) -> int:
    """The n that wastes least, when ``lengths`` voxels are dealt into runs of n and a run itself costs one voxel."""
    costs = {n: (n + 1) * int((-(-lengths // n)).sum()) for n in range(1, int(lengths.max()) + 1)}
    return min(costs, key=lambda n: (costs[n], -n))


Axes = tuple[Runs, Runs, Runs]
Indices = Sequence[np.ndarray]
"""Per axis (k, j, i) an array (..., m)."""


@dataclass(frozen=True, eq=False)
class Bands:
    """Draws classes into ``out``, the contiguous bits of the CT's grid, which are still zero.

    ``bits`` and the ``logits`` of each class lie on the model's grid and say where it is, and how clearly; ``along_j``
    and ``along_i`` are the voxels to draw. All arrays (k, j, i).
    """

    bits: np.ndarray
    logits: Mapping[int, np.ndarray]
    along_j: Runs
    along_i: Runs
    out: np.ndarray

    def draw(self, along_k: Runs) -> None:
        """Draws all classes in these planes."""
        first, end = int(along_k.low[0]), int(along_k.high[-1]) + 1
        bits = np.ascontiguousarray(self.bits[first:end])
        bits = bits & bits.dtype.type(bit_of(*self.logits))
        axes = along_k.after(first), self.along_j, self.along_i
        mixed = np.empty([along.low.size for along in axes], bits.dtype)
        for run, (low, high) in enumerate(zip(axes[0].low, axes[0].high, strict=True)):
            least, most = self._extremes(bits[low], bits[high])
            self._copy(least, along_k.span(run, run))
            np.bitwise_xor(least, most, out=mixed[run])
        cells = np.flatnonzero(mixed != 0)
        kinds = mixed.reshape(-1)[cells]
        used = np.bitwise_or.reduce(kinds)
        for index, logits in self.logits.items():
            bit = bit_of(index)
            if used & bit:
                band = np.unravel_index(cells[(kinds & bit) != 0], mixed.shape)
                self._draw_band(bit, bits, logits[first:end], axes, band)

    def _extremes(self, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes that all eight voxels round each cell (runs j, runs i) of two planes have, and that any has."""
        least, most = one & other, one | other
        if least.shape[0] > 1:
            least, most = least[:-1] & least[1:], most[:-1] | most[1:]
        if least.shape[1] > 1:
            least, most = least[:, :-1] & least[:, 1:], most[:, :-1] | most[:, 1:]
        least, most = (cells.take(self.along_j.low, 0).take(self.along_i.low, 1) for cells in (least, most))
        return least, most

    def _copy(self, cells: np.ndarray, planes: slice) -> None:
        """Sets what all voxels of a cell (runs j, runs i) have. Empty margins are not touched: they take no memory."""
        rows, columns = (np.flatnonzero(np.bitwise_or.reduce(cells, axis)) for axis in (1, 0))
        if rows.size:
            (top, bottom), (left, right) = rows[[0, -1]], columns[[0, -1]]
            inner = cells[top : bottom + 1, left : right + 1]
            wide = inner.repeat(self.along_i.lengths[left : right + 1], 1)
            where = planes, self.along_j.span(top, bottom), self.along_i.span(left, right)
            self.out[where] = wide.repeat(self.along_j.lengths[top : bottom + 1], 0)

    def _draw_band(
        self, bit: np.unsignedinteger, bits: np.ndarray, logits: np.ndarray, axes: Axes, band: Indices
    ) -> None:
        """Sets ``bit`` where the interpolated field of its class is positive, in the cells ``band`` (runs per axis)."""
        start = [along.low[runs.min()] for along, runs in zip(axes, band, strict=True)]
        stop = [along.high[runs.max()] + 1 for along, runs in zip(axes, band, strict=True)]
        part = tuple(slice(*ends) for ends in zip(start, stop, strict=True))
        field = _field((bits[part] & bit) != 0, logits[part])
        step = max(1, _BATCH_VOXELS // int(np.prod([len(along.at) for along in axes])))
        for n in range(0, band[0].size, step):
            of_axes = [(along, runs[n : n + step]) for along, runs in zip(axes, band, strict=True)]
            corners = [along.both(runs) - first for (along, runs), first in zip(of_axes, start, strict=True)]
            weights = [along.weights.take(runs, 2) for along, runs in of_axes]
            is_inside = _interpolated(field.reshape(-1)[_flat(corners, field.shape)], weights) > 0
            voxels = _flat([along.at.take(runs, 1) for along, runs in of_axes], self.out.shape)
            self.out.reshape(-1)[voxels[is_inside]] |= bit


def _field(is_inside: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Float32, positive where the class is: the logits, turned where post-processing decided otherwise."""
    clearness = np.abs(logits.astype(np.float32, order="C"))
    return np.where(is_inside, np.maximum(clearness, _LEAST_LOGIT), -clearness)


def _flat(indices: Indices, shape: tuple[int, ...]) -> np.ndarray:
    """Flat indices (k, j, i, m) into an array of ``shape`` from its indices (k, m), (j, m) and (i, m)."""
    k, j, i = indices
    rows = k[:, None] * shape[1] + j
    rows *= shape[2]
    return rows[:, :, None] + i


def _interpolated(corners: np.ndarray, weights: Indices) -> np.ndarray:
    """Values (k, j, i, m) from those of the corners (2, 2, 2, m) and weights (2, k, m), (2, j, m) and (2, i, m)."""
    k, j, i = weights
    planes = corners[0] * k[0][:, None, None] + corners[1] * k[1][:, None, None]
    rows = planes[:, :, :1] * i[0] + planes[:, :, 1:] * i[1]
    return rows[:, :1] * j[0][:, None] + rows[:, 1:] * j[1][:, None]
