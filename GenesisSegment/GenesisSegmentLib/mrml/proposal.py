"""What the model proposed, kept beside the segmentation that is being corrected, and how the two differ.

The proposal is a hidden segmentation node with the same segment IDs; it is saved with the scene like any other node.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import slicer

from ..core.errors import InputError
from ..core.i18n import _
from .arrays import label_image
from .nodes import (
    DIFFERENCE,
    OWNER_ROLE,
    PART,
    PROPOSAL,
    PROPOSAL_ROLE,
    SEGMENTATION,
    TABLE_ROLE,
    hide_from_lists,
    modifying,
    parts_of,
    remove_node,
    volume_of,
)
from .prepared import Prepared
from .reading import bit_planes, class_numbers, read_mask
from .volumes import placement
from .writing import binary, create_node, put_layers

ADDED, REMOVED = (0.2, 0.8, 0.2), (0.9, 0.2, 0.2)
"""Colours of the difference."""


def proposal_of(node: Any) -> Any | None:
    """The proposal that belongs to a segmentation."""
    return node.GetNodeReference(PROPOSAL_ROLE)


def segmentations_of(scene: Any, volume_id: str) -> list[Any]:
    """Our segmentations of a volume, oldest first.

    A copy that somebody made of one (Clone in the Data module) refers to the same proposal and table: it becomes the
    person's own, so that the two do not get in each other's way.
    """
    return [node for node in parts_of(scene, volume_id, SEGMENTATION) if not _released(node)]


def _released(node: Any) -> bool:
    kept = proposal_of(node)
    if kept is None:
        return False
    owner = kept.GetNodeReference(OWNER_ROLE)
    if owner is None:
        kept.SetNodeReferenceID(OWNER_ROLE, node.GetID())
    if owner is None or owner is node:
        return False
    with modifying(node):
        node.RemoveAttribute(PART)
        node.SetNodeReferenceID(PROPOSAL_ROLE, None)
        node.SetNodeReferenceID(TABLE_ROLE, None)
    return True


def keep_proposal(node: Any, layers: Sequence[Prepared], undo: ExitStack) -> None:
    """Keeps layers as the proposal of a segmentation; classes that they do not name stay as proposed before."""
    kept = proposal_of(node)
    if kept is None:
        volume = volume_of(node)
        kept = create_node(node.GetScene(), volume, _("{name} proposal").format(name=node.GetName()), PROPOSAL)
        undo.callback(remove_node, kept)
        hide_from_lists(kept)
        _as_outlines(kept)
        node.SetNodeReferenceID(PROPOSAL_ROLE, kept.GetID())
        kept.SetNodeReferenceID(OWNER_ROLE, node.GetID())
    put_layers(kept, [layer.copy() for layer in layers], undo)


def drop_orphans(scene: Any, volume_id: str) -> None:
    """Takes away proposals of a volume whose segmentation was deleted: nobody could see or remove them."""
    owned = {proposal_of(node) for node in segmentations_of(scene, volume_id)}
    for kept in parts_of(scene, volume_id, PROPOSAL):
        if kept not in owned:
            remove_node(kept)


def show_proposal(node: Any, is_shown: bool) -> None:
    """Shows or hides the proposal, as outlines over the segmentation.

    Raises:
        InputError: there is none.
    """
    _needed(node).GetDisplayNode().SetVisibility(is_shown)


def proposed_mask(node: Any, segment_id: str) -> np.ndarray:
    """Boolean mask (i, j, k), on the grid of the CT, of what was proposed for a segment.

    Raises:
        InputError: no model wrote this segment.
    """
    return read_mask(_needed(node), _proposed_id(node, segment_id), placement(volume_of(node)).geometry)


def count_changes(node: Any) -> dict[str, int]:
    """Voxels by which each segment that a model wrote differs from its proposal, by segment ID."""
    kept = proposal_of(node)
    if kept is None:
        return {}
    numbers, grid = class_numbers(node), placement(volume_of(node)).geometry
    proposed = {i: c for i, c in class_numbers(kept).items() if c in numbers.values()}
    counts = dict.fromkeys(numbers.values(), 0)
    pairs = zip(bit_planes(node, grid, numbers), bit_planes(kept, grid, proposed), strict=True)
    for (_k, now), (_same, before) in pairs:
        differs = now ^ before
        differs = differs[differs != 0]
        if differs.size:
            for index in counts:
                counts[index] += int(np.count_nonzero(differs >> np.uint32(index - 1) & np.uint32(1)))
    return {segment_id: counts[index] for segment_id, index in numbers.items()}


def show_difference(node: Any, segment_id: str) -> Any:
    """Shows what was added to and removed from the proposal of a segment; returns the node that shows it.

    Raises:
        InputError: no model wrote this segment.
    """
    volume = volume_of(node)
    place = placement(volume)
    before, now = proposed_mask(node, segment_id), read_mask(node, segment_id, place.geometry)
    labels = np.zeros(place.shape, np.uint8, order="F")
    labels[now & ~before], labels[before & ~now] = 1, 2
    image = label_image(labels, place.matrix, place.start)
    hide_difference(node)
    shown = create_node(node.GetScene(), volume, _("{name} changes").format(name=node.GetName()), DIFFERENCE)
    shown.SetSaveWithScene(False)
    hide_from_lists(shown)
    for value, name, color in ((1, _("Added"), ADDED), (2, _("Removed"), REMOVED)):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(*color)
        segment.SetLabelValue(value)
        segment.AddRepresentation(binary(), image)
        shown.GetSegmentation().AddSegment(segment, ("added", "removed")[value - 1])
    return shown


def hide_difference(node: Any) -> None:
    """Takes the difference away."""
    for shown in parts_of(node.GetScene(), volume_of(node).GetID(), DIFFERENCE):
        remove_node(shown)


def _needed(node: Any) -> Any:
    kept = proposal_of(node)
    if kept is None:
        raise InputError(_("The proposal of the model is no longer there."), _("Segment the CT again."))
    return kept


def _proposed_id(node: Any, segment_id: str) -> str:
    index = class_numbers(node).get(segment_id)
    found = [i for i, c in class_numbers(_needed(node)).items() if c == index]
    if not found:
        raise InputError(_("No model proposed this segment."), _("Choose a segment that a model wrote."))
    return found[0]


def _as_outlines(node: Any) -> None:
    display = node.GetDisplayNode()
    with modifying(display):
        display.SetVisibility(False)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetVisibility3D(False)
