"""Locked and reviewed segments keep their voxels and their marks, whatever Slicer's own tools and its undo do."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.core.workflow.ports import Guarded
from GenesisSegmentLib.mrml.arrays import label_image, voxels
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import SHAPE, SPLEEN, box_mask, masks_of_a_patient, overwriting, segment

NOTHING = Guarded()
STROKE = ((9, 14), (5, 8), (3, 7))
FAR = ((0, 2), (17, 20), (0, 2))
"""Touches no segment."""


@pytest.fixture
def node(scene, editor, volume):
    return overwriting(scene, editor, volume)


def paint(editor, node, volume, segment_id="liver", stroke=STROKE):
    """What a brush of Slicer does."""
    place = placement(volume)
    editor.logic.SaveStateForUndo()
    image = label_image(box_mask(place.shape, *stroke), place.matrix, place.start)
    editor.logic.ModifySegmentByLabelmap(node, segment_id, image, editor.logic.ModificationModeAdd, False, False)


def mask(node, volume, segment_id):
    return read_mask(node, segment_id, placement(volume).geometry)


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_what_a_brush_took_from_a_protected_segment_is_put_back(scene, editor, node, volume, protect):
    getattr(scene, protect)(node.GetID(), "kidney_right", True)
    assert scene.guard(node.GetID()) == NOTHING
    before, others = mask(node, volume, "kidney_right"), mask(node, volume, "spleen")
    paint(editor, node, volume)
    assert (mask(node, volume, "kidney_right") != before).any(), "Slicer's brush does not know of locks"
    painted = mask(node, volume, "liver")
    assert scene.guard(node.GetID()).put_back == ("Right Kidney",)
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)
    np.testing.assert_array_equal(mask(node, volume, "liver"), painted)
    np.testing.assert_array_equal(mask(node, volume, "spleen"), others)
    assert scene.guard(node.GetID()) == NOTHING


def test_what_a_brush_added_to_a_locked_segment_is_taken_away(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume, "kidney_right")
    assert scene.guard(node.GetID()).put_back == ("Right Kidney",)
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)


def test_undo_after_that_brings_all_segments_back(scene, editor, node, volume):
    ids = ("liver", "kidney_right", "spleen")
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    before = {i: mask(node, volume, i) for i in ids}
    paint(editor, node, volume)
    scene.guard(node.GetID())
    editor.undo()
    assert scene.guard(node.GetID()) == NOTHING
    for i in ids:
        np.testing.assert_array_equal(mask(node, volume, i), before[i])


def test_protected_segments_are_remembered_anew_where_the_ct_was_moved_or_the_scene_closed(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    paint(editor, node, volume)
    changed = mask(node, volume, "kidney_right")
    scene.forget_guarded()
    assert scene.guard(node.GetID()) == NOTHING
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), changed)
    volume.SetAndObserveTransformNodeID(None)
    image = node.GetSegmentation().GetSegment("kidney_right").GetRepresentation("Binary labelmap")
    before = voxels(image).copy()
    assert scene.guard(node.GetID()) == NOTHING
    np.testing.assert_array_equal(voxels(image), before)


def test_unlocked_segment_can_be_changed(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    scene.set_locked(node.GetID(), "kidney_right", False)
    assert scene.guard(node.GetID()) == NOTHING
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume)
    assert scene.guard(node.GetID()) == NOTHING
    assert (mask(node, volume, "kidney_right") != before).any()


def marks(scene, node):
    """Of the segments that have any: whether they are locked, and reviewed."""
    rows = scene.segments(node.GetID())
    return {r.segment_id: (r.is_locked, r.is_reviewed) for r in rows if r.is_locked or r.is_reviewed}


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_what_was_added_far_from_a_protected_segment_is_taken_away(scene, editor, node, volume, protect):
    getattr(scene, protect)(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    before = {i: mask(node, volume, i) for i in ("kidney_right", "spleen", "liver")}
    paint(editor, node, volume, "kidney_right", FAR)
    assert mask(node, volume, "kidney_right")[0, 17, 0], "Slicer's brush does not know of locks"
    assert scene.guard(node.GetID()) == Guarded(("Right Kidney",))
    for segment_id, expected in before.items():
        np.testing.assert_array_equal(mask(node, volume, segment_id), expected)
    assert scene.guard(node.GetID()) == NOTHING


def test_empty_segment_that_is_locked_stays_empty(scene, editor, node, volume):
    node.GetSegmentation().AddEmptySegment("own", "Own")
    scene.set_locked(node.GetID(), "own", True)
    scene.guard(node.GetID())
    paint(editor, node, volume, "own")
    assert scene.guard(node.GetID()) == Guarded(("Own",))
    assert not mask(node, volume, "own").any()


# --- Undo


def test_marks_set_after_a_step_survive_its_undo_and_redo(scene, editor, node, volume):
    before = mask(node, volume, "kidney_right")
    paint(editor, node, volume, stroke=FAR)
    painted = mask(node, volume, "liver")
    scene.set_reviewed(node.GetID(), "kidney_right", True)
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    scene.set_locked(node.GetID(), "spleen", True)
    expected = {"kidney_right": (True, True), "spleen": (True, False)}
    scene.guard(node.GetID())
    for is_undo in (True, False, True):
        editor.undo() if is_undo else editor.logic.Redo()
        if is_undo:
            assert marks(scene, node) == {}, "Slicer's undo brings the old tags back"
        assert scene.guard(node.GetID()) == NOTHING
        assert marks(scene, node) == expected
        assert (mask(node, volume, "liver") == painted).all() != is_undo
    paint(editor, node, volume)
    assert scene.guard(node.GetID()) == Guarded(("Right Kidney",))
    np.testing.assert_array_equal(mask(node, volume, "kidney_right"), before)


def test_undo_of_a_change_of_the_segment_itself_takes_its_marks_until_redo(scene, editor, node, volume):
    paint(editor, node, volume, "spleen", FAR)
    scene.set_reviewed(node.GetID(), "spleen", True)
    scene.set_locked(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    reviewed = mask(node, volume, "spleen")
    editor.undo()
    assert scene.guard(node.GetID()) == Guarded(unmarked=("Spleen",))
    assert marks(scene, node) == {"liver": (True, False)}
    assert not (mask(node, volume, "spleen") == reviewed).all(), "what undo did stays done"
    assert scene.guard(node.GetID()) == NOTHING
    editor.logic.Redo()
    assert scene.guard(node.GetID()) == NOTHING
    assert marks(scene, node) == {"liver": (True, False), "spleen": (False, True)}
    np.testing.assert_array_equal(mask(node, volume, "spleen"), reviewed)


def test_undo_of_a_mark_that_nobody_could_look_at_yet_is_told(scene, editor, node, volume):
    paint(editor, node, volume, stroke=FAR)
    scene.set_reviewed(node.GetID(), "spleen", True)
    editor.undo()
    assert scene.guard(node.GetID()) == Guarded(unmarked=("Spleen",))


def test_undo_marks_nothing_that_the_person_freed(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "spleen", True)
    scene.set_reviewed(node.GetID(), "liver", True)
    scene.guard(node.GetID())
    paint(editor, node, volume, "kidney_right", FAR)
    scene.set_locked(node.GetID(), "spleen", False)
    scene.set_reviewed(node.GetID(), "liver", False)
    scene.guard(node.GetID())
    editor.undo()
    assert marks(scene, node) == {"spleen": (True, False), "liver": (False, True)}, "Slicer's undo brings them back"
    assert scene.guard(node.GetID()) == NOTHING
    assert marks(scene, node) == {}


def test_status_set_in_slicers_own_table_survives_undo(scene, editor, node, volume):
    scene.set_locked(node.GetID(), "spleen", True)
    scene.guard(node.GetID())
    paint(editor, node, volume, stroke=FAR)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for segment_id in ("kidney_right", "spleen"):
        logic.SetSegmentStatus(node.GetSegmentation().GetSegment(segment_id), logic.Completed)
    scene.guard(node.GetID())
    editor.undo()
    assert scene.guard(node.GetID()) == NOTHING
    assert marks(scene, node) == {"kidney_right": (False, True), "spleen": (True, True)}


def test_undo_of_a_run_takes_the_marks_of_what_the_run_changed_alone(scene, editor, node, volume):
    masks = {**masks_of_a_patient(), SPLEEN: box_mask(SHAPE, (17, 20), (11, 14), (8, 11))}
    segment(scene, volume, masks)
    for segment_id in ("spleen", "liver", "kidney_right"):
        scene.set_reviewed(node.GetID(), segment_id, True)
    scene.guard(node.GetID())
    editor.undo()
    assert scene.guard(node.GetID()) == Guarded(unmarked=("Spleen",))
    assert marks(scene, node) == {"liver": (False, True), "kidney_right": (False, True)}


def test_segment_that_was_deleted_is_told_and_marked_again_when_it_is_back(scene, editor, node, volume):
    scene.set_reviewed(node.GetID(), "spleen", True)
    scene.guard(node.GetID())
    editor.logic.SaveStateForUndo()
    node.GetSegmentation().RemoveSegment("spleen")
    assert scene.guard(node.GetID()) == Guarded(unmarked=("Spleen",))
    assert scene.guard(node.GetID()) == NOTHING
    editor.undo()
    assert scene.guard(node.GetID()) == NOTHING
    assert marks(scene, node) == {"spleen": (False, True)}


def test_work_of_others_on_a_protected_segment_can_be_had_back_by_undo(scene, editor, node, volume):
    for segment_id in ("liver", "spleen"):
        scene.set_locked(node.GetID(), segment_id, True)
    scene.guard(node.GetID())
    before, empty = mask(node, volume, "liver"), np.zeros(SHAPE, np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(empty.T, node, "liver", volume)
    assert scene.guard(node.GetID(), is_in_editor=False) == Guarded(("Liver",), can_undo=True)
    np.testing.assert_array_equal(mask(node, volume, "liver"), before)
    editor.undo()
    for _look in range(2):
        report = scene.guard(node.GetID(), is_in_editor=False)
        assert report == (NOTHING if _look else Guarded(unmarked=("Liver",)))
        assert not mask(node, volume, "liver").any()
        assert marks(scene, node) == {"spleen": (True, False)}
