"""Keeps locked and reviewed segments as they were, whatever the Segment Editor does to them.

Our own writes leave them alone. Slicer's brushes do not know of locks: told to overwrite other segments, they take
voxels from all of them. What was taken is put back as soon as the person lets go; both segments then hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from ..core.geometry import Box, Geometry
from .arrays import label_image
from .nodes import volume_of
from .reading import read_mask
from .tags import is_protected
from .volumes import placement, placement_under
from .writing import segments_of


@dataclass(frozen=True, eq=False)
class _Kept:
    """Voxels (i, j, k) of a segment, in a box with one more voxel around them on each side."""

    grid: Geometry
    box: Box
    mask: np.ndarray


class Guard:
    """Remembers protected segments from the first look at them until they are free again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}

    def look(self, node: Any) -> tuple[str, ...]:
        """Puts back what was taken from protected segments of a node, or added; names of the segments that changed."""
        protected = {i: segment for i, segment in segments_of(node) if is_protected(segment)}
        for key in [key for key in self._kept if key[0] == node.GetID() and key[1] not in protected]:
            del self._kept[key]
        changed, grid = [], placement(volume_of(node)).geometry
        for segment_id, segment in protected.items():
            kept = self._kept.get((node.GetID(), segment_id))
            if kept is None or not kept.grid.matches(grid):
                self._remember(node, segment_id, grid)
            elif not np.array_equal(read_mask(node, segment_id, grid.cropped(kept.box)), kept.mask):
                self._put_back(node, segment_id, kept)
                changed.append(segment.GetName())
        return tuple(changed)

    def forget(self) -> None:
        """Remembers nothing any more, for example because the scene closes: another one uses the same IDs."""
        self._kept.clear()

    def _remember(self, node: Any, segment_id: str, grid: Geometry) -> None:
        mask = read_mask(node, segment_id, grid)
        box = Box.around(mask)
        if box is not None:
            box = box.grown(1, grid.shape)
            self._kept[node.GetID(), segment_id] = _Kept(grid, box, mask[box.slices].copy(order="F"))

    def _put_back(self, node: Any, segment_id: str, kept: _Kept) -> None:
        place = placement_under(volume_of(node), node)
        i, j, k = (a + b for a, b in zip(place.start, kept.box.start, strict=True))
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        image = label_image(kept.mask.astype(np.uint8), place.matrix, (i, j, k))
        logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE, image.GetExtent(), False, [])
