"""Classes that are finished while others still run: shown early, in a node of their own that the result replaces.

The segmentation itself stays untouched until the run has ended well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from ..core.classes import class_table
from ..core.errors import GeometryError
from ..core.geometry import Box
from ..core.i18n import _
from .arrays import label_image
from .nodes import PARTIAL, hide_from_lists, modifying, parts_of, remove_node
from .tags import describe
from .volumes import placement
from .writing import binary, create_node


def show_partial(scene: Any, volume: Any, index: int, box: Box, mask: np.ndarray) -> Any:
    """Shows one class; returns the node that holds the early classes of this volume.

    Args:
        scene: the MRML scene.
        volume: node of the CT.
        index: class index.
        box: where ``mask`` lies, with the first voxel of the CT as (0, 0, 0).
        mask: boolean or 0 and 1, (i, j, k) of the box.

    Raises:
        GeometryError: the mask has not the shape of the box, or the box leaves the CT.
    """
    place = placement(volume)
    inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, place.shape, strict=True))
    if mask.shape != box.shape or not inside:
        raise GeometryError(_("An early class does not fit the CT."), _("Segment the CT again."))
    start = tuple(a + s for a, s in zip(box.start, place.start, strict=True))
    image = label_image(mask, place.matrix, start)  # type: ignore[arg-type]
    found = parts_of(scene, volume.GetID(), PARTIAL)
    node = found[0] if found else _create(scene, volume)
    structure = class_table()[index]
    segment = slicer.vtkSegment()
    describe(segment, structure)
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
