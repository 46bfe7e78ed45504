"""A whole result into the scene in one go.

All classes that share no voxel lie in one image that their segments share, as Slicer itself stores them; putting 32
classes one by one would make 32 images. See :mod:`.prepared` for what happens before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, count
from typing import Any

import slicer

from ..core.errors import InputError
from ..core.i18n import _
from .arrays import image_matrix, label_image, start_of, voxels
from .nodes import PART, modifying, put_beside, remove_node
from .prepared import Prepared, without
from .tags import RUN_TAG, class_of, describe, is_protected, structure_of, tag_of, taught_name


def binary() -> str:
    """Name of the representation that holds voxels."""
    return slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def kept_classes(node: Any | None) -> frozenset[int]:
    """Classes of a segmentation that a new result must leave alone: their segments are locked or reviewed."""
    if node is None:
        return frozenset()
    segmentation = node.GetSegmentation()
    return frozenset(c for i, c in class_numbers(node).items() if is_protected(segmentation.GetSegment(i)))


def class_numbers(node: Any) -> dict[str, int]:
    """Class index of each segment that stands for one, by segment ID, in the order of the segmentation.

    Of several segments of a class (somebody duplicated one) it is the one with the ID that we gave it, or else the
    first; the others are the person's own. So is one from another segmentation, where its number means another
    structure.
    """
    found: dict[int, tuple[str, Any]] = {}
    for segment_id, segment in segments_of(node):
        index = class_of(segment_id, segment)
        if index in found:
            is_ours = segment_id == structure_of(segment, index).slug
            is_ours = is_ours and taught_name(segment) == taught_name(found[index][1])
        else:
            is_ours = bool(index)
        if is_ours:
            found[index] = segment_id, segment
    numbers = {segment_id: index for index, (segment_id, _segment) in found.items()}
    return {i: numbers[i] for i, _segment in segments_of(node) if i in numbers}


def segments_of(node: Any) -> list[tuple[str, Any]]:
    """IDs and segments of a segmentation node, in its order."""
    segmentation = node.GetSegmentation()
    return [(i, segmentation.GetSegment(i)) for i in segmentation.GetSegmentIDs()]


def to_voxels(node: Any) -> Any:
    """The node itself, after its segments were turned into voxels where somebody made surfaces their source.

    Raises:
        InputError: they cannot be.
    """
    segmentation = node.GetSegmentation()
    if segmentation.GetSourceRepresentationName() != binary():
        if not segmentation.CreateRepresentation(binary()):
            raise InputError(
                _("The surfaces of {name} cannot be turned into voxels.").format(name=node.GetName()),
                _("Make Binary labelmap the source of all its segments (Segmentations module, Representations)."),
            )
        segmentation.SetSourceRepresentationName(binary())
    return node


def create_node(scene: Any, volume: Any, name: str, part: str) -> Any:
    """An empty segmentation node of ours for a volume: its place, its grid, its study. All or nothing."""
    node = scene.AddNode(_unnamed(part))
    with ExitStack() as undo:
        undo.callback(remove_node, node)
        node.SetName(scene.GenerateUniqueName(name))
        # The volume's own transform node, not its matrix: moving the CT later moves both, and nothing is applied twice.
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.CreateDefaultDisplayNodes()
        put_beside(node, volume)
        undo.pop_all()
    return node


def put_layers(
    node: Any, layers: Sequence[Prepared], run: str, undo: ExitStack, taught: Mapping[int, str] | None = None
) -> None:
    """Puts images into a segmentation: their classes are replaced, removed where not found, or added.

    All other segments keep their voxels, wherever these are stored. Segments that were there keep ID, name, colour and
    display. Whoever must be kept among the classes has been left out in :func:`.prepared.prepare`.

    Args:
        node: segmentation node with binary labelmaps.
        layers: on the grid of its volume.
        run: names the run that they come from.
        undo: gets what brings the segmentation back, should a later step fail.
        taught: names of the layers' classes from 33 on.
    """
    names = taught or {}
    segmentation = node.GetSegmentation()
    ours = {index: segment_id for segment_id, index in class_numbers(node).items()}
    written = {c: layer for layer in layers for c in layer.classes}
    undo.callback(_restore, node, _state(node))
    for layer in layers:
        if layer.image is not None:
            # Slicer's undo takes an image for unchanged that is older than its copy of the one that was there before.
            layer.image.Modified()
    with modifying(node):
        _separate(segmentation, [ours[c] for c in written if c in ours])
        for c in sorted(written):
            if c not in written[c].found:
                if c in ours:
                    segmentation.RemoveSegment(ours[c])
            elif c in ours:
                _show(segmentation.GetSegment(ours[c]), written[c].image, c)
                segmentation.GetSegment(ours[c]).SetTag(RUN_TAG, run)
            else:
                _add(segmentation, written[c].image, c, run, names.get(c, ""))


def add_empty(node: Any, index: int, taught: str = "") -> str:
    """Adds a segment without a voxel: of a class, or with ``index`` 0 one of the person's own. Returns its ID.

    ``taught`` is the name of a class from 33 on.
    """
    segmentation = node.GetSegmentation()
    if not index:
        taken = {segment.GetName() for _id, segment in segments_of(node)}
        plain = _("Structure")
        name = next(n for n in chain([plain], (f"{plain} {i}" for i in count(2))) if n not in taken)
        return segmentation.AddEmptySegment(segmentation.GenerateUniqueSegmentID("structure"), name)
    segment = slicer.vtkSegment()
    structure = describe(segment, index, taught)
    segment_id = segmentation.GenerateUniqueSegmentID(structure.slug)
    segmentation.AddSegment(segment, segment_id)
    return segment_id


def _unnamed(part: str) -> Any:
    node = slicer.vtkMRMLSegmentationNode()
    node.SetAttribute(PART, part)
    return node


def _add(segmentation: Any, image: Any, index: int, run: str, taught: str) -> None:
    segment = slicer.vtkSegment()
    structure = describe(segment, index, taught)
    segment.SetTag(RUN_TAG, run)
    _show(segment, image, index)
    # Somebody else's segment may have the ID already.
    segment_id = structure.slug
    if segmentation.GetSegment(segment_id) is not None:
        segment_id = segmentation.GenerateUniqueSegmentID(segment_id)
    segmentation.AddSegment(segment, segment_id)


def _show(segment: Any, image: Any, value: int) -> None:
    segment.SetLabelValue(value)
    segment.AddRepresentation(binary(), image)


def _separate(segmentation: Any, segment_ids: Collection[str]) -> None:
    """Gives the neighbours that share an image with these segments a copy without them.

    Otherwise their labels would stay behind in it, without owner.
    """
    done: set[str] = set()
    for segment_id in segment_ids:
        image = segmentation.GetSegment(segment_id).GetRepresentation(binary())
        if segment_id in done or image is None:
            continue
        sharing = set(segmentation.GetSegmentIDsForDataObject(image, binary()))
        done |= sharing
        staying = sharing - set(segment_ids)
        if staying:
            values = [segmentation.GetSegment(i).GetLabelValue() for i in sharing & set(segment_ids)]
            copy = label_image(without(voxels(image), values), image_matrix(image), start_of(image))
            for i in staying:
                segmentation.GetSegment(i).AddRepresentation(binary(), copy)


def _state(node: Any) -> list[tuple[str, Any, Any, int, str]]:
    return [(i, s, s.GetRepresentation(binary()), s.GetLabelValue(), tag_of(s, RUN_TAG)) for i, s in segments_of(node)]


def _restore(node: Any, state: list[tuple[str, Any, Any, int, str]]) -> None:
    segmentation = node.GetSegmentation()
    with modifying(node):
        for segment_id in set(segmentation.GetSegmentIDs()) - {entry[0] for entry in state}:
            segmentation.RemoveSegment(segment_id)
        for position, (segment_id, segment, image, value, run) in enumerate(state):
            _show(segment, image, value)
            segment.SetTag(RUN_TAG, run)
            if segmentation.GetSegment(segment_id) is None:
                segmentation.AddSegment(segment, segment_id)
            segmentation.SetSegmentIndex(segment_id, position)
