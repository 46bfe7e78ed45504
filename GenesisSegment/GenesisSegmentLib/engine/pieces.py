"""The connected components of many classes, found in one pass and told apart by their size.

Rules that go by size need a table of voxel counts and not a look at every component. Most of a volume is background:
beyond the labelling itself only words of eight voxels that hold anything are looked at, and in these runs of the same
component count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np

_WORD = 8


class Foreground:
    """Where uint8 labels (i, j, k), contiguous, are not all 0: words of eight voxels, and the few after the last one.

    Its voxels, background within words included, are what :meth:`take` and :meth:`put` exchange with a volume.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self._end = labels.size // _WORD * _WORD
        self._words = np.flatnonzero(labels.reshape(-1)[: self._end].view(np.uint64))

    def take(self, volume: np.ndarray) -> np.ndarray:
        """The values of its voxels (n,) in a contiguous volume."""
        flat = volume.reshape(-1)
        values = flat[: self._end].reshape(-1, _WORD).take(self._words, 0).reshape(-1)
        return np.concatenate([values, flat[self._end :]]) if self._end < flat.size else values

    def put(self, values: np.ndarray, volume: np.ndarray) -> None:
        """Adds bits (n,) to those of a contiguous volume."""
        flat, inside = volume.reshape(-1), self._words.size * _WORD
        words = flat[: self._end].reshape(-1, _WORD)
        filled = words.take(self._words, 0) | values[:inside].reshape(-1, _WORD)
        whole = np.dtype((np.void, _WORD * flat.itemsize))  # several times faster than eight numbers each
        words.view(whole)[self._words] = filled.view(whole)
        flat[self._end :] |= values[inside:]

    def places(self, which: np.ndarray) -> np.ndarray:
        """Flat indices into the volume of some of its voxels, given by their numbers in what ``take`` returns."""
        word = np.minimum(which // _WORD, self._words.size)
        return np.append(self._words * _WORD, self._end)[word] + which % _WORD


@dataclass(frozen=True, eq=False)
class Pieces:
    """The 26-connected components of classes that share no voxel.

    ``numbers`` (i, j, k) is an arbitrary number per component, 0 outside; ``sizes`` and ``classes`` (n + 1) are by
    number, those of 0 being 0.
    """

    numbers: np.ndarray
    sizes: np.ndarray
    classes: np.ndarray
    _foreground: Foreground
    _starts: np.ndarray
    """Where in the voxels of the foreground each run of the same component, or of none, begins."""
    _runs: np.ndarray
    """The number of the component of each run."""
    _lengths: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray) -> Pieces:
        """The components of labels uint8 (i, j, k), class index or 0, or of a boolean mask, which counts as class 1."""
        labels = np.ascontiguousarray(labels).view(np.uint8)
        numbers, count = cc3d.connected_components(labels, connectivity=26, return_N=True)
        foreground = Foreground(labels)
        at = foreground.take(numbers)
        starts = np.flatnonzero(at[1:] != at[:-1]) + 1
        starts = np.concatenate([np.zeros(min(1, at.size), starts.dtype), starts])
        runs, lengths = at[starts], np.diff(starts, append=at.size)
        sizes = np.bincount(runs, lengths, count + 1).astype(np.int64)
        sizes[0] = 0
        classes = np.zeros(count + 1, np.uint8)
        classes[runs] = foreground.take(labels)[starts]
        return cls(numbers, sizes, classes, foreground, starts, runs, lengths)

    def largest(self, index: int, count: int | None = 1, above: float = 0.0, share: float = 0.0) -> np.ndarray:
        """Numbers of the ``count`` largest components (all for None) of a class that have more than ``above`` voxels.

        Components with less than ``share`` of the voxels of the largest one are left out too. Of equal ones those with
        the lowest mean index count as larger, the first index first: this does not depend on the memory layout.
        """
        numbers = np.flatnonzero(self.classes == index)
        sizes = self.sizes[numbers]
        numbers = numbers[(sizes > above) & (sizes >= share * sizes.max(initial=0))]
        if count is None or numbers.size <= count:
            return numbers
        sizes = self.sizes[numbers]
        least = np.partition(sizes, -count)[-count]
        sure, equal = numbers[sizes > least], numbers[sizes == least]
        missing = count - sure.size
        if equal.size > missing:
            equal = equal[np.lexsort(self._sums(equal)[::-1])]
        return np.concatenate([sure, equal[:missing]])

    def _sums(self, numbers: np.ndarray) -> np.ndarray:
        """The sums (3, n) of the indices of these components' voxels."""
        row = np.full(self.sizes.size, -1)
        row[numbers] = np.arange(numbers.size)
        wanted = row[self._runs] >= 0
        lengths = self._lengths[wanted]
        before = np.cumsum(lengths) - lengths
        which = np.repeat(self._starts[wanted] - before, lengths) + np.arange(lengths.sum())
        component = np.repeat(row[self._runs[wanted]], lengths)
        indices = np.unravel_index(self._foreground.places(which), self.numbers.shape)
        return np.stack([np.bincount(component, axis, numbers.size) for axis in indices])

    def mask(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The voxels of these components."""
        mask = np.zeros(self.numbers.shape, bool)
        wanted = np.zeros(self.sizes.size, bool)
        wanted[numbers] = True
        self.draw(wanted, mask)
        return mask

    def draw(self, values: np.ndarray, out: np.ndarray) -> None:
        """Adds to every voxel of ``out`` (i, j, k), contiguous, the bits ``values`` (n + 1) of its component."""
        self._foreground.put(np.repeat(values[self._runs], self._lengths), out)


def keep_largest(labels: np.ndarray) -> np.ndarray:
    """Labels uint8 (i, j, k), each class with its largest component alone."""
    pieces = Pieces.of(labels)
    values = np.zeros(pieces.sizes.size, np.uint8)
    for index in np.unique(pieces.classes[1:]).tolist():
        values[pieces.largest(index)] = index
    kept = np.zeros(labels.shape, np.uint8)
    pieces.draw(values, kept)
    return kept
