"""A segmentation in memory: one bit per class and voxel, so that overlapping classes are kept without loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import GeometryError
from .geometry import Box, Geometry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_CLASSES = 32
BITS = np.uint32


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of up to 32 classes on one grid.

    ``bits`` (i, j, k) uint32: bit ``c - 1`` is set where a voxel belongs to class ``c`` (1-based, see
    :mod:`GenesisSegmentLib.core.classes`). ``classes`` are the classes that were looked for, found or not: a class
    outside it is unknown, not absent.
    """

    bits: np.ndarray
    geometry: Geometry
    classes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.bits.dtype != BITS or self.bits.shape != self.geometry.shape:
            raise GeometryError(
                f"Bits of type {self.bits.dtype} and shape {self.bits.shape} do not fit a grid of shape "
                f"{self.geometry.shape}."
            )

    def mask(self, index: int) -> np.ndarray:
        """Boolean mask (i, j, k) of class ``index``."""
        return (self.bits & BITS(1 << (index - 1))) != 0

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
    """uint32 bits (i, j, k) from (class index, boolean mask) pairs."""
    bits = np.zeros(shape, dtype=BITS)
    for index, mask in masks:
        bits[mask] |= BITS(1 << (index - 1))
    return bits


def class_boxes(bits: np.ndarray) -> dict[int, Box]:
    """The smallest box of each class that has a voxel in uint32 ``bits`` (i, j, k), found in three passes."""
    ranges: list[dict[int, tuple[int, int]]] = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        used = np.bitwise_or.reduce(bits, axis=others)
        hits = {c: np.flatnonzero(used & BITS(1 << (c - 1))) for c in range(1, MAX_CLASSES + 1)}
        ranges.append({c: (int(hit[0]), int(hit[-1]) + 1) for c, hit in hits.items() if hit.size})
    return {
        c: Box(tuple(r[c][0] for r in ranges), tuple(r[c][1] for r in ranges))  # type: ignore[arg-type]
        for c in ranges[0]
    }
