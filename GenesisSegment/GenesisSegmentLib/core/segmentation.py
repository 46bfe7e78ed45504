"""A segmentation in memory: one bit per class and voxel, so that overlapping classes are kept without loss.

The 32 classes of the table take a uint32 per voxel. Only where structures of one's own are among them, the classes 33
to 64, it is a uint64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .classes import structures
from .errors import GeometryError, InputError
from .geometry import Box, Geometry
from .i18n import _

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .classes import StructureClass

MAX_CLASSES = 32
BITS = np.uint32
MOST_CLASSES = 64
"""The highest class index, structures of one's own included."""
MOST_OWN = MOST_CLASSES - MAX_CLASSES
"""How many structures of one's own a model can have."""


def bits_type(classes: Iterable[int]) -> type[np.uint32] | type[np.uint64]:
    """The type of a voxel that has a bit for each of these classes.

    Raises:
        InputError: a class index is above 64.
    """
    highest = max(classes, default=0)
    if highest > MOST_CLASSES:
        raise InputError(
            _("Class {number} cannot be drawn: a model can draw {most} structures of your own.").format(
                number=highest, most=MOST_OWN
            ),
            _("Choose classes up to number {most}.").format(most=MOST_CLASSES),
        )
    return BITS if highest <= MAX_CLASSES else np.uint64


def bit_of(*classes: int) -> np.uint32 | np.uint64:
    """The bits of these classes."""
    return bits_type(classes)(sum(1 << (c - 1) for c in set(classes)))


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of up to 64 classes on one grid.

    ``bits`` (i, j, k) uint32, or uint64 where there are classes above 32: bit ``c - 1`` is set where a voxel belongs to
    class ``c`` (1-based, see :mod:`GenesisSegmentLib.core.classes`). ``classes`` are the classes that were looked for,
    found or not: a class outside it is unknown, not absent. ``own`` are the names of the classes from 33 on.
    """

    bits: np.ndarray
    geometry: Geometry
    classes: tuple[int, ...]
    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.bits.dtype not in (bits_type(self.classes), np.uint64) or self.bits.shape != self.geometry.shape:
            raise GeometryError(
                _("Bits of type {dtype} and shape {shape} do not fit a grid of shape {grid}.").format(
                    dtype=self.bits.dtype, shape=str(self.bits.shape), grid=str(self.geometry.shape)
                )
            )

    @property
    def structures(self) -> Mapping[int, StructureClass]:
        """What each class is, structures of one's own included."""
        return structures(self.own)

    def mask(self, index: int) -> np.ndarray:
        """Boolean mask (i, j, k) of class ``index``."""
        return (self.bits & bit_of(index)) != 0

    def present(self) -> tuple[int, ...]:
        """The classes that have at least one voxel."""
        used = int(np.bitwise_or.reduce(self.bits, axis=None)) if self.bits.size else 0
        return tuple(c for c in self.classes if used >> (c - 1) & 1)

    def label_map(self, paint_order: Sequence[int] | None = None) -> np.ndarray:
        """uint8 label map (i, j, k) with class numbers as values; later classes paint over earlier ones.

        Without ``paint_order`` the classes are painted in ascending order: lesions over organs, cyst over tumours
        (models.md 2.1, the merging of AbdomenAtlas).
        """
        labels = np.zeros_like(self.bits, dtype=np.uint8)  # in the memory order of the bits: several times faster
        for index in paint_order if paint_order is not None else sorted(self.classes):
            np.copyto(labels, index, where=self.mask(index))
        return labels


def pack(masks: Iterable[tuple[int, np.ndarray]], shape: tuple[int, int, int]) -> np.ndarray:
    """Bits (i, j, k) from (class index, boolean mask) pairs: uint32, or uint64 from the first class above 32 on."""
    bits = np.zeros(shape, dtype=BITS)
    for index, mask in masks:
        bit = bit_of(index)
        bits = bits if bits.itemsize >= bit.itemsize else bits.astype(bit.dtype)
        bits[mask] |= bit
    return bits


def class_boxes(bits: np.ndarray) -> dict[int, Box]:
    """The smallest box of each class that has a voxel in ``bits`` (i, j, k), found in three passes."""
    ranges: list[dict[int, tuple[int, int]]] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.bitwise_or.reduce(bits, axis=others)
        hits = {c: np.flatnonzero(used & bit_of(c)) for c in range(1, 8 * bits.itemsize + 1)}
        ranges.append({c: (int(hit[0]), int(hit[-1]) + 1) for c, hit in hits.items() if hit.size})
    return {
        c: Box(tuple(r[c][0] for r in ranges), tuple(r[c][1] for r in ranges))  # type: ignore[arg-type]
        for c in ranges[0]
    }
