"""Sliding windows without a volume of 32 float channels: a ring of planes, flushed as soon as they are final.

Only as many planes along z as a window is deep are kept as logits. When no later window can touch a plane any more it
goes to the sink, which keeps one bit per class and voxel. Memory: classes x X x Y x depth, not x Z.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Protocol

import numpy as np

from ...core.geometry import Box
from ...core.jobs import Advance
from ...core.segmentation import bit_of, bits_type
from .spec import Array, Runtime
from .windows import importance, starts

_PLANES_AT_ONCE = 16
"""Planes that are divided and handed over in one go, so that the hand-over takes little memory beside the ring."""

_NO_WEIGHT = 1e-6


class PlaneSink(Protocol):
    """Receives finished planes, in ascending order."""

    def take(self, first: int, logits: np.ndarray) -> None:
        """Logits float32 (n, X, Y, planes) of the planes from ``first`` on along z."""


class BitSink:
    """Keeps the sign of every logit as one bit of a volume of integers; probability 0.5 is logit 0.

    Planes are those of the part ``box`` of the volume, by default all of it.
    """

    def __init__(self, shape: tuple[int, int, int], classes: tuple[int, ...], box: Box | None = None) -> None:
        self.bits = np.zeros(shape, dtype=bits_type(classes))
        self._across = (box or Box.whole(shape)).slices[:2]
        self._classes = classes

    def take(self, first: int, logits: np.ndarray) -> None:
        """Sets the bits of the planes."""
        where = (*self._across, slice(first, first + logits.shape[3]))
        planes = self.bits[where]
        for index, values in zip(self._classes, logits, strict=True):
            planes |= np.where(values > 0, bit_of(index), bit_of())


class LogitSink(BitSink):
    """Keeps the bits, and the logits in half precision for interpolation; for coarse grids only."""

    def __init__(self, shape: tuple[int, int, int], classes: tuple[int, ...], box: Box | None = None) -> None:
        super().__init__(shape, classes, box)
        self.logits = np.zeros((len(classes), *shape), dtype=np.float16)

    def take(self, first: int, logits: np.ndarray) -> None:
        """Sets bits and logits of the planes."""
        super().take(first, logits)
        where = (slice(None), *self._across, slice(first, first + logits.shape[3]))
        self.logits[where] = np.clip(logits, -6e4, 6e4)


def window_count(shape: tuple[int, int, int], window: tuple[int, int, int], overlap: float) -> int:
    """How many windows a grid takes."""
    return int(np.prod([len(starts(n, w, overlap)) for n, w in zip(shape, window, strict=True)]))


def slide(
    image: np.ndarray,
    runtime: Runtime,
    channels: tuple[int, ...],
    window: tuple[int, int, int],
    overlap: float,
    sink: PlaneSink,
    advance: Advance,
    half: bool = False,
    chosen: np.ndarray | None = None,
    box: Box | None = None,
) -> None:
    """Runs the windows of ``image`` float32 (X, Y, Z), no side below the window's, and hands final planes to ``sink``.

    ``half`` accumulates in half precision. The windows are laid over ``box``, by default the whole image, and planes of
    that box are handed over. ``chosen`` (x starts, y starts, z starts) says which windows are run (all by default); the
    logits of a voxel that none covers are 0. ``advance`` is told the share done after each window, and within it as far
    as the runtime can tell, and may raise to stop.
    """
    bottom = 0
    if box is not None:
        image, bottom = image[box.slices], box.start[2]
    xs, ys, zs = (starts(n, w, overlap) for n, w in zip(image.shape, window, strict=True))
    if chosen is None:
        chosen = np.ones((len(xs), len(ys), len(zs)), dtype=bool)
    total, count = int(np.count_nonzero(chosen)), 0
    if chosen.size == total == 1:
        sink.take(bottom, runtime.to_numpy(runtime.logits(image, channels, advance)))
        advance(1.0)
        return
    ring = _Ring(image.shape, window, len(channels), runtime, half)
    for n, z in enumerate(zs):
        for (a, x), (b, y) in product(enumerate(xs), enumerate(ys)):
            if not chosen[a, b, n]:
                continue
            piece = image[x : x + window[0], y : y + window[1], z : z + window[2]]
            ring.add(runtime.logits(piece, channels, share_of_one(advance, count, total)), x, y, z)
            count += 1
            advance(count / total)
        end = zs[n + 1] if n + 1 < len(zs) else image.shape[2]
        for first, logits in ring.flush(z, end):
            sink.take(bottom + first, logits)


def share_of_one(advance: Advance, done: int, total: int) -> Advance:
    """What the next window tells of itself, when ``done`` of ``total`` are done."""
    return lambda share: advance((done + share) / total)


class _Ring:
    """``depth`` planes of weighted logits and of weights, addressed by z modulo depth."""

    def __init__(
        self, shape: tuple[int, ...], window: tuple[int, int, int], channels: int, runtime: Runtime, half: bool
    ) -> None:
        self._depth = window[2]
        self._runtime = runtime
        self._weight = runtime.to_array(importance(window))
        self._sum = runtime.zeros((channels, shape[0], shape[1], self._depth), half)
        self._weights = runtime.zeros((shape[0], shape[1], self._depth), False)

    def add(self, logits: Array, x: int, y: int, z: int) -> None:
        """Adds a window's logits at its place; ``logits`` are used up."""
        logits *= self._weight
        i, j = slice(x, x + logits.shape[1]), slice(y, y + logits.shape[2])
        for planes, part in self._pieces(z, z + self._depth):
            self._sum[:, i, j, planes] += logits[..., part]
            self._weights[i, j, planes] += self._weight[..., part]

    def flush(self, start: int, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """First plane and mean logits float32 (n, X, Y, planes), a few planes at a time; these are free again."""
        for first in range(start, stop, _PLANES_AT_ONCE):
            for planes, part in self._pieces(first, min(first + _PLANES_AT_ONCE, stop)):
                # Weights are at least 0.001, or 0 where no window was run.
                mean = self._sum[..., planes] / self._weights[..., planes].clip(min=_NO_WEIGHT)
                self._sum[..., planes] = 0
                self._weights[..., planes] = 0
                yield first + part.start, self._runtime.to_numpy(mean)

    def _pieces(self, start: int, stop: int) -> list[tuple[slice, slice]]:
        """Planes start..stop as (slice of the ring, slice of the input), in one or two pieces."""
        first = start % self._depth
        head = min(stop - start, self._depth - first)
        pieces = [(slice(first, first + head), slice(0, head))]
        if head < stop - start:
            pieces.append((slice(0, stop - start - head), slice(head, stop - start)))
        return pieces
