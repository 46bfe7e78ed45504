"""Voxels of a segment as they were once: to see whether they changed anywhere, and to put them back.

They are kept, compared and put back as they are stored: in the space of the segmentation, on the lattice of their own
image. So those beside the CT, or between its voxels, count as well, and moving the CT changes nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.geometry import Box, Geometry
from ..core.pieces import Pieces
from .arrays import copying_labels, image_matrix, label_image, start_of, voxels
from .reading import Single, boxing, counting_labels
from .stored import Stored, on_grid, start_on
from .versions import image_version
from .writing import binary

_VOXELS = 1 << 20
"""So many are compared at a time: about a millisecond."""
_RESAMPLED = 1 << 17
"""So many are resampled at a time."""
_HERE = np.eye(4)
_LABEL = "label"
_NOWHERE = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Kept:
    """All voxels of a segment: ``mask`` (i, j, k) of ``grid``, in the space of the segmentation; ``start`` is the index
    of the first one in the image that held them, and ``count`` says how many voxels the segment has."""

    grid: Geometry
    start: tuple[int, int, int]
    mask: np.ndarray
    count: int


def keeping(node: Any, segment_id: str) -> Pieces[Kept]:
    """Copies the voxels of a segment, in pieces between which it may not change."""
    image, value = _stored(node, segment_id)
    box = (yield from boxing(_single(image, value))) if image is not None else None
    if image is None or box is None:
        return Kept(Geometry((1, 1, 1), _HERE), _NOWHERE, np.zeros((1, 1, 1), bool), 0)
    labels, mask, count = voxels(image)[box.slices], np.zeros(box.shape, bool, order="F"), 0
    for planes in _slabs(box.shape, _VOXELS):
        mask[..., planes] = labels[..., planes] == value
        count += int(np.count_nonzero(mask[..., planes]))
        yield
    i, j, k = (a + b for a, b in zip(start_of(image), box.start, strict=True))
    return Kept(_lattice(image).cropped(box), (i, j, k), mask, count)


def is_on_lattice(node: Any, segment_id: str, kept: Kept) -> bool:
    """Whether the image of a segment has the lattice on which its voxels were kept."""
    image, _value = _stored(node, segment_id)
    return not kept.count or image is None or start_on(image, _HERE, kept.grid) is not None


def can_be_put_back(node: Any, segment_id: str) -> bool:
    """Whether a segment can be given voxels: not where surfaces are its source."""
    segmentation = node.GetSegmentation()
    segment = segmentation.GetSegment(segment_id)
    is_binary = segmentation.GetSourceRepresentationName() == binary()
    return is_binary and segment is not None and segment.GetRepresentation(binary()) is not None


def put_back(node: Any, segment_id: str, kept: Kept) -> bool:
    """Gives a segment these voxels and no others; whether that could be done.

    No other segment changes; one that took some shares them. Where another module resampled the segment, it gets an
    image of its own, as it was.
    """
    image, _value = _stored(node, segment_id)
    matrix, start = _matrix(kept.grid, kept.start), kept.start
    if image is not None and is_on_lattice(node, segment_id, kept):
        # The very lattice of the image, whose origin may be another one by whole voxels, so that nothing is resampled.
        shift = start_on(image, _HERE, kept.grid) or _NOWHERE
        i, j, k = (a - b for a, b in zip(start_of(image), shift, strict=True))
        matrix, start = image_matrix(image), (i, j, k)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    new = label_image(kept.mask.view(np.uint8), matrix, start)
    return bool(logic.SetBinaryLabelmapToSegment(new, node, segment_id, logic.MODE_REPLACE, new.GetExtent(), False, []))


class Comparer:
    """Compares segments with what was kept. Segments that share an image are counted together, once."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, np.ndarray] = {}

    def differing(self, node: Any, segment_id: str, kept: Kept) -> Pieces[bool]:
        """Whether a segment has other voxels than those; in pieces between which it may not change.

        It has not where its image was moved as a whole, or was resampled without any loss.
        """
        image, value = _stored(node, segment_id)
        if image is None or not kept.count:
            count = yield from self._counting(node, segment_id)
            return count != kept.count
        start = start_on(image, _HERE, kept.grid)
        if start is not None:
            return (yield from self._differing_at(start, node, segment_id, kept))
        i, j, k = (a - b for a, b in zip(start_of(image), kept.start, strict=True))
        if not (yield from self._differing_at((i, j, k), node, segment_id, kept)):
            return False
        before = yield from _image(kept)
        is_same = (yield from _is_found(before, 1, image, value)) and (yield from _is_found(image, value, before, 1))
        return not is_same

    def _differing_at(self, start: tuple[int, int, int], node: Any, segment_id: str, kept: Kept) -> Pieces[bool]:
        """With the first voxel of the image at ``start`` of what was kept: it is the same where that looks the same,
        and where it has no more voxels than that anywhere."""
        image, value = _stored(node, segment_id)
        whole = Box(_NOWHERE, kept.mask.shape)  # type: ignore[arg-type]
        single = Single(Stored(voxels(image), start, {}), value, whole.shape)
        for planes in _slabs(whole.shape, _VOXELS):
            if not np.array_equal(single.planes(planes.start, planes.stop, whole), kept.mask[..., planes]):
                return True
            yield
        count = yield from self._counting(node, segment_id)
        return count != kept.count

    def _counting(self, node: Any, segment_id: str) -> Pieces[int]:
        image, value = _stored(node, segment_id)
        labels, count = voxels(image), 0
        if labels.dtype != np.uint8:  # Slicer takes a wider type where label values need it
            for planes in _slabs(labels.shape, _VOXELS):
                count += int(np.count_nonzero(labels[..., planes] == value))
                yield
            return count
        version = image_version(node.GetSegmentation().GetSegment(segment_id))[1:] if image is not None else None
        if version not in self._counts:
            self._counts[version] = yield from counting_labels(labels)
        return int(self._counts[version][value])


def _stored(node: Any, segment_id: str) -> tuple[Any | None, int]:
    """The image that holds a segment, and its label there; None where it has no voxels at all."""
    segment = node.GetSegmentation().GetSegment(segment_id)
    image = segment.GetRepresentation(binary()) if segment is not None else None
    return (image, segment.GetLabelValue()) if voxels(image).size else (None, 0)


def _single(image: Any, value: int) -> Single:
    labels = voxels(image)
    return Single(Stored(labels, _NOWHERE, {}), value, labels.shape)


def _matrix(grid: Geometry, start: tuple[int, int, int]) -> np.ndarray:
    """Index to position where the first voxel of a grid has the index ``start``."""
    back = np.eye(4)
    back[:3, 3] = [-n for n in start]
    return grid.ijk_to_ras @ back


def _lattice(image: Any) -> Geometry:
    """The grid of an image, in the space of its segmentation; its first voxel is (0, 0, 0)."""
    forth = np.eye(4)
    forth[:3, 3] = start_of(image)
    return Geometry(image.GetDimensions(), image_matrix(image) @ forth)


def _image(kept: Kept) -> Pieces[Any]:
    width, height, _depth = kept.mask.shape
    planes = max(1, _VOXELS // (width * height))
    return (yield from copying_labels(kept.mask.view(np.uint8), kept.grid.ijk_to_ras, _NOWHERE, planes))


def _is_found(image: Any, value: int, other: Any, other_value: int) -> Pieces[bool]:
    """Whether, nearest voxel, an image has a label just where another one has its own, at every voxel of the other."""
    lattice, labels = _lattice(other), voxels(other)
    for box in _blocks(lattice.shape, _RESAMPLED):
        grid, whole = lattice.cropped(box), Box.whole(box.shape)
        stored = on_grid(image, {_LABEL: value}, _HERE, grid)
        found = Single(stored, stored.values[_LABEL], grid.shape).planes(0, grid.shape[2], whole)
        if not np.array_equal(found, labels[box.slices] == other_value):
            return False
        yield
    return True


def _slabs(shape: tuple[int, ...], voxels_at_a_time: int) -> list[slice]:
    """As many planes at a time as have so many voxels; one at least."""
    planes = max(1, voxels_at_a_time // max(1, shape[0] * shape[1]))
    return [slice(k, min(k + planes, shape[2])) for k in range(0, shape[2], planes)]


def _blocks(shape: tuple[int, int, int], voxels_at_a_time: int) -> list[Box]:
    """The same, or as many rows of a plane where one plane has more voxels than that."""
    width, height, _depth = shape
    rows = max(1, min(height, voxels_at_a_time // max(1, width)))
    return [
        Box((0, j, planes.start), (width, min(j + rows, height), planes.stop))
        for planes in _slabs(shape, voxels_at_a_time)
        for j in range(0, height, rows)
    ]
