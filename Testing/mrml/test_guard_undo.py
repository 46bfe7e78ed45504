"""Undo and Redo go on from where protected segments were put right, and from where the person set a mark."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.core.workflow.ports import Guarded
from GenesisSegmentLib.mrml.arrays import label_image
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import box_mask, overwriting
from scene_fakes import FakeClock
from workflow_fakes import FakeSettings, FakeSetup, ScriptedWorker

NOTHING = Guarded()
STROKES = {"far": ((0, 3), (17, 20), (0, 3)), "over": ((9, 14), (5, 8), (3, 7)), "corner": ((0, 3), (0, 3), (0, 3))}
"""The second takes voxels of the right kidney."""


@pytest.fixture
def node(scene, editor, volume):
    return overwriting(scene, editor, volume)


@pytest.fixture
def paint(editor, node, volume):
    def stroke(name, segment_id="liver"):
        place = placement(volume)
        editor.logic.SaveStateForUndo()
        image = label_image(box_mask(place.shape, *STROKES[name]), place.matrix, place.start)
        editor.logic.ModifySegmentByLabelmap(node, segment_id, image, editor.logic.ModificationModeAdd, False, False)

    return stroke


@pytest.fixture
def mask(node, volume):
    return lambda segment_id: read_mask(node, segment_id, placement(volume).geometry)


def test_undo_and_redo_go_through_states_in_which_a_protected_segment_must_be_put_right(
    scene, editor, node, paint, mask
):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    kidney, livers = mask("kidney_right"), [mask("liver")]
    for name in STROKES:
        paint(name)
        livers.append(mask("liver"))
    assert scene.guard(node.GetID()) == Guarded(("Right Kidney",))
    for step, expected in ((editor.logic.Undo, livers[2::-1]), (editor.logic.Redo, livers[1:])):
        for liver in expected:
            step()
            assert scene.guard(node.GetID()).unmarked == ()
            np.testing.assert_array_equal(mask("liver"), liver)
            np.testing.assert_array_equal(mask("kidney_right"), kidney)


@pytest.mark.parametrize("is_ended", [False, True])
def test_undo_after_quick_strokes_over_a_locked_neighbour_keeps_its_lock_and_its_voxels(
    scene, editor, node, volume, paint, mask, is_ended
):
    clock = FakeClock()
    controller = Controller(scene, ScriptedWorker(), FakeSetup(), FakeSettings(), clock)

    def rest():
        for _ in range(60):
            clock.now += 0.1
            controller.tick()

    controller.start()
    controller.choose_volume(volume.GetID())
    controller.edit(True)
    controller.set_locked("kidney_right", True)
    rest()
    kidney, livers = mask("kidney_right"), [mask("liver")]
    for name in STROKES:
        paint(name)
        controller.segmentation_edited(("Paint",))
        livers.append(mask("liver"))
    rest()
    controller.edit(not is_ended)
    rest()
    for liver in livers[2::-1]:
        editor.logic.Undo()
        controller.undone(True)
        rest()
        np.testing.assert_array_equal(mask("liver"), liver)
        np.testing.assert_array_equal(mask("kidney_right"), kidney)
        assert [row.is_locked for row in scene.segments(node.GetID()) if row.segment_id == "kidney_right"] == [True]
        assert controller.view.correct.redo.is_enabled


@pytest.mark.parametrize("mark", ["set_locked", "set_reviewed"])
@pytest.mark.parametrize("is_on", [True, False])
def test_what_was_undone_can_be_made_again_after_a_mark_was_set_or_taken_away(
    scene, editor, node, paint, mask, mark, is_on
):
    getattr(scene, mark)(node.GetID(), "spleen", not is_on)
    scene.guard(node.GetID())
    paint("far")
    painted = mask("liver")
    editor.undo()
    scene.guard(node.GetID())
    getattr(scene, mark)(node.GetID(), "spleen", is_on)
    scene.guard(node.GetID())
    editor.logic.Redo()
    np.testing.assert_array_equal(mask("liver"), painted)
    assert scene.guard(node.GetID()) == NOTHING
    row = next(row for row in scene.segments(node.GetID()) if row.segment_id == "spleen")
    assert (row.is_locked, row.is_reviewed) == ((is_on, False) if mark == "set_locked" else (False, is_on))


def test_lists_hear_of_a_mark_and_slicer_offers_to_save_it(app, scene, node, tmp_path):
    storage = app.scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(tmp_path / "saved.seg.nrrd"))
    node.SetAndObserveStorageNodeID(storage.GetID())
    assert storage.WriteData(node)
    assert not node.GetModifiedSinceRead()
    told = []
    node.AddObserver(slicer.vtkSegmentation.SegmentModified, lambda *_arguments: told.append(True))
    scene.set_locked(node.GetID(), "liver", True)
    assert told
    assert node.GetModifiedSinceRead()


def test_views_hear_that_a_segment_was_put_back(scene, node, paint):
    scene.set_locked(node.GetID(), "kidney_right", True)
    scene.guard(node.GetID())
    paint("over")
    told = []
    node.AddObserver(slicer.vtkSegmentation.SourceRepresentationModified, lambda *_arguments: told.append(True))
    assert scene.guard(node.GetID()) == Guarded(("Right Kidney",))
    assert told
