"""What the tests of local writes share: an edit that reaches over two organs, and masks as the CT's grid has them."""

from __future__ import annotations

import numpy as np
import slicer

from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import SHAPE, box_mask

ALL, VISIBLE, NONE = (
    slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments,
    slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments,
    slicer.vtkMRMLSegmentEditorNode.OverwriteNone,
)
INSIDE_ONE = slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment
BOX = Box((8, 4, 4), (14, 12, 10))
"""Reaches from the liver into the right kidney."""


def mask(node, segment_id):
    return read_mask(node, segment_id, placement(volume_of(node)).geometry)


def masks(node):
    return {i: mask(node, i) for i in node.GetSegmentation().GetSegmentIDs()}


def adding(box=BOX):
    return Edit(box, np.ones(box.shape, bool), np.zeros(box.shape, bool))


def removing(box=BOX):
    return Edit(box, np.zeros(box.shape, bool), np.ones(box.shape, bool))


def whole(box=BOX):
    return box_mask(SHAPE, *zip(box.start, box.stop, strict=True))
