"""Classes before the run ends: those that the windows have passed, cleaned and brought to the CT's own grid."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ...core.geometry import Box, Geometry
from ..postprocess import needed_classes, postprocess_bits
from .lattice import box_on
from .preprocess import ModelInput
from .restore import restore_nearest
from .ring import BitSink
from .spec import OnClass

_PASSED_MM = 30.0
"""A class has ended where nothing of it was found over this length."""
_LEAST_ML = 1.0
"""What is smaller may be a stray spot far from the organ."""
_LARGEST_SHARE = 0.05
"""Of the time of the run, spent on classes that are given early."""


class EarlyClasses:
    """A sink of finished planes that gives classes out as soon as the planes have passed them.

    A class that goes on after a gap is given again when it has ended anew. Planes also go to ``sink``.
    """

    def __init__(
        self,
        sink: BitSink,
        prepared: ModelInput,
        native: Geometry,
        classes: tuple[int, ...],
        wanted: tuple[int, ...],
        variant: str,
        on_class: OnClass,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._sink, self._grid, self._native = sink, prepared.geometry, native
        self._bits = sink.bits[prepared.valid]
        self._before = prepared.valid[2].start
        self._needs = {c: [n for n in needed_classes((c,), variant) if n in classes] for c in wanted}
        self._variant, self._on_class, self._clock = variant, on_class, clock
        self._planes: dict[int, tuple[int, int]] = {}
        """First and last plane of each class that has begun."""
        self._given: dict[int, int] = {}
        """Last plane of each class when it was given."""
        self._started, self._spent = clock(), 0.0

    def take(self, first: int, logits: np.ndarray) -> None:
        """See :class:`.ring.PlaneSink`."""
        self._sink.take(first, logits)
        depth = self._bits.shape[2]
        start = min(max(0, first - self._before), depth)
        stop = min(max(0, first - self._before + logits.shape[3]), depth)
        for plane, used in enumerate(np.bitwise_or.reduce(self._bits[:, :, start:stop], axis=(0, 1)).tolist(), start):
            for index in (c for c in range(1, used.bit_length() + 1) if used >> (c - 1) & 1):
                self._planes[index] = self._planes.get(index, (plane, plane))[0], plane
        for index, needs in self._needs.items():
            if self._has_ended(index, needs, stop) and self._given.get(index) != self._planes[index][1]:
                if self._spent > _LARGEST_SHARE * (self._clock() - self._started):
                    return
                began = self._clock()
                self._give(index, needs)
                self._spent += self._clock() - began

    def _has_ended(self, index: int, needs: list[int], frontier: int) -> bool:
        """Whether a class and all that its cleaning looks at lie well behind the frontier."""
        passed = frontier - _PASSED_MM / self._grid.spacing[2]
        return all(c in self._planes and self._planes[c][1] < passed for c in (index, *needs))

    def _give(self, index: int, needs: list[int]) -> None:
        self._given[index] = self._planes[index][1]
        low = min(self._planes[c][0] for c in (index, *needs))
        high = max(self._planes[c][1] for c in (index, *needs)) + 1
        # Not cropped across: cleaning tells left from right by the middle of the grid.
        planes = self._bits[:, :, low:high]
        cleaned = postprocess_bits(planes, needs or (index,), self._variant, self._grid.spacing, (index,))
        mask = cleaned != 0
        box = Box.around(mask)
        if box is None or np.count_nonzero(mask) * self._grid.voxel_ml < _LEAST_ML:
            return
        (i0, j0, k0), (i1, j1, k1) = box.start, box.stop
        place = Box((i0, j0, k0 + low), (i1, j1, k1 + low))
        # With what lies around it, so that a voxel of the CT half-way between two takes the same as in the whole.
        around = place.grown(1, self._grid.shape)
        bits = np.zeros(around.shape, dtype=cleaned.dtype)
        bits[tuple(slice(s - a, e - a) for s, e, a in zip(place.start, place.stop, around.start, strict=True))] = (
            cleaned[box.slices]
        )
        piece = self._grid.cropped(around)
        where = box_on(self._native, piece)
        if where is not None:
            found = restore_nearest(bits, piece, self._native.cropped(where))
            self._on_class(index, where, found != 0, True)
