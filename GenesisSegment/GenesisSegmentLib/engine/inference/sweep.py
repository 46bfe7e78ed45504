"""Which windows are run: over the whole input or a part, on the published lattice or on one laid for that part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box
from .lattice import BODY_MARGIN_MM, box_on
from .preprocess import ModelInput
from .windows import starts


@dataclass(frozen=True, eq=False)
class Sweep:
    """Windows laid over ``box`` of the model's input, of which those ``chosen`` (x, y, z starts) are run.

    What is found inside ``kept`` is believed; nothing is known of the rest.
    """

    box: Box
    kept: Box
    chosen: np.ndarray

    @property
    def windows(self) -> int:
        """How many are run."""
        return int(np.count_nonzero(self.chosen))


@dataclass(frozen=True, eq=False)
class Lattice:
    """How windows are laid over an input.

    With ``is_published`` they lie where the published recipe lays them, and only the needless ones are left out: every
    voxel that is kept has the logits of the published recipe, also with a network whose batch norm looks at all of its
    window. Without, they lie over the part that matters, so that the fewest are needed.
    """

    prepared: ModelInput
    window: tuple[int, int, int]
    overlap: float
    is_published: bool

    def everywhere(self) -> Sweep:
        """Over all of the body."""
        whole = Box.whole(self.prepared.image.shape)
        if self.is_published:
            return Sweep(whole, whole, self._near_body(whole))
        box = self.widened(self._body())
        return Sweep(box, box, self._near_body(box))

    def around(self, part: Box) -> Sweep:
        """Over a part of the input, with what lies round it up to the size of a window."""
        box = self.widened(part)
        if not self.is_published:
            return Sweep(box, box, self._near_body(box))
        whole = Box.whole(self.prepared.image.shape)
        met: np.ndarray = np.ones((1, 1, 1), dtype=bool)
        for axis, (side, width) in enumerate(zip(whole.shape, self.window, strict=True)):
            first = np.array(starts(side, width, self.overlap))
            hit = (first < box.stop[axis]) & (first + width > box.start[axis])
            met = met & hit.reshape([-1 if a == axis else 1 for a in range(3)])
        return Sweep(whole, box, met & self._near_body(whole))

    def widened(self, part: Box) -> Box:
        """The part, grown evenly to the sides of a window at least, inside the input."""
        start, stop = [], []
        sides = zip(part.start, part.stop, self.window, self.prepared.image.shape, strict=True)
        for low, high, width, side in sides:
            missing = max(0, width - (high - low))
            first = min(max(0, low - missing // 2), max(0, side - max(width, high - low)))
            start.append(first)
            stop.append(min(side, max(first + width, high)))
        return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]

    def _body(self) -> Box:
        """The box of the body with the margin of windows that are run."""
        whole, body = Box.whole(self.prepared.image.shape), self.prepared.body
        if body is None:
            return whole
        # With its thin parts: behind a thin wall lies lung or gas, which is not dense and not in the mask itself.
        outline = Box.around(body.whole)
        assert outline is not None  # a body is not empty
        found = box_on(self.prepared.geometry, body.geometry.cropped(outline))
        if found is None:
            return whole
        margin = max(round(BODY_MARGIN_MM / s) + 1 for s in self.prepared.geometry.spacing)
        return self.prepared.place_of(found.grown(margin, self.prepared.geometry.shape))

    def _near_body(self, box: Box) -> np.ndarray:
        return self.prepared.windows(self.window, self.overlap, box)
