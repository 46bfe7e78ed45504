"""Tells cheaply whether anything changed that a count over all voxels depends on. VTK never gives a time twice."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from .nodes import volume_of
from .tags import class_of
from .volumes import parent_to_world, placement
from .writing import binary, segments_of


def voxels_version(node: Any) -> Hashable:
    """Another value whenever segments, their names, their voxels or the place of these on the CT are others."""
    grid = placement(volume_of(node)).geometry
    return grid.shape, grid.ijk_to_ras.tobytes(), parent_to_world(node).tobytes(), _segments(node)


def changes_version(node: Any, proposed: Any | None) -> Hashable:
    """Another value whenever :func:`voxels_version` is, or what was proposed, or the voxels of the CT."""
    return (
        voxels_version(node),
        _segments(proposed) if proposed is not None else (),
        _time(volume_of(node).GetImageData()),
    )


def _segments(node: Any) -> Hashable:
    return tuple(
        (i, s.GetName(), class_of(i, s), s.GetLabelValue(), _time(s.GetRepresentation(binary())))
        for i, s in segments_of(node)
    )


def _time(image: Any | None) -> Hashable:
    if image is None:
        return ()
    scalars = image.GetPointData().GetScalars()
    return image.GetMTime(), scalars.GetMTime() if scalars is not None else 0
