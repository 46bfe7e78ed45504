"""Voxels of a segment as they were once: to see whether they changed anywhere, and to put them back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.geometry import Box, Geometry
from ..core.pieces import Pieces
from .arrays import label_image
from .nodes import volume_of
from .reading import boxing, counting_labels, read_mask, read_single
from .versions import image_version
from .volumes import placement, placement_under

_VOXELS = 1 << 20
"""So many are compared at a time: about a millisecond."""


@dataclass(frozen=True, eq=False)
class Kept:
    """All voxels of a segment within the CT, whose grid (world) is ``grid``: ``mask`` (i, j, k) of ``box``."""

    grid: Geometry
    box: Box
    mask: np.ndarray


def keeping(node: Any, segment_id: str) -> Pieces[Kept]:
    """Copies the voxels of a segment, in pieces between which it may not change."""
    grid = placement(volume_of(node)).geometry
    box = yield from boxing(read_single(node, segment_id, grid))
    box = box or Box((0, 0, 0), (1, 1, 1))
    return Kept(grid, box, read_mask(node, segment_id, grid.cropped(box)))


def put_back(node: Any, segment_id: str, kept: Kept) -> None:
    """Gives a segment these voxels and no others. No other segment changes; one that took some shares them."""
    place = placement_under(volume_of(node), node)
    i, j, k = (a + b for a, b in zip(place.start, kept.box.start, strict=True))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    image = label_image(kept.mask.astype(np.uint8), place.matrix, (i, j, k))
    logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE, image.GetExtent(), False, [])


class Comparer:
    """Compares segments with what was kept. Segments that share an image are counted together, once."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, dict[str, int]] = {}

    def differing(self, node: Any, segment_id: str, kept: Kept) -> Pieces[bool]:
        """Whether a segment has other voxels than those; in pieces between which it may not change.

        It has not where its box looks the same and it has no more voxels than that anywhere.
        """
        single, whole = read_single(node, segment_id, kept.grid.cropped(kept.box)), Box((0, 0, 0), kept.box.shape)
        width, height, depth = kept.box.shape
        planes = max(1, _VOXELS // (width * height))
        for k0 in range(0, depth, planes):
            k1 = min(k0 + planes, depth)
            if not np.array_equal(single.planes(k0, k1, whole), kept.mask[..., k0:k1]):
                return True
            yield
        count = yield from self._counting(node, segment_id, kept.grid)
        return count != np.count_nonzero(kept.mask)

    def _counting(self, node: Any, segment_id: str, grid: Geometry) -> Pieces[int]:
        segment = node.GetSegmentation().GetSegment(segment_id)
        image = image_version(segment)[1:] if segment is not None else None
        if segment_id not in self._counts.get(image, {}):
            stored = read_single(node, segment_id, grid).stored
            if stored is None:
                return 0
            labels, _where = stored.piece(0, grid.shape[2], grid.shape)
            counts = yield from counting_labels(labels)
            self._counts[image] = {i: int(counts[value]) for i, value in stored.values.items()}
        return self._counts[image][segment_id]
