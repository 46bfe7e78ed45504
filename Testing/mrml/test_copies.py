"""What people copy is theirs: clones of a segmentation, and duplicates of a segment."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.workflow.ports import SceneParameters
from GenesisSegmentLib.mrml.nodes import volume_of
from GenesisSegmentLib.mrml.proposal import proposal_of
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.table import table_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import LIVER, SHAPE, SPLEEN, add_volume, box_mask, masks_of_a_patient, segment

OTHER_LIVER = box_mask(SHAPE, (1, 5), (2, 9), (3, 7))


def mask(node, segment_id):
    return read_mask(node, segment_id, placement(volume_of(node)).geometry)


@pytest.fixture
def node(app, scene):
    return segment(scene, add_volume(app))


def cloned(app, node):
    """As the Data module clones."""
    copy = slicer.vtkMRMLSegmentationNode()
    copy.Copy(node)
    return app.scene.AddNode(copy)


def duplicate(node, segment_id):
    copy = slicer.vtkSegment()
    copy.DeepCopy(node.GetSegmentation().GetSegment(segment_id))
    copy_id = node.GetSegmentation().GenerateUniqueSegmentID(segment_id)
    node.GetSegmentation().AddSegment(copy, copy_id)
    return copy_id


def test_clone_is_the_persons_own_and_shares_nothing(app, scene, node):
    kept, table = proposal_of(node), table_of(node)
    clone = cloned(app, node)
    before = {i: mask(clone, i) for i in clone.GetSegmentation().GetSegmentIDs()}
    volume = volume_of(node)
    assert scene.segmentation_of(volume.GetID()) == node.GetID()
    assert (proposal_of(clone), table_of(clone)) == (None, None)
    assert segment(scene, volume, {LIVER: OTHER_LIVER, SPLEEN: masks_of_a_patient()[SPLEEN]}) is node
    assert (proposal_of(node), table_of(node)) == (kept, table)
    np.testing.assert_array_equal(mask(node, "liver"), OTHER_LIVER)
    for segment_id, expected in before.items():
        np.testing.assert_array_equal(mask(clone, segment_id), expected)


def test_clone_is_told_from_its_original_after_the_scene_was_opened_again(app, scene, node, tmp_path):
    cloned(app, node).SetName("Second reading")
    name = node.GetName()
    assert app.save_bundle(tmp_path / "case.mrb")
    app.clear()
    assert app.load_bundle(tmp_path / "case.mrb")
    volume = app.scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    assert app.scene.GetNodeByID(scene.segmentation_of(volume.GetID())).GetName() == name


def test_clone_takes_the_place_of_an_original_that_was_deleted(app, scene, node):
    volume, clone = volume_of(node), cloned(app, node)
    app.scene.RemoveNode(node)
    assert scene.segmentation_of(volume.GetID()) == clone.GetID()
    assert proposal_of(clone) is not None


def test_segmentation_that_the_parameters_name_is_gone_on_with(app, scene, node):
    volume = volume_of(node)
    second = cloned(app, node)
    second.SetNodeReferenceID("GenesisSegment.Proposal", None)
    assert scene.segmentation_of(volume.GetID()) == second.GetID()
    scene.save_parameters(SceneParameters(volume.GetID(), node.GetID()))
    assert scene.segmentation_of(volume.GetID()) == node.GetID()


def test_first_result_is_kept_with_the_parameters_of_its_volume_alone(app, scene):
    chosen, other = add_volume(app), add_volume(app)
    scene.save_parameters(SceneParameters(chosen.GetID(), None, (6,)))
    segment(scene, other)
    assert scene.load_parameters().segmentation_id is None
    node = segment(scene, chosen)
    assert scene.load_parameters() == SceneParameters(chosen.GetID(), node.GetID(), (6,))


@pytest.mark.parametrize("position", ["last", "first"])
def test_duplicate_of_a_segment_is_the_persons_own(scene, node, position):
    copy_id = duplicate(node, "liver")
    if position == "first":
        node.GetSegmentation().SetSegmentIndex(copy_id, 0)
    classes = {s.segment_id: s.class_index for s in scene.segments(node.GetID())}
    assert (classes["liver"], classes[copy_id]) == (LIVER, 0)
    with pytest.raises(InputError, match="No model proposed"):
        scene.reset_to_proposal(node.GetID(), copy_id)
    scene.count_changes(node.GetID())
    changed = {s.segment_id: s.changed_voxels for s in scene.segments(node.GetID())}
    assert (changed["liver"], changed[copy_id]) == (0, None)


@pytest.mark.parametrize("protect", ["set_locked", "set_reviewed"])
def test_protected_duplicate_does_not_keep_its_original_from_being_segmented_again(scene, node, protect):
    copy_id = duplicate(node, "liver")
    getattr(scene, protect)(node.GetID(), copy_id, True)
    segment(scene, volume_of(node), {LIVER: OTHER_LIVER})
    np.testing.assert_array_equal(mask(node, "liver"), OTHER_LIVER)
    np.testing.assert_array_equal(mask(node, copy_id), masks_of_a_patient()[LIVER])


def test_original_that_is_locked_stays_though_its_duplicate_is_free(scene, node):
    duplicate(node, "liver")
    scene.set_locked(node.GetID(), "liver", True)
    segment(scene, volume_of(node), {LIVER: OTHER_LIVER})
    np.testing.assert_array_equal(mask(node, "liver"), masks_of_a_patient()[LIVER])
