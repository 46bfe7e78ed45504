"""What a prompt is answered from, and a first look at the answer beside the segmentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from ..core.classes import class_table
from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import Pieces
from ..core.refining_messages import CLOSED, SEGMENT
from .nodes import PART, PREVIEW, hide_from_lists, modifying, nodes_of, parts_of, remove_node, volume_of
from .partial import early_image
from .reading import BitPlanes
from .stored import stored_images
from .tags import is_protected
from .volumes import placement
from .writing import binary, class_numbers, create_node, segments_of

COLOR = (1.0, 0.9, 0.1)
"""Of the preview: no class has it."""
_NUMBERS = {SEGMENT: 1, CLOSED: 2}
"""Bit ``number - 1`` is that of the key."""
_NESTED = frozenset({"hepatic_vessel"})
"""Organs that lie in another one."""


def surroundings(node: Any, segment_id: str, box: Box, is_overwritten: Callable[[str], bool]) -> Pieces[np.ndarray]:
    """What is in a box of the CT, in pieces, between which nothing may change: uint8 (i, j, k).

    The bit ``SEGMENT`` says where the segment is, ``CLOSED`` where others are that it may not take voxels from, nor
    grow into: locked and reviewed ones, and organs beside it. Segments that lie in each other by their nature do not
    close voxels to each other, as long as none takes them from the other: a tumour and its organ, a structure of the
    person's own and any other.

    Args:
        node: the segmentation.
        segment_id: of the segment that is to be changed.
        box: on the grid of the CT.
        is_overwritten: whether adding to the segment takes voxels from that of an ID.

    Raises:
        GeometryError: as :func:`.stored.stored_images`.
    """
    grid = placement(volume_of(node)).geometry.cropped(box)
    classes = class_numbers(node)
    numbers = {segment_id: _NUMBERS[SEGMENT]}
    for other_id, other in segments_of(node):
        if is_overwritten(other_id):
            is_closed = is_protected(other)
        else:
            is_closed = _exclude(classes.get(segment_id, 0), classes.get(other_id, 0))
        if other_id != segment_id and is_closed:
            numbers[other_id] = _NUMBERS[CLOSED]
    planes = BitPlanes.of_images(stored_images(node, grid), grid.shape, numbers)
    bits = np.zeros(grid.shape, np.uint8, order="F")
    for k0, k1 in planes.slabs():
        bits[..., k0:k1] = planes.bits(k0, k1)
        yield
    return bits


def _exclude(one: int, other: int) -> bool:
    """Whether no voxel belongs to both; of structures of the person's own, 0 or from 33 on, nothing is known."""
    if not {one, other} <= class_table().keys():
        return False
    structures = class_table()[one], class_table()[other]
    if any(structure.slug in _NESTED for structure in structures):
        return False
    return structures[0].is_lesion == structures[1].is_lesion


def showing_preview(node: Any, box: Box, mask: np.ndarray) -> Pieces[None]:
    """Shows how a segment would be inside ``box``: a mask (i, j, k), in place of the preview before.

    Raises:
        GeometryError: as :func:`.partial.early_image`.
    """
    volume = volume_of(node)
    image = yield from early_image(volume, box, mask)
    found = parts_of(node.GetScene(), volume.GetID(), PREVIEW)
    shown = found[0] if found else _create(node.GetScene(), volume)
    segment = slicer.vtkSegment()
    segment.SetName(_("Preview"))
    segment.SetColor(*COLOR)
    segment.SetLabelValue(1)
    segment.AddRepresentation(binary(), image)
    with modifying(shown):
        shown.GetSegmentation().RemoveAllSegments()
        shown.GetSegmentation().AddSegment(segment, "preview")


def hide_preview(scene: Any) -> None:
    """Takes the preview away, also where its CT is gone."""
    for node in nodes_of(scene, "vtkMRMLSegmentationNode"):
        if node.GetAttribute(PART) == PREVIEW:
            remove_node(node)


def _create(scene: Any, volume: Any) -> Any:
    node = create_node(scene, volume, _("{name} preview").format(name=volume.GetName()), PREVIEW)
    node.SetSaveWithScene(False)
    hide_from_lists(node)
    display = node.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetOpacity2DFill(0.25)
    return node
