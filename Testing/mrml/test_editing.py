"""Local writes: masks, overwrite modes, locks and undo, through Slicer's editor logic."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builders import ct_voxels
from editing_builders import ALL, BOX, INSIDE_ONE, NONE, VISIBLE, adding, mask, masks, removing, whole
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.pieces import ALONE, finished
from GenesisSegmentLib.mrml import surfaces
from GenesisSegmentLib.mrml.editing import Edit, editor_node
from GenesisSegmentLib.mrml.nodes import GoneError
from GenesisSegmentLib.mrml.tags import LockedError
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    LIVER,
    RIGHT_KIDNEY,
    SHAPE,
    add_transform,
    add_volume,
    masks_of_a_patient,
    segment,
)


def test_adding_leaves_what_the_segment_has_outside(editor, node):
    before = masks(node)
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] | whole())


def test_removing_leaves_what_the_segment_has_outside(editor, node):
    before = masks(node)
    editor.write(node, "liver", removing())
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] & ~whole())
    for other in ("kidney_right", "spleen", "liver_tumor"):
        np.testing.assert_array_equal(mask(node, other), before[other])


def test_adding_and_removing_is_one_step_of_undo(editor, node):
    before = masks(node)
    inside = np.arange(np.prod(BOX.shape)).reshape(BOX.shape) % 2 == 0
    editor.write(node, "liver", Edit(BOX, inside, ~inside))
    changed = masks(node)
    assert changed["liver"][BOX.slices].tolist() == inside.tolist()
    editor.undo()
    for segment_id, expected in before.items():
        np.testing.assert_array_equal(mask(node, segment_id), expected)
    editor.logic.Redo()
    for segment_id, expected in changed.items():
        np.testing.assert_array_equal(mask(node, segment_id), expected)


def test_each_write_is_a_step_of_its_own(editor, node):
    editor.write(node, "liver", adding())
    after_one = masks(node)
    editor.write(node, "spleen", adding(Box((0, 0, 0), (2, 2, 2))))
    editor.undo()
    for segment_id, expected in after_one.items():
        np.testing.assert_array_equal(mask(node, segment_id), expected)


def test_undo_can_be_that_of_a_widget(app, node):
    from GenesisSegmentLib.mrml.editing import Editor

    saved = []
    Editor(app.segment_editor(), lambda: saved.append("state")).write(node, "liver", adding())
    assert saved == ["state"]


def test_neighbours_are_safe_unless_the_person_chooses_otherwise(editor, node):
    before = masks(node)
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])


def test_overwriting_takes_voxels_from_neighbours(editor, parameters, node):
    before = masks(node)
    parameters.SetOverwriteMode(ALL)
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"] & ~whole())


def test_where_overlap_is_allowed_neighbours_keep_their_voxels(editor, parameters, node):
    before = masks(node)
    parameters.SetOverwriteMode(NONE)
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] | whole())


@pytest.mark.parametrize("mode", [ALL, NONE])
def test_removing_keeps_the_segment_in_the_shared_image(editor, parameters, node, mode):
    before = masks(node)
    parameters.SetOverwriteMode(mode)
    editor.write(node, "liver", removing())
    assert node.GetSegmentation().GetNumberOfLayers() == 2
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] & ~whole())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])


def test_hidden_neighbours_keep_their_voxels_where_only_visible_ones_are_overwritten(editor, parameters, node, scene):
    before = masks(node)
    parameters.SetOverwriteMode(VISIBLE)
    scene.set_visible(node.GetID(), "kidney_right", False)
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])
    scene.set_visible(node.GetID(), "kidney_right", True)
    editor.write(node, "spleen", adding())
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"] & ~whole())


def test_editable_area_limits_what_is_added(editor, parameters, node):
    before = masks(node)
    parameters.SetMaskMode(INSIDE_ONE)
    parameters.SetMaskSegmentID("kidney_right")
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] | (whole() & before["kidney_right"]))


def test_intensity_range_limits_what_is_added_and_removed(app, scene, editor, parameters):
    volume = add_volume(app, transform=add_transform(app), start=(2, 1, 4))
    node = segment(scene, volume)
    before = mask(node, "liver")
    in_range = np.asarray(ct_voxels(SHAPE) >= 40)
    parameters.SetSourceVolumeIntensityMask(True)
    parameters.SetSourceVolumeIntensityMaskRange(40, 3000)
    editor.write(node, "liver", adding())
    added = before | (whole() & in_range)
    np.testing.assert_array_equal(mask(node, "liver"), added)
    editor.write(node, "liver", removing())
    np.testing.assert_array_equal(mask(node, "liver"), added & ~(whole() & in_range))


PROTECTIONS = ["set_locked", "set_reviewed"]


@pytest.mark.parametrize("protect", PROTECTIONS)
@pytest.mark.parametrize("mode", [ALL, VISIBLE])
def test_locked_or_reviewed_neighbour_keeps_its_voxels(editor, parameters, node, scene, mode, protect):
    before = masks(node)
    parameters.SetOverwriteMode(mode)
    getattr(scene, protect)(node.GetID(), "kidney_right", True)
    kept_back = editor.write(node, "liver", adding())
    taken = whole() & before["kidney_right"]
    assert kept_back == taken.sum()
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] | (whole() & ~taken))


def test_overlap_with_a_locked_segment_is_made_where_overlaps_are_allowed(editor, parameters, node, scene):
    before = masks(node)
    parameters.SetOverwriteMode(NONE)
    scene.set_locked(node.GetID(), "liver", True)
    inside = Box((4, 5, 6), (9, 12, 12))
    assert editor.write(node, "liver_tumor", adding(inside)) == 0
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"])
    np.testing.assert_array_equal(mask(node, "liver_tumor"), before["liver_tumor"] | whole(inside))


def test_locked_segment_itself_is_refused(editor, node, scene):
    scene.set_locked(node.GetID(), "liver", True)
    with pytest.raises(LockedError, match="Liver is locked"):
        editor.write(node, "liver", adding())
    scene.set_locked(node.GetID(), "liver", False)
    editor.write(node, "liver", adding())
    assert mask(node, "liver")[BOX.slices].all()


def test_reviewed_segment_itself_is_refused(editor, node, scene):
    editor.write(node, "liver", adding())
    grown = mask(node, "liver")
    scene.set_reviewed(node.GetID(), "liver", True)
    for change in (
        lambda: editor.write(node, "liver", removing()),
        lambda: scene.reset_to_proposal(node.GetID(), "liver"),
    ):
        with pytest.raises(LockedError, match="Liver is marked as reviewed"):
            change()
    np.testing.assert_array_equal(mask(node, "liver"), grown)


@pytest.mark.parametrize("protect", PROTECTIONS)
def test_erasing_inside_a_protected_segment_gives_it_nothing_back(editor, parameters, node, scene, protect):
    before = masks(node)
    parameters.SetMaskMode(INSIDE_ONE)
    parameters.SetMaskSegmentID("spleen")
    getattr(scene, protect)(node.GetID(), "spleen", True)
    editor.write(node, "liver", removing())
    np.testing.assert_array_equal(mask(node, "spleen"), before["spleen"])
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"] & ~whole())
    assert parameters.GetMaskMode() == INSIDE_ONE


def test_erasing_inside_a_segment_takes_nothing_from_a_locked_one_below(editor, parameters, node, scene):
    before = masks(node)
    parameters.SetOverwriteMode(ALL)
    parameters.SetMaskMode(INSIDE_ONE)
    parameters.SetMaskSegmentID("spleen")
    scene.set_locked(node.GetID(), "liver", True)
    editor.write(node, "liver_tumor", removing(Box((0, 0, 0), SHAPE)))
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"])
    assert not mask(node, "liver_tumor").any()


boxes = st.tuples(*[st.tuples(st.integers(0, n - 2), st.integers(1, 8)) for n in SHAPE]).map(
    lambda e: Box(tuple(a for a, _ in e), tuple(min(n, a + size) for (a, size), n in zip(e, SHAPE, strict=True)))
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.tuples(
            st.sampled_from(["spleen", "kidney_right", "liver", "liver_tumor"]),
            boxes,
            st.integers(0, 2**32 - 1),
            st.sampled_from([ALL, VISIBLE, NONE]),
            st.sampled_from([None, "spleen", "kidney_right", "liver"]),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    ),
    locked=st.sets(st.sampled_from(["spleen", "kidney_right", "liver", "liver_tumor"]), min_size=1, max_size=3),
)
def test_no_write_ever_changes_a_voxel_of_a_locked_segment(app, scene, editor, writes, locked):
    app.clear()
    parameters = editor_node(app.scene)
    node = segment(scene, add_volume(app))
    before = masks(node)
    for segment_id in locked:
        scene.set_locked(node.GetID(), segment_id, True)
    for segment_id, box, seed, mode, area, resets in writes:
        parameters.SetOverwriteMode(mode)
        parameters.SetMaskMode(INSIDE_ONE if area else slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        parameters.SetMaskSegmentID(area)
        random = np.random.default_rng(seed).random(box.shape)
        try:
            editor.write(node, segment_id, Edit(box, random > 0.6, random < 0.4))
            if resets:
                scene.reset_to_proposal(node.GetID(), segment_id)
        except LockedError:
            assert segment_id in locked
    for segment_id in locked:
        np.testing.assert_array_equal(mask(node, segment_id), before[segment_id])


@pytest.mark.parametrize("box", [Box((20, 0, 0), (25, 2, 2)), Box((-1, 0, 0), (2, 2, 2)), Box((3, 3, 3), (3, 4, 4))])
def test_change_outside_the_ct_is_refused(editor, node, box):
    before = masks(node)
    with pytest.raises(GeometryError):
        editor.write(node, "liver", adding(box))
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"])


def test_editing_goes_on_after_the_scene_was_closed(app, scene, editor, node):
    editor.write(node, "liver", adding())
    app.scene.Clear(True)
    node = segment(scene, add_volume(app))
    before = masks(node)
    editor.write(node, "liver", adding())
    assert mask(node, "liver")[BOX.slices].all()
    editor.undo()
    np.testing.assert_array_equal(mask(node, "liver"), before["liver"])


def test_closing_a_scene_brings_our_overwrite_mode_back_and_no_choice_of_the_person_is_lost(app, scene, editor, node):
    editor.write(node, "liver", adding())
    editor_node(app.scene).SetOverwriteMode(ALL)
    editor.write(node, "spleen", adding(Box((0, 0, 0), (2, 2, 2))))
    assert editor_node(app.scene).GetOverwriteMode() == ALL
    app.scene.Clear(False)
    node = segment(scene, add_volume(app))
    before = masks(node)
    editor.write(node, "liver", adding())
    assert editor_node(app.scene).GetOverwriteMode() == NONE
    np.testing.assert_array_equal(mask(node, "kidney_right"), before["kidney_right"])


def test_missing_segment_is_refused(editor, node):
    with pytest.raises(GoneError):
        editor.write(node, "gall_bladder", adding())


def test_write_lies_right_when_ct_and_segmentation_have_different_transforms(app, editor, scene):
    volume = add_volume(app, start=(1, 2, 3))
    node = segment(scene, volume)
    place = placement(volume).geometry
    node.HardenTransform()
    volume.SetAndObserveTransformNodeID(add_transform(app).GetID())
    volume.HardenTransform()
    matrix = np.linalg.inv(place.ijk_to_ras @ np.linalg.inv(placement(volume).geometry.ijk_to_ras))
    node.SetAndObserveTransformNodeID(add_transform(app, matrix).GetID())
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER])
    editor.write(node, "liver", adding())
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER] | whole())


# --- reset to the proposal


def test_reset_brings_the_proposal_back_and_can_be_undone(editor, node, scene):
    editor.write(node, "spleen", adding(Box((0, 0, 0), (3, 3, 3))))
    editor.write(node, "spleen", removing(Box((16, 10, 7), (20, 14, 10))))
    edited = mask(node, "spleen")
    scene.reset_to_proposal(node.GetID(), "spleen")
    np.testing.assert_array_equal(mask(node, "spleen"), masks_of_a_patient()[1])
    editor.undo()
    np.testing.assert_array_equal(mask(node, "spleen"), edited)


def half_reset(scene, node, segment_id):
    """A reset that has saved its step of undo, and has written nothing yet."""
    work = scene.resetting(node.GetID(), segment_id)
    for _long in range(2):
        while next(work) is not ALONE:
            pass
    return work


def test_reset_begins_anew_where_somebody_paints_meanwhile(editor, node, scene):
    editor.write(node, "spleen", adding(Box((0, 0, 0), (3, 3, 3))))
    work = half_reset(scene, node, "spleen")
    editor.write(node, "spleen", adding(Box((5, 1, 1), (9, 4, 4))))
    painted = mask(node, "spleen")
    finished(work)
    np.testing.assert_array_equal(mask(node, "spleen"), masks_of_a_patient()[1])
    editor.undo()
    np.testing.assert_array_equal(mask(node, "spleen"), painted)


@pytest.mark.parametrize("protect", PROTECTIONS)
def test_reset_refuses_what_is_protected_meanwhile(editor, node, scene, protect):
    editor.write(node, "spleen", adding(Box((0, 0, 0), (3, 3, 3))))
    painted, work = mask(node, "spleen"), half_reset(scene, node, "spleen")
    getattr(scene, protect)(node.GetID(), "spleen", True)
    with pytest.raises(LockedError):
        finished(work)
    np.testing.assert_array_equal(mask(node, "spleen"), painted)


def test_reset_ends_where_the_segmentation_is_removed_meanwhile(app, editor, node, scene):
    editor.write(node, "spleen", adding(Box((0, 0, 0), (3, 3, 3))))
    work = half_reset(scene, node, "spleen")
    app.scene.RemoveNode(node)
    with pytest.raises(GoneError):
        finished(work)


@pytest.mark.parametrize("protect", PROTECTIONS)
def test_reset_takes_nothing_from_a_locked_or_reviewed_neighbour(editor, parameters, node, scene, protect):
    parameters.SetOverwriteMode(ALL)
    editor.write(node, "kidney_right", adding())
    grown = mask(node, "kidney_right")
    getattr(scene, protect)(node.GetID(), "kidney_right", True)
    scene.reset_to_proposal(node.GetID(), "liver")
    np.testing.assert_array_equal(mask(node, "kidney_right"), grown)
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER] & ~grown)


def test_reset_of_a_locked_or_own_segment_is_refused(editor, node, scene):
    editor.write(node, "liver", adding())
    scene.set_locked(node.GetID(), "liver", True)
    with pytest.raises(LockedError):
        scene.reset_to_proposal(node.GetID(), "liver")
    node.GetSegmentation().AddEmptySegment("mine", "Mine")
    with pytest.raises(InputError, match="No model proposed"):
        scene.reset_to_proposal(node.GetID(), "mine")


def test_reset_of_an_emptied_segment_works(editor, node, scene):
    editor.write(node, "kidney_right", removing(Box((0, 0, 0), SHAPE)))
    assert not mask(node, "kidney_right").any()
    scene.reset_to_proposal(node.GetID(), "kidney_right")
    np.testing.assert_array_equal(mask(node, "kidney_right"), masks_of_a_patient()[RIGHT_KIDNEY])


# --- surfaces


def test_surfaces_are_away_while_editing_until_they_are_asked_for(editor, node, scene):
    scene.update_3d(node.GetID())
    assert surfaces.has_surfaces(node)
    scene.suspend_3d(node.GetID())
    editor.write(node, "liver", adding())
    assert not surfaces.has_surfaces(node)
    assert scene.is_3d_suspended(node.GetID())
    scene.update_3d(node.GetID())
    assert surfaces.has_surfaces(node)
    assert not scene.is_3d_suspended(node.GetID())
    assert node.GetClosedSurfaceInternalRepresentation("liver").GetNumberOfPoints() > 0


def test_surfaces_that_were_not_there_were_not_put_away(node, scene):
    scene.suspend_3d(node.GetID())
    assert not scene.is_3d_suspended(node.GetID())


def test_surfaces_that_somebody_else_made_are_not_put_away_any_more(node, scene):
    scene.update_3d(node.GetID())
    scene.suspend_3d(node.GetID())
    node.CreateClosedSurfaceRepresentation()
    assert not scene.is_3d_suspended(node.GetID())


@pytest.mark.parametrize(
    "show", [lambda scene, node: scene.update_3d(node), lambda scene, node: scene.set_visible(node, "liver", True)]
)
def test_what_is_shown_gets_a_display_where_somebody_removed_it(app, node, scene, show):
    app.scene.RemoveNode(node.GetDisplayNode())
    show(scene, node.GetID())
    assert node.GetDisplayNode().GetSegmentVisibility("liver")


# --- segments on another lattice than the CT
