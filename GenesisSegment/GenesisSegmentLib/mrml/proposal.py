"""What the model proposed, kept beside the segmentation that is being corrected, and how the two differ.

The proposal is a hidden segmentation node; it is saved with the scene like any other node. What the run before proposed
is kept in a second one: Undo brings the segments of that run back, and they are compared with what was proposed then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import slicer

from ..core.errors import InputError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import Pieces
from .arrays import copying_labels, image_matrix, label_image, start_of, voxels
from .nodes import (
    DIFFERENCE,
    EARLIER_ROLE,
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
from .reading import boxing, read_mask, read_single
from .tags import RUN_TAG, tag_of
from .volumes import placement
from .writing import binary, class_numbers, create_node, put_layers, segments_of

ADDED, REMOVED = (0.2, 0.8, 0.2), (0.9, 0.2, 0.2)
"""Colours of the difference."""
_ADDED, _REMOVED = np.uint8(1), np.uint8(2)
_PLANES = 4
"""Planes that are worked on at a time: a millisecond or two for each."""


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
        for role in (PROPOSAL_ROLE, EARLIER_ROLE, TABLE_ROLE):
            node.SetNodeReferenceID(role, None)
    return True


def proposals_of(node: Any) -> dict[str, tuple[Any, str]]:
    """Where the proposal of each segment that a model wrote lies: node and segment ID, by ID of the segment.

    Of the runs that are known, it is the one that the segment comes from, as its tag says. A segment without that tag,
    for example from a scene of an older version, belongs to the last one.
    """
    last, earlier = proposal_of(node), node.GetNodeReference(EARLIER_ROLE)
    known: dict[tuple[str, int], tuple[Any, str]] = {}
    for kept in (earlier, last):
        for segment_id, index in class_numbers(kept).items() if kept is not None else ():
            place = kept, segment_id
            known["", index] = known[_run_of(kept, segment_id), index] = place
    found = {i: known.get((_run_of(node, i), index)) for i, index in class_numbers(node).items()}
    return {segment_id: place for segment_id, place in found.items() if place is not None}


def runs_of(node: Any) -> frozenset[str]:
    """The runs whose proposals are known."""
    proposals = [node.GetNodeReference(role) for role in (PROPOSAL_ROLE, EARLIER_ROLE)]
    return frozenset(_run_of(kept, i) for kept in proposals if kept for i, _segment in segments_of(kept))


def keep_proposal(
    node: Any, layers: Sequence[Prepared], run: str, undo: ExitStack, taught: Mapping[int, str] | None = None
) -> None:
    """Keeps layers as the proposal of a segmentation; classes that they do not name stay as proposed before.

    To be called before the layers are put into the segmentation itself, with what it gets: what was proposed for the
    segments that they replace becomes the earlier proposal.
    """
    _keep_earlier(node, {c for layer in layers for c in layer.classes}, undo)
    kept = proposal_of(node)
    if kept is None:
        kept = _create(node, undo)
        node.SetNodeReferenceID(PROPOSAL_ROLE, kept.GetID())
    put_layers(kept, [layer.copy() for layer in layers], run, undo, taught)


def _keep_earlier(node: Any, replaced: Collection[int], undo: ExitStack) -> None:
    """Images are copied, each once: Slicer clears the voxels of a segment that is removed, wherever else they are."""
    numbers, last = class_numbers(node), proposal_of(node)
    places = [place for i, place in proposals_of(node).items() if numbers[i] in replaced or place[0] is not last]
    undo.callback(node.SetNodeReferenceID, EARLIER_ROLE, node.GetNodeReferenceID(EARLIER_ROLE))
    if not places:
        node.SetNodeReferenceID(EARLIER_ROLE, None)
        return
    earlier, copies = _create(node, undo), {}
    earlier.SetSaveWithScene(False)
    for owner, segment_id in places:
        segment, twin = owner.GetSegmentation().GetSegment(segment_id), slicer.vtkSegment()
        image = segment.GetRepresentation(binary())
        if image not in copies:
            copies[image] = label_image(voxels(image), image_matrix(image), start_of(image))
        twin.DeepCopyMetadata(segment)
        twin.SetLabelValue(segment.GetLabelValue())
        twin.AddRepresentation(binary(), copies[image])
        earlier.GetSegmentation().AddSegment(twin, segment_id)
    node.SetNodeReferenceID(EARLIER_ROLE, earlier.GetID())


def _create(node: Any, undo: ExitStack) -> Any:
    kept = create_node(node.GetScene(), volume_of(node), _("{name} proposal").format(name=node.GetName()), PROPOSAL)
    undo.callback(remove_node, kept)
    hide_from_lists(kept)
    _as_outlines(kept)
    kept.SetNodeReferenceID(OWNER_ROLE, node.GetID())
    return kept


def _run_of(node: Any, segment_id: str) -> str:
    return tag_of(node.GetSegmentation().GetSegment(segment_id), RUN_TAG)


def drop_orphans(scene: Any, volume_id: str) -> None:
    """Takes away proposals of a volume that no segmentation refers to any more: nobody could see or remove them."""
    owners = segmentations_of(scene, volume_id)
    owned = {node.GetNodeReference(role) for node in owners for role in (PROPOSAL_ROLE, EARLIER_ROLE)}
    for kept in parts_of(scene, volume_id, PROPOSAL):
        if kept not in owned:
            remove_node(kept)


def show_proposal(node: Any, is_shown: bool) -> None:
    """Shows or hides the proposals of the segments, as outlines over the segmentation.

    Raises:
        InputError: there is none.
    """
    _check_kept(node)
    places = proposals_of(node).values()
    for kept in (proposal_of(node), node.GetNodeReference(EARLIER_ROLE)):
        if kept is not None:
            display, chosen = kept.GetDisplayNode(), {segment_id for owner, segment_id in places if owner is kept}
            with modifying(display):
                for segment_id, _segment in segments_of(kept):
                    display.SetSegmentVisibility(segment_id, segment_id in chosen)
                display.SetVisibility(is_shown)


def differing(node: Any, segment_id: str) -> Pieces[tuple[Box, np.ndarray, np.ndarray] | None]:
    """How a segment differs from its proposal; in pieces, between which nothing may change.

    Returns:
        The box on the grid of the CT, and the masks (i, j, k) of segment and proposal in it; None where they are the
        same.

    Raises:
        InputError: no model wrote this segment, or what it proposed is no longer known.
    """
    grid = placement(volume_of(node)).geometry
    kept, kept_id = _place(node, segment_id)
    box = yield from boxing(read_single(node, segment_id, grid), read_single(kept, kept_id, grid))
    if box is None:
        return None
    part = grid.cropped(box)
    return box, read_mask(node, segment_id, part), read_mask(kept, kept_id, part)


def proposed_mask(node: Any, segment_id: str) -> np.ndarray:
    """Boolean mask (i, j, k), on the grid of the CT, of what was proposed for a segment.

    Raises:
        InputError: as :func:`differing`.
    """
    return read_mask(*_place(node, segment_id), placement(volume_of(node)).geometry)


def showing_difference(node: Any, segment_id: str) -> Pieces[None]:
    """Shows what was added to and removed from the proposal of a segment; in pieces, between which nothing may change.

    Raises:
        InputError: no model wrote this segment.
    """
    volume = volume_of(node)
    place = placement(volume)
    kept, kept_id = _place(node, segment_id)
    both = (node, segment_id), (kept, kept_id)
    box = (yield from boxing(*(read_single(*one, place.geometry) for one in both))) or Box((0, 0, 0), (1, 1, 1))
    now, before = (read_single(*one, place.geometry.cropped(box)) for one in both)
    labels, whole = np.zeros(box.shape, np.uint8, order="F"), Box.whole(box.shape)
    for k0 in range(0, box.shape[2], _PLANES):
        k1 = min(k0 + _PLANES, box.shape[2])
        is_now, was = now.planes(k0, k1, whole), before.planes(k0, k1, whole)
        labels[..., k0:k1] = (is_now & ~was) * _ADDED + (was & ~is_now) * _REMOVED
        yield
    i, j, k = (a + b for a, b in zip(place.start, box.start, strict=True))
    image = yield from copying_labels(labels, place.matrix, (i, j, k), _PLANES)
    hide_difference(node)
    shown = create_node(node.GetScene(), volume, _("{name} changes").format(name=node.GetName()), DIFFERENCE)
    shown.SetSaveWithScene(False)
    hide_from_lists(shown)
    for value, name, color in ((_ADDED, _("Added"), ADDED), (_REMOVED, _("Removed"), REMOVED)):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(*color)
        segment.SetLabelValue(int(value))
        segment.AddRepresentation(binary(), image)
        shown.GetSegmentation().AddSegment(segment, "added" if value == _ADDED else "removed")


def hide_difference(node: Any) -> None:
    """Takes the difference away."""
    for shown in parts_of(node.GetScene(), volume_of(node).GetID(), DIFFERENCE):
        remove_node(shown)


def _check_kept(node: Any) -> None:
    if proposal_of(node) is None:
        raise InputError(_("The proposal of the model is no longer there."), _("Segment the CT again."))


def _place(node: Any, segment_id: str) -> tuple[Any, str]:
    _check_kept(node)
    place = proposals_of(node).get(segment_id)
    if place is None:
        raise InputError(_("No model proposed this segment."), _("Choose a segment that a model wrote."))
    return place


def _as_outlines(node: Any) -> None:
    display = node.GetDisplayNode()
    with modifying(display):
        display.SetVisibility(False)
        display.SetVisibility2DFill(False)
        display.SetVisibility2DOutline(True)
        display.SetVisibility3D(False)
