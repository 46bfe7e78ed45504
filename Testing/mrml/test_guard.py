"""Locked and reviewed segments keep their voxels, whatever Slicer's own brushes are told to overwrite."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.mrml.arrays import label_image, voxels
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import add_transform, add_volume, box_mask, segment

STROKE = ((9, 14), (5, 8), (3, 7))


@pytest.fixture
def volume(app):
    return add_volume(app, start=(3, -2, 5), transform=add_transform(app))


@pytest.fixture
def node(scene, editor, volume):
    """Liver beside a right kidney, in an editor that overwrites all segments."""
    node = segment(scene, volume)
    editor.work_on(node)
    editor.logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    return node


def paint(editor, node, volume, segment_id="liver"):
    """What a brush of Slicer does."""
    place = placement(volume)
    editor.logic.SaveStateForUndo()
    image = label_image(box_mask(place.shape, *STROKE), place.matrix, place.start)
    editor.logic.ModifySegmentByLabelmap(node, segment_id, image, editor.logic.ModificationModeAdd, False, False)


def mask(node, volume, segment_id):
    return read_mask(node, segment_id, placement(volume).geometry)


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_what_a_brush_took_from_a_protected_segment_is_put_back(scene, editor, node, volume, protect):
    getattr(scene, protect)(node.GetID(), "kidney_right", True)
    assert scene.guard(node.GetID()) == ()
    before, others = mask(node, volume, "kidney_right"), mask(node, volume, "spleen")
    paint(editor, node, volume)
    assert (mask(node, volume, "kidney_right") != before).any(), "Slicer's brush does not know of locks"
    painted = mask(node, volume, "liver")
    assert scene.guard(node.GetID()) == ("Right Kidney",)
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)
    np.testing.assert_array_equal(mask(node, volume, "liver"), painted)
    np.testing.assert_array_equal(mask(node, volume, "spleen"), others)
    assert scene.guard(node.GetID()) == ()


def test_what_a_brush_added_to_a_locked_segment_is_taken_away(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume, "kidney_right")
    assert scene.guard(node.GetID()) == ("Right Kidney",)
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)


def test_undo_after_that_brings_all_segments_back(scene, editor, node, volume):
    ids = ("liver", "kidney_right", "spleen")
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    before = {i: mask(node, volume, i) for i in ids}
    paint(editor, node, volume)
    scene.guard(node.GetID())
    editor.undo()
    assert scene.guard(node.GetID()) == ()
    for i in ids:
        np.testing.assert_array_equal(mask(node, volume, i), before[i])


def test_protected_segments_are_remembered_anew_where_the_ct_was_moved_or_the_scene_closed(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    paint(editor, node, volume)
    changed = mask(node, volume, "kidney_right")
    scene.forget_guarded()
    assert scene.guard(node.GetID()) == ()
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), changed)
    volume.SetAndObserveTransformNodeID(None)
    image = node.GetSegmentation().GetSegment("kidney_right").GetRepresentation("Binary labelmap")
    before = voxels(image).copy()
    assert scene.guard(node.GetID()) == ()
    np.testing.assert_array_equal(voxels(image), before)


def test_unlocked_segment_can_be_changed(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    scene.set_locked(node.GetID(), "kidney_right", False)
    assert scene.guard(node.GetID()) == ()
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume)
    assert scene.guard(node.GetID()) == ()
    assert (mask(node, volume, "kidney_right") != before).any()
