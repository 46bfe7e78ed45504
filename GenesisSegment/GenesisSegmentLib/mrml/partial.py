"""Classes that are finished while others still run: shown early, in a node of their own that the result replaces.

The segmentation itself stays untouched until the run has ended well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from ..core.errors import GeometryError
from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import Pieces
from .arrays import copying_labels
from .nodes import PARTIAL, hide_from_lists, modifying, parts_of, remove_node
from .tags import describe
from .volumes import placement
from .writing import binary, create_node

_PIECE_VOXELS = 1 << 20
"""Voxels that are copied at a time, at least one plane: a millisecond or two."""


def early_image(volume: Any, box: Box, mask: np.ndarray) -> Pieces[Any]:
    """The image of one class at its place on the CT; nothing of it is in the scene.

    Args:
        volume: node of the CT.
        box: where ``mask`` lies, with the first voxel of the CT as (0, 0, 0).
        mask: boolean or 0 and 1, (i, j, k) of the box; looked at piece by piece.

    Raises:
        GeometryError: the mask has not the shape of the box, or the box leaves the CT.
    """
    place = placement(volume)
    inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, place.shape, strict=True))
    if mask.shape != box.shape or not inside:
        raise GeometryError(_("An early class does not fit the CT."), _("Segment the CT again."))
    i, j, k = (a + s for a, s in zip(box.start, place.start, strict=True))
    return (yield from copying_labels(mask, place.matrix, (i, j, k), _PIECE_VOXELS // mask[..., 0].size))


def show_partial(scene: Any, volume: Any, index: int, image: Any, taught: str = "") -> Any:
    """Shows one class, as an image of :func:`early_image`; returns the node of the early classes of this volume.

    ``taught`` is the name of a class from 33 on.
    """
    found = parts_of(scene, volume.GetID(), PARTIAL)
    node = found[0] if found else _create(scene, volume)
    segment = slicer.vtkSegment()
    structure = describe(segment, index, taught)
    segment.SetLabelValue(1)
    segment.AddRepresentation(binary(), image)
    segmentation = node.GetSegmentation()
    with modifying(node):
        if segmentation.GetSegment(structure.slug) is not None:
            segmentation.RemoveSegment(structure.slug)
        segmentation.AddSegment(segment, structure.slug)
    return node


def discard_partials(scene: Any, volume_id: str) -> None:
    """Takes the early classes of a volume away."""
    for node in parts_of(scene, volume_id, PARTIAL):
        remove_node(node)


def _create(scene: Any, volume: Any) -> Any:
    node = create_node(scene, volume, _("{name} (in progress)").format(name=volume.GetName()), PARTIAL)
    node.SetSaveWithScene(False)
    hide_from_lists(node)
    return node
