"""What a model sees in a CT before its heads: computed once per window, kept for one correction after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Protocol

import numpy as np

from ...core.geometry import Box, Geometry
from ...core.jobs import Advance
from ...core.volume import Volume
from ..inference.head import apply_head
from ..inference.lattice import box_on
from ..inference.preprocess import model_input
from ..inference.segmenter import run_window
from ..inference.spec import FAST_OVERLAP, ModelSpec
from ..inference.windows import importance, starts
from .draft import NOWHERE, meeting, within

_MOST = 6e4


class Seeing(Protocol):
    """A network on a device, up to its heads."""

    def features(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One window float32 (X, Y, Z) -> features (8, X, Y, Z), numbers of all classes (n, 153)."""


@dataclass(frozen=True, eq=False)
class Window:
    """``box``: the part of the model's grid that a window covers; ``features`` float16 (8, X, Y, Z) of it.

    ``numbers`` float32 (n, 153) of all classes; ``weights`` float32 (X, Y, Z): how much the window counts where others
    cover the same voxels.
    """

    box: Box
    features: np.ndarray
    numbers: np.ndarray
    weights: np.ndarray

    def within(self, part: Box) -> Window:
        """The window cut down to a part of the grid, where it may be empty; its box is one of the part."""
        shared = meeting(self.box, part)
        if shared is None:
            return Window(NOWHERE, self.features[:, :0, :0, :0], self.numbers, self.weights[:0, :0, :0])
        at = within(shared, self.box).slices
        return Window(within(shared, part), self.features[:, at[0], at[1], at[2]], self.numbers, self.weights[at])

    def logits(self, numbers: np.ndarray) -> np.ndarray:
        """Float32 (X, Y, Z) of a class with these numbers (153,)."""
        return apply_head(self.features.astype(np.float32), numbers[None])[0]


class Features:
    """The features of a CT, made where they are first needed. ``grid`` is the model's, on RAS axes."""

    def __init__(self, volume: Volume, spec: ModelSpec, network: Seeing) -> None:
        """Args:
        volume: the CT.
        spec: of the model.
        network: the model on a device.

        Raises:
            InputError: there is no body in the CT.
        """
        self.spec, self._network = spec, network
        self._input = model_input(volume, spec)
        self._windows: dict[tuple[int, int, int], Window] = {}

    @property
    def grid(self) -> Geometry:
        """The model's grid."""
        return self._input.geometry

    def around(self, part: Geometry, advance: Advance = lambda share: None) -> tuple[Window, ...]:
        """The windows that cover a part of the CT; those that are new are computed.

        ``advance`` is told the share done before each of them, and may raise to stop.
        """
        wanted = list(self._starts(part))
        missing = [start for start in wanted if start not in self._windows]
        for done, start in enumerate(missing):
            advance(done / len(missing))
            self._windows[start] = self._computed(start)
        return tuple(self._windows[start] for start in wanted)

    @property
    def _sides(self) -> tuple[int, int, int]:
        return run_window(self.spec, self._input.image.shape)  # type: ignore[arg-type]

    def _starts(self, part: Geometry) -> Iterator[tuple[int, int, int]]:
        on_grid = box_on(self.grid, part)
        if on_grid is None:
            return
        place = self._input.place_of(on_grid)
        every = (starts(n, w, FAST_OVERLAP) for n, w in zip(self._input.image.shape, self._sides, strict=True))
        for start in product(*every):
            sides = zip(start, self._sides, place.start, place.stop, strict=True)
            if all(first < high and first + width > low for first, width, low, high in sides):
                x, y, z = start
                yield x, y, z

    def _computed(self, start: tuple[int, int, int]) -> Window:
        whole = tuple(slice(s, s + w) for s, w in zip(start, self._sides, strict=True))
        features, numbers = self._network.features(self._input.image[whole])
        inside, low, high = [], [], []
        for s, w, before, n in zip(start, self._sides, self._input.before, self.grid.shape, strict=True):
            first, last = max(s - before, 0), min(s + w - before, n)
            inside.append(slice(first + before - s, last + before - s))
            low.append(first)
            high.append(last)
        return Window(
            Box(tuple(low), tuple(high)),  # type: ignore[arg-type]
            np.clip(features[:, inside[0], inside[1], inside[2]], -_MOST, _MOST).astype(np.float16),
            np.asarray(numbers, dtype=np.float32),
            importance(self._sides)[tuple(inside)],
        )
