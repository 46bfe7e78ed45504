"""Keeps locked and reviewed segments as they were, whatever the Segment Editor does to them.

Our own writes leave them alone. Slicer's brushes do not know of locks: told to overwrite other segments, they take
voxels from all of them. What was taken is put back as soon as the person lets go; both segments then hold it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import slicer

from ..core.geometry import Box, Geometry
from ..core.pieces import Pieces
from .arrays import label_image
from .nodes import volume_of
from .reading import box_around, read_mask, read_single
from .tags import is_protected
from .versions import image_version
from .volumes import placement, placement_under
from .writing import segments_of


@dataclass(frozen=True, eq=False)
class _Kept:
    """Voxels (i, j, k) of a segment, in a box with one more voxel around them on each side; ``version`` is that of the
    image that they were last found in."""

    grid: Geometry
    box: Box
    mask: np.ndarray
    version: Hashable


class Guard:
    """Remembers protected segments from the first look at them until they are free again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Kept] = {}

    def looking(self, node: Any) -> Pieces[tuple[str, ...]]:
        """Puts back what was taken from protected segments of a node, or added, segment by segment; names of those."""
        protected = {i: segment for i, segment in segments_of(node) if is_protected(segment)}
        for key in [key for key in self._kept if key[0] == node.GetID() and key[1] not in protected]:
            del self._kept[key]
        # Those that are remembered first: they may have been changed.
        changed = []
        for segment_id in sorted(protected, key=lambda i: (node.GetID(), i) not in self._kept):
            segment = node.GetSegmentation().GetSegment(segment_id)
            is_there = segment is not None and is_protected(segment)
            if is_there and (yield from self._putting_back(node, segment_id, segment)):
                changed.append(segment.GetName())
            yield
        return tuple(changed)

    def _putting_back(self, node: Any, segment_id: str, segment: Any) -> Pieces[bool]:
        """Whether there was something to put back."""
        kept, grid = self._kept.get((node.GetID(), segment_id)), placement(volume_of(node)).geometry
        if kept is None or not kept.grid.matches(grid):
            yield from self._remembering(node, segment_id, segment, grid)
            return False
        is_changed = image_version(segment) != kept.version and not np.array_equal(
            read_mask(node, segment_id, grid.cropped(kept.box)), kept.mask
        )
        if is_changed:
            self._put_back(node, segment_id, kept)
        self._kept[node.GetID(), segment_id] = replace(kept, version=image_version(segment))
        return is_changed

    def forget(self) -> None:
        """Remembers nothing any more, for example because the scene closes: another one uses the same IDs."""
        self._kept.clear()

    def _remembering(self, node: Any, segment_id: str, segment: Any, grid: Geometry) -> Pieces[None]:
        """In two pieces, unless the segment changes between them: then it is for the next look to do."""
        version = image_version(segment)
        box = (box_around(read_single(node, segment_id, grid)) or Box((0, 0, 0), (1, 1, 1))).grown(1, grid.shape)
        yield
        if image_version(segment) == version:
            mask = read_mask(node, segment_id, grid.cropped(box))
            self._kept[node.GetID(), segment_id] = _Kept(grid, box, mask, version)

    def _put_back(self, node: Any, segment_id: str, kept: _Kept) -> None:
        place = placement_under(volume_of(node), node)
        i, j, k = (a + b for a, b in zip(place.start, kept.box.start, strict=True))
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        image = label_image(kept.mask.astype(np.uint8), place.matrix, (i, j, k))
        logic.SetBinaryLabelmapToSegment(image, node, segment_id, logic.MODE_REPLACE, image.GetExtent(), False, [])
