"""The segment that is being corrected, what becomes of it, and the network that is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ...core.errors import GeometryError
from ...core.geometry import Box
from ...core.i18n import _

NOWHERE = Box((0, 0, 0), (0, 0, 0))


@dataclass(frozen=True, eq=False)
class Draft:
    """A segment as it is in a ``box`` of the CT's grid, outside of which nothing is known and nothing changes.

    ``mask`` bool (i, j, k) of the box: the segment. ``protected`` bool (i, j, k): voxels that stay as they are.
    """

    box: Box
    mask: np.ndarray
    protected: np.ndarray

    def __post_init__(self) -> None:
        if self.mask.shape != self.box.shape or self.protected.shape != self.box.shape:
            raise GeometryError(_("The segment does not have the shape of its box in the CT."))

    @classmethod
    def whole(cls, mask: np.ndarray, protected: np.ndarray | None = None) -> Draft:
        """A segment on the whole grid; without ``protected`` every voxel may change."""
        free = np.broadcast_to(np.zeros(1, dtype=bool), mask.shape) if protected is None else protected
        return cls(Box.whole(mask.shape), mask.astype(bool, copy=False), free.astype(bool, copy=False))  # type: ignore[arg-type]

    def mask_in(self, region: Box) -> np.ndarray:
        """A copy of the segment in a region, empty where nothing is known."""
        mask = np.zeros(region.shape, dtype=bool)
        shared = meeting(self.box, region)
        if shared is not None:
            mask[within(shared, region).slices] = self.mask[within(shared, self.box).slices]
        return mask


@dataclass(frozen=True, eq=False)
class Change:
    """The segment as it is to be in ``box``, the smallest that holds every voxel that changes; elsewhere it stays.

    ``mask`` bool (i, j, k) of the box. ``notes`` are sentences for the person.
    """

    box: Box
    mask: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return self.mask.size == 0

    @classmethod
    def nothing(cls, notes: tuple[str, ...] = ()) -> Change:
        """No voxel changes."""
        return cls(NOWHERE, np.zeros((0, 0, 0), dtype=bool), notes)


class Clicks(Protocol):
    """The click network: what the segment is to be, given what prompts say."""

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        """Float32 (X, Y, Z), positive in the segment.

        Args:
            hu: float32 (X, Y, Z) of 64 or 96 voxels a side.
            mask: bool, the segment as it is.
            inside: bool, voxels that prompts say are in it.
            outside: bool, voxels that prompts say are not; outside of a positive box, all.
            spacing_mm: of the grid, which may be coarser than the CT's.
        """


@dataclass(frozen=True, eq=False)
class Found:
    """What a method makes of a region, before the prompts have the last word: bool (i, j, k) of ``box``."""

    box: Box
    mask: np.ndarray
    notes: tuple[str, ...] = field(default=())

    @classmethod
    def where_changed(cls, mask: np.ndarray, before: np.ndarray, box: Box, notes: tuple[str, ...] = ()) -> Found:
        """What was found in ``box``, cut down to where it differs from what was ``before``."""
        changed = Box.around(mask ^ before)
        if changed is None:
            return cls(NOWHERE, np.zeros((0, 0, 0), dtype=bool), notes)
        return cls(shifted(changed, box), mask[changed.slices], notes)


def shifted(part: Box, whole: Box) -> Box:
    """A box of the array of a box as a box of the grid: what undoes :func:`within`."""
    start = tuple(a + b for a, b in zip(part.start, whole.start, strict=True))
    stop = tuple(a + b for a, b in zip(part.stop, whole.start, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def meeting(one: Box, other: Box) -> Box | None:
    """The box that two boxes share, or None."""
    start = tuple(max(pair) for pair in zip(one.start, other.start, strict=True))
    stop = tuple(min(pair) for pair in zip(one.stop, other.stop, strict=True))
    is_met = all(a < b for a, b in zip(start, stop, strict=True))
    return Box(start, stop) if is_met else None  # type: ignore[arg-type]


def within(part: Box, whole: Box) -> Box:
    """A part of a box as a box of its array."""
    start = tuple(a - b for a, b in zip(part.start, whole.start, strict=True))
    stop = tuple(a - b for a, b in zip(part.stop, whole.start, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]
