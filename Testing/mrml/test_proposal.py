"""The proposal beside the segmentation: kept, counted against, shown."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box
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
    scene.show_difference(node.GetID(), None)
    assert parts_of(app.scene, volume.GetID(), DIFFERENCE) == []
