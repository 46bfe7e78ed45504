"""The proposal beside the segmentation: kept, counted against, shown."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import DIFFERENCE, PROPOSAL, parts_of, volume_of
from GenesisSegmentLib.mrml.proposal import proposal_of, proposed_mask
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import (
    LIVER,
    SHAPE,
    SPLEEN,
    add_transform,
    add_volume,
    box_mask,
    masks_of_a_patient,
    segment,
)


def mask(node, segment_id, volume):
    return read_mask(node, segment_id, placement(volume).geometry)


@pytest.fixture
def node(app, scene):
    return segment(scene, add_volume(app, start=(5, 3, -2), transform=add_transform(app)))


def edit_of(box, add=True):
    ones, zeros = np.ones(box.shape, bool), np.zeros(box.shape, bool)
    return Edit(box, ones if add else zeros, zeros if add else ones)


def changed(scene, node):
    scene.count_changes(node.GetID())
    return {s.segment_id: s.changed_voxels for s in scene.segments(node.GetID())}


def test_editing_does_not_change_the_proposal(editor, node):
    editor.write(node, "liver", edit_of(Box((0, 0, 0), SHAPE), add=False))
    np.testing.assert_array_equal(proposed_mask(node, "liver"), masks_of_a_patient()[LIVER])


def test_proposal_is_hidden_from_lists_and_views_and_saved_with_the_scene(node):
    kept = proposal_of(node)
    assert kept.GetHideFromEditors()
    assert not kept.GetDisplayNode().GetVisibility()
    assert kept.GetSaveWithScene()


def test_proposal_holds_only_the_box_of_what_was_found(node):
    extent = proposal_of(node).GetBinaryLabelmapInternalRepresentation("liver_tumor").GetExtent()
    assert extent == (10, 13, 10, 12, 6, 10)


def test_nothing_is_counted_before_it_is_asked_for(scene, node):
    assert {s.changed_voxels for s in scene.segments(node.GetID())} == {None}


def test_changed_voxels_are_counted_for_every_segment(editor, scene, node):
    assert set(changed(scene, node).values()) == {0}
    editor.write(node, "spleen", edit_of(Box((0, 0, 0), (2, 3, 4))))
    editor.write(node, "liver", edit_of(Box((3, 4, 5), (5, 6, 7)), add=False))
    assert changed(scene, node) == {"spleen": 24, "kidney_right": 0, "liver": 8, "liver_tumor": 0}


def test_counts_of_an_older_result_are_forgotten(scene, node):
    assert changed(scene, node)["liver"] == 0
    segment(scene, volume_of(node))
    assert {s.changed_voxels for s in scene.segments(node.GetID())} == {None}


def test_segments_of_the_person_are_not_counted(scene, node):
    node.GetSegmentation().AddEmptySegment("mine", "Mine")
    assert changed(scene, node)["mine"] is None


def test_removed_segment_can_still_be_compared_for_the_others(editor, scene, node):
    node.GetSegmentation().RemoveSegment("liver")
    assert changed(scene, node) == {"spleen": 0, "kidney_right": 0, "liver_tumor": 0}


def test_proposal_of_a_kept_class_stays_when_another_result_comes(editor, scene, node):
    volume = volume_of(node)
    scene.set_locked(node.GetID(), "liver", True)
    other = box_mask(SHAPE, (1, 5), (1, 5), (1, 5))
    segment(scene, volume, {LIVER: other, SPLEEN: other})
    np.testing.assert_array_equal(proposed_mask(node, "liver"), masks_of_a_patient()[LIVER])
    np.testing.assert_array_equal(proposed_mask(node, "spleen"), other)
    assert changed(scene, node)["spleen"] == 0


def test_proposal_can_be_shown_and_hidden(scene, node):
    scene.show_proposal(node.GetID(), True)
    assert proposal_of(node).GetDisplayNode().GetVisibility()
    assert not proposal_of(node).GetDisplayNode().GetVisibility2DFill()
    scene.show_proposal(node.GetID(), False)
    assert not proposal_of(node).GetDisplayNode().GetVisibility()


def test_lost_proposal_is_said(app, scene, node):
    app.scene.RemoveNode(proposal_of(node))
    with pytest.raises(InputError, match="no longer there"):
        scene.show_proposal(node.GetID(), True)
    assert changed(scene, node)["liver"] is None


def test_proposal_of_a_deleted_segmentation_goes_with_the_next_result(app, scene, node):
    volume = volume_of(node)
    other = add_volume(app)
    kept_id = proposal_of(segment(scene, other)).GetID()
    app.scene.RemoveNode(node)
    again = segment(scene, volume)
    proposals = {n.GetID() for n in parts_of(app.scene, volume.GetID(), PROPOSAL)}
    assert proposals == {proposal_of(again).GetID()}
    assert app.scene.GetNodeByID(kept_id)


def test_difference_shows_what_was_added_and_removed_in_place(app, editor, scene, node):
    editor.write(node, "spleen", edit_of(Box((1, 2, 3), (4, 5, 6))))
    editor.write(node, "spleen", edit_of(Box((17, 11, 8), (19, 13, 10)), add=False))
    scene.show_difference(node.GetID(), "spleen")
    scene.show_difference(node.GetID(), "spleen")
    volume = volume_of(node)
    (shown,) = parts_of(app.scene, volume.GetID(), DIFFERENCE)
    np.testing.assert_array_equal(mask(shown, "added", volume), box_mask(SHAPE, (1, 4), (2, 5), (3, 6)))
    np.testing.assert_array_equal(mask(shown, "removed", volume), box_mask(SHAPE, (17, 19), (11, 13), (8, 10)))
    colors = [shown.GetSegmentation().GetSegment(i).GetColor() for i in ("added", "removed")]
    assert colors[0][1] > colors[0][0]
    assert colors[1][0] > colors[1][1]
    assert not shown.GetSaveWithScene()
    scene.hide_difference(node.GetID())
    assert parts_of(app.scene, volume.GetID(), DIFFERENCE) == []


def test_difference_is_made_in_pieces_and_anew_where_something_changes_meanwhile(app, editor, scene, node):
    editor.write(node, "spleen", edit_of(Box((1, 2, 3), (4, 5, 12))))
    volume, work = volume_of(node), scene.showing_difference(node.GetID(), "spleen")
    for _n in range(4):
        next(work)
        assert parts_of(app.scene, volume.GetID(), DIFFERENCE) == []
    editor.write(node, "spleen", edit_of(Box((1, 2, 3), (4, 5, 7)), add=False))
    finished(work)
    (shown,) = parts_of(app.scene, volume.GetID(), DIFFERENCE)
    np.testing.assert_array_equal(mask(shown, "added", volume), box_mask(SHAPE, (1, 4), (2, 5), (7, 12)))


# --- Undo of a run


OTHER = box_mask(SHAPE, (1, 5), (1, 5), (1, 5))


@pytest.fixture
def twice(scene, node):
    """Segmented a second time: another liver, no spleen any more; the kidney was not looked for."""
    segment(scene, volume_of(node), {LIVER: OTHER, SPLEEN: np.zeros(SHAPE, bool)})
    return node


def test_after_undo_of_a_run_segments_are_compared_with_what_was_proposed_for_them(editor, scene, twice):
    editor.write(twice, "liver", edit_of(Box((20, 15, 10), (21, 16, 11))))
    assert changed(scene, twice)["liver"] == 1
    editor.undo()
    editor.undo()
    assert changed(scene, twice) == {"spleen": 0, "kidney_right": 0, "liver": 0, "liver_tumor": 0}
    masks = masks_of_a_patient()
    np.testing.assert_array_equal(proposed_mask(twice, "liver"), masks[LIVER])
    editor.write(twice, "spleen", edit_of(Box((0, 0, 0), (2, 1, 1))))
    scene.reset_to_proposal(twice.GetID(), "spleen")
    np.testing.assert_array_equal(mask(twice, "spleen", volume_of(twice)), masks[SPLEEN])


def test_after_redo_the_last_run_counts_again(editor, scene, twice):
    editor.undo()
    changed(scene, twice)
    editor.logic.Redo()
    assert changed(scene, twice) == {"kidney_right": 0, "liver": 0, "liver_tumor": 0}
    np.testing.assert_array_equal(proposed_mask(twice, "liver"), OTHER)


def test_run_after_undo_can_be_undone_as_well(editor, scene, twice):
    editor.undo()
    segment(scene, volume_of(twice), {LIVER: box_mask(SHAPE, (6, 9), (6, 9), (6, 9))})
    assert changed(scene, twice)["spleen"] == 0
    editor.undo()
    assert set(changed(scene, twice).values()) == {0}
    np.testing.assert_array_equal(proposed_mask(twice, "liver"), masks_of_a_patient()[LIVER])


def test_proposal_that_is_shown_is_that_of_the_run_that_is_seen(editor, scene, twice):
    def shown():
        scene.show_proposal(twice.GetID(), True)
        displays = [n.GetDisplayNode() for n in parts_of(twice.GetScene(), volume_of(twice).GetID(), PROPOSAL)]
        nodes = [display.GetDisplayableNode() for display in displays if display.GetVisibility()]
        return {
            i: mask(n, i, volume_of(twice)).sum()
            for n in nodes
            for i in n.GetSegmentation().GetSegmentIDs()
            if n.GetDisplayNode().GetSegmentVisibility(i)
        }

    assert shown()["liver"] == OTHER.sum()
    assert "spleen" not in shown()
    editor.undo()
    assert shown() == {class_table()[c].slug: m.sum() for c, m in masks_of_a_patient().items()}
    scene.show_proposal(twice.GetID(), False)
    assert not any(
        n.GetDisplayNode().GetVisibility() for n in parts_of(twice.GetScene(), volume_of(twice).GetID(), PROPOSAL)
    )


def test_only_two_proposals_are_kept_and_only_the_last_one_is_saved(scene, twice):
    segment(scene, volume_of(twice), {LIVER: OTHER})
    kept = parts_of(twice.GetScene(), volume_of(twice).GetID(), PROPOSAL)
    assert sorted(bool(n.GetSaveWithScene()) for n in kept) == [False, True]
    assert proposal_of(twice).GetSaveWithScene()
