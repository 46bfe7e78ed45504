"""Segments back as voxels on the grid of their CT, by label value: one table look-up for each shared image.

(``ExportSegmentsToLabelmapNode`` goes over the whole volume once per segment, and loses overlaps.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.geometry import Box, Geometry
from ..core.pieces import Pieces
from ..core.segmentation import BITS, Segmentation, bit_of, bits_type
from .stored import Stored, stored_images
from .writing import class_numbers

_SLAB = 4
"""Planes that are worked on at a time: little memory, and they stay in the processor's cache."""


class BitPlanes:
    """Segments as bits (i, j, k), some planes at a time: bit ``number - 1`` is set where a segment is.

    They are uint32, or uint64 where a number is above 32.
    """

    def __init__(self, images: Sequence[tuple[Stored, np.ndarray]], shape: tuple[int, int, int]) -> None:
        """``images`` come with a table from label to bits."""
        self._images = tuple(images)
        self.kind = np.result_type(BITS, *(table.dtype for _image, table in self._images))
        self.shape = shape

    @classmethod
    def of(cls, node: Any, grid: Geometry, numbers: Mapping[str, int]) -> BitPlanes:
        """Those of a segmentation on ``grid`` (world), by segment ID.

        Raises:
            GeometryError: as :func:`stored_images`.
        """
        return cls.of_images(stored_images(node, grid), grid.shape, numbers)

    @classmethod
    def of_images(cls, images: Sequence[Stored], shape: tuple[int, int, int], numbers: Mapping[str, int]) -> BitPlanes:
        """Those of images, by segment ID."""
        return cls([(image, _table(image, numbers)) for image in images], shape)

    def __add__(self, other: BitPlanes) -> BitPlanes:
        return BitPlanes((*self._images, *other._images), self.shape)

    def slabs(self, planes: int = _SLAB) -> Iterator[tuple[int, int]]:
        """First and last + 1 of a few planes at a time, all in all the whole grid."""
        for k0 in range(0, self.shape[2], planes):
            yield k0, min(k0 + planes, self.shape[2])

    def bits(self, k0: int, k1: int) -> np.ndarray:
        """Planes k0 to k1."""
        bits = np.zeros((*self.shape[:2], k1 - k0), self.kind, order="F")
        self.add_to(bits, k0)
        return bits

    def add_to(self, bits: np.ndarray, k0: int) -> None:
        """Sets the bits in an array of some planes, the first of which is ``k0``."""
        for image, table in self._images:
            labels, where = image.piece(k0, k0 + bits.shape[2], self.shape)
            if labels.any():
                bits[where] |= table[labels]

    def are_shared(self, k0: int, k1: int) -> bool:
        """Whether more than one image has a voxel there; within one, segments share none."""
        return sum(bool(image.piece(k0, k1, self.shape)[0].any()) for image, _table in self._images) > 1

    def are_stored_alike(self, other: BitPlanes, k0: int, k1: int) -> bool:
        """Whether planes are the same as those of another, seen from the labels alone, which takes a tenth of the time.

        Where not, the bits may be the same all the same.
        """
        if len(self._images) != len(other._images):
            return False
        for (image, table), (other_image, other_table) in zip(self._images, other._images, strict=True):
            labels, where = image.piece(k0, k1, self.shape)
            others, elsewhere = other_image.piece(k0, k1, self.shape)
            is_alike = where == elsewhere and np.array_equal(table, other_table) and np.array_equal(labels, others)
            if not is_alike and (labels.any() or others.any()):
                return False
        return True


@dataclass(frozen=True, eq=False)
class Single:
    """One segment, plane by plane: voxels of ``stored`` with the label ``value``."""

    stored: Stored | None
    value: int
    shape: tuple[int, int, int]

    @property
    def box(self) -> Box:
        """Where the image of the segment lies on the grid; the segment itself may be smaller."""
        if self.stored is None:
            return Box((0, 0, 0), (0, 0, 0))
        _labels, where = self.stored.piece(0, self.shape[2], self.shape)
        return Box(tuple(part.start for part in where), tuple(part.stop for part in where))  # type: ignore[arg-type]

    def planes(self, k0: int, k1: int, box: Box) -> np.ndarray:
        """Boolean mask (i, j, k) of the planes k0 to k1 of the grid, within the sides of ``box``."""
        (i0, i1), (j0, j1) = ((box.start[axis], box.stop[axis]) for axis in (0, 1))
        shape = i1 - i0, j1 - j0, k1 - k0
        if self.stored is None:
            return np.zeros(shape, bool, order="F")
        labels, (i, j, k) = self.stored.piece(k0, k1, self.shape)
        found = labels == self.value
        if found.shape == shape and (i.start, j.start) == (i0, j0):
            return found
        mask = np.zeros(shape, bool, order="F")
        if found.size:
            mask[i.start - i0 : i.stop - i0, j.start - j0 : j.stop - j0, k] = found
        return mask


def read_mask(node: Any, segment_id: str, grid: Geometry) -> np.ndarray:
    """Boolean mask (i, j, k) of one segment on ``grid``; voxels outside the grid are left out.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    mask = np.zeros(grid.shape, bool, order="F")
    for stored in stored_images(node, grid):
        if segment_id in stored.values:
            labels, where = stored.piece(0, grid.shape[2], grid.shape)
            mask[where] = labels == stored.values[segment_id]
    return mask


def read_single(node: Any, segment_id: str, grid: Geometry) -> Single:
    """One segment on ``grid`` (world), of which nothing is copied; empty where it has no voxels.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    found = next((image for image in stored_images(node, grid) if segment_id in image.values), None)
    return Single(found, found.values[segment_id] if found else 0, grid.shape)


def boxing(one: Single, other: Single | None = None) -> Pieces[Box | None]:
    """The box of all voxels of a segment, or of those by which two segments differ; None where there is none.

    In pieces, between which the segments may not change.
    """
    both = [single.box for single in (one, other) if single is not None and single.stored is not None]
    if not both:
        return None
    box = Box.joined(both)
    hit_i, hit_j, hit_k = (np.zeros(n, bool) for n in box.shape)
    for k0 in range(box.start[2], box.stop[2], 2 * _SLAB):
        k1 = min(k0 + 2 * _SLAB, box.stop[2])
        found = one.planes(k0, k1, box)
        if other is not None:
            found = found != other.planes(k0, k1, box)
        if found.any():
            flat = np.logical_or.reduce(found, axis=2)
            hit_i |= np.logical_or.reduce(flat, axis=1)
            hit_j |= flat.any(axis=0)
            hit_k[k0 - box.start[2] : k1 - box.start[2]] = found.any(axis=(0, 1))
        yield
    if not hit_k.any():
        return None
    edges = [np.flatnonzero(hit) for hit in (hit_i, hit_j, hit_k)]
    start = tuple(a + int(e[0]) for a, e in zip(box.start, edges, strict=True))
    stop = tuple(a + int(e[-1]) + 1 for a, e in zip(box.start, edges, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def counting_labels(labels: np.ndarray) -> Pieces[np.ndarray]:
    """How many voxels (uint8, (i, j, k)) have each of the 256 labels; in pieces, a few planes at a time.

    Eight voxels without a label are left out at once: they are most of an image.
    """
    counts = np.zeros(256, np.int64)
    for k in range(0, labels.shape[2], 2 * _SLAB):
        flat = labels[..., k : k + 2 * _SLAB].T.reshape(-1)
        end = flat.size // 8 * 8
        eights = flat[:end].view(np.uint64)
        counts += np.bincount(eights[eights != 0].view(np.uint8), minlength=256)
        counts += np.bincount(flat[end:], minlength=256)
        yield
    return counts


def read_segmentation(node: Any, grid: Geometry) -> Segmentation:
    """All segments that belong to a class, overlaps kept.

    Raises:
        GeometryError: as :func:`stored_images`.
    """
    numbers = class_numbers(node)
    planes = BitPlanes.of(node, grid, numbers)
    bits = np.zeros(grid.shape, planes.kind, order="F")  # memory of planes without a segment is never touched
    for k0, k1 in planes.slabs():
        planes.add_to(bits[:, :, k0:k1], k0)
    return Segmentation(bits, grid, tuple(sorted(set(numbers.values()))))


def painting(
    images: Sequence[Stored], shape: tuple[int, int, int], order: Sequence[tuple[str, int]]
) -> Pieces[np.ndarray]:
    """uint8 label map (i, j, k) of (segment ID, value) pairs; later ones paint over earlier ones. In pieces."""
    labels = np.zeros(shape, np.uint8, order="F")
    owner = {segment_id: n for n, image in enumerate(images) for segment_id in image.values}
    # Neighbours in the order that share an image share no voxel: they are painted together.
    runs: list[tuple[int, dict[str, int]]] = []
    for segment_id, value in order:
        if segment_id in owner:
            if not runs or runs[-1][0] != owner[segment_id]:
                runs.append((owner[segment_id], {}))
            runs[-1][1][segment_id] = value
    for n, values in runs:
        table = np.zeros(256, np.uint8)
        for segment_id, value in values.items():
            table[images[n].values[segment_id]] = value
        for k in range(shape[2]):
            found, where = images[n].piece(k, k + 1, shape)
            if found.any():
                painted = table[found]
                np.copyto(labels[:, :, k : k + 1][where], painted, where=painted != 0)
            yield
    return labels


def _table(stored: Stored, numbers: Mapping[str, int]) -> np.ndarray:
    table = np.zeros(256, bits_type(numbers.values()))
    for segment_id, value in stored.values.items():
        if segment_id in numbers:
            table[value] |= bit_of(numbers[segment_id])
    return table
