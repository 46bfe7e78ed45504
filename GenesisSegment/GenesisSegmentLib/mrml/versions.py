"""Tells cheaply whether anything changed that a count over all voxels depends on. VTK never gives a time twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .nodes import EARLIER_ROLE, PROPOSAL_ROLE, volume_of
from .tags import RUN_TAG, class_of, tag_of
from .volumes import parent_to_world, placement
from .writing import binary, segments_of


def voxels_version(node: Any) -> Hashable:
    """Another value whenever segments, their names, their voxels or the place of these on the CT are others."""
    grid = placement(volume_of(node)).geometry
    return grid.shape, grid.ijk_to_ras.tobytes(), parent_to_world(node).tobytes(), _segments(node)


def changes_version(node: Any) -> Hashable:
    """Another value whenever :func:`voxels_version` is, or what was proposed, or the voxels of the CT."""
    proposals = (node.GetNodeReference(role) for role in (PROPOSAL_ROLE, EARLIER_ROLE))
    return (
        voxels_version(node),
        tuple(_segments(kept) for kept in proposals if kept is not None),
        _time(volume_of(node).GetImageData()),
    )


def image_version(segment: Any) -> tuple[Hashable, ...]:
    """Another value whenever the image of a segment, or its label there, is another."""
    return segment.GetLabelValue(), _time(segment.GetRepresentation(binary()))


def _segments(node: Any) -> Hashable:
    return tuple((i, s.GetName(), class_of(i, s), tag_of(s, RUN_TAG), *image_version(s)) for i, s in segments_of(node))


def _time(image: Any | None) -> Hashable:
    if image is None:
        return ()
    scalars = image.GetPointData().GetScalars()
    return image.GetMTime(), scalars.GetMTime() if scalars is not None else 0
