"""A scene that is saved, closed and opened again can be gone on with."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.terminology import terminology_entry
from GenesisSegmentLib.core.workflow.ports import SceneParameters
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import nodes_of, volume_of
from GenesisSegmentLib.mrml.proposal import proposal_of, proposed_mask
from GenesisSegmentLib.mrml.reading import read_segmentation
from GenesisSegmentLib.mrml.table import cells_of, table_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import LIVER, SHAPE, add_transform, add_volume, masks_of_a_patient, segment

BOX = Box((0, 0, 0), (3, 3, 3))


@pytest.fixture
def reopened(app, scene, editor, tmp_path):
    """A scene with an edited, locked, reviewed segmentation, after saving as MRB, closing and opening."""
    volume = add_volume(app, start=(5, 3, 2), transform=add_transform(app), name="Abdomen")
    node = segment(scene, volume)
    editor.write(node, "spleen", Edit(BOX, np.ones(BOX.shape, bool), np.zeros(BOX.shape, bool)))
    scene.set_locked(node.GetID(), "liver", True)
    scene.set_reviewed(node.GetID(), "spleen", True)
    scene.update_3d(node.GetID())
    scene.suspend_3d(node.GetID())
    scene.save_parameters(SceneParameters(volume.GetID(), node.GetID(), (6, 27), (27, 6)))
    bits = read_segmentation(node, placement(volume).geometry).bits
    path = tmp_path / "case.mrb"
    assert app.save_bundle(path)
    app.clear()
    assert nodes_of(app.scene, "vtkMRMLSegmentationNode") == []
    assert app.load_bundle(path)
    (loaded,) = (n for n in nodes_of(app.scene, "vtkMRMLSegmentationNode") if proposal_of(n))
    return loaded, bits


def test_voxels_and_place_are_the_same(reopened):
    node, bits = reopened
    np.testing.assert_array_equal(read_segmentation(node, placement(volume_of(node)).geometry).bits, bits)


def test_ids_terminology_locks_and_ticks_are_the_same(reopened, scene):
    node, _ = reopened
    states = {s.segment_id: s for s in scene.segments(node.GetID())}
    assert list(states) == ["spleen", "kidney_right", "liver", "liver_tumor"]
    assert [s.is_locked for s in states.values()] == [False, False, True, False]
    assert [s.is_reviewed for s in states.values()] == [True, False, False, False]
    for state in states.values():
        structure = class_table()[state.class_index]
        entry = node.GetSegmentation().GetSegment(state.segment_id).GetTerminology()
        assert entry == terminology_entry(structure)
        assert state.color == structure.color


def test_proposal_table_and_parameters_are_there(reopened, scene):
    node, _ = reopened
    np.testing.assert_array_equal(proposed_mask(node, "liver"), masks_of_a_patient()[LIVER])
    assert proposal_of(node).GetHideFromEditors()
    scene.count_changes(node.GetID())
    assert [s.changed_voxels for s in scene.segments(node.GetID())] == [27, 0, 0, 0]
    _titles, spleen, liver = cells_of(table_of(node).GetTable())
    assert (spleen[0], spleen[-1], liver[0], liver[-1]) == ("Spleen", "Changed by hand.", "Liver", "")
    kept = scene.load_parameters()
    assert kept == SceneParameters(volume_of(node).GetID(), node.GetID(), (6, 27), (27, 6))
    assert scene.segmentation_of(volume_of(node).GetID()) == node.GetID()


def test_surfaces_that_were_put_away_for_editing_can_be_asked_for(reopened, scene):
    node, _ = reopened
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert scene.is_3d_suspended(node.GetID())


def test_nodes_that_could_not_be_read_are_not_among_the_parameters(scene):
    scene.save_parameters(SceneParameters("vtkMRMLScalarVolumeNode9", "vtkMRMLSegmentationNode9", (6, 27), (27, 6)))
    assert scene.load_parameters() == SceneParameters(None, None, (6, 27), (27, 6))


def test_correction_goes_on_with_undo(reopened, editor, scene):
    node, bits = reopened
    grid = placement(volume_of(node)).geometry
    editor.write(node, "kidney_right", Edit(BOX, np.ones(BOX.shape, bool), np.zeros(BOX.shape, bool)))
    assert read_segmentation(node, grid).mask(2)[BOX.slices].all()
    editor.undo()
    np.testing.assert_array_equal(read_segmentation(node, grid).bits, bits)
    scene.set_reviewed(node.GetID(), "spleen", False)
    scene.reset_to_proposal(node.GetID(), "spleen")
    np.testing.assert_array_equal(read_segmentation(node, grid).mask(1), masks_of_a_patient()[1])


def test_segmenting_again_finds_the_same_node(reopened, scene):
    node, _ = reopened
    assert segment(scene, volume_of(node)) is node


def test_scene_without_parameters_has_defaults(scene):
    assert scene.load_parameters() == SceneParameters()


def test_parameters_are_kept_in_the_node_of_the_module(app, scene):
    scene.save_parameters(SceneParameters(classes=(1, 2)))
    scene.save_parameters(SceneParameters(classes=(3,), paint_order=(3,)))
    (node,) = nodes_of(app.scene, "vtkMRMLScriptedModuleNode")
    assert (node.GetModuleName(), node.GetSingletonTag()) == ("GenesisSegment", "GenesisSegment")
    assert scene.load_parameters() == SceneParameters(classes=(3,), paint_order=(3,))


def test_parameters_are_those_of_the_module_after_a_scene_was_closed(app, scene):
    scene.save_parameters(SceneParameters(classes=(1, 2)))
    app.scene.Clear(False)
    assert scene.load_parameters() == SceneParameters()
    scene.save_parameters(SceneParameters(classes=(3,)))
    (node,) = nodes_of(app.scene, "vtkMRMLScriptedModuleNode")
    assert (node.GetModuleName(), node.GetSingletonTag()) == ("GenesisSegment", "GenesisSegment")


def test_early_classes_and_differences_are_not_saved(app, scene, tmp_path):
    volume = add_volume(app)
    node = segment(scene, volume)
    scene.show_difference(node.GetID(), "liver")
    snapshot = scene.snapshot(volume.GetID())
    scene.write_partial(snapshot, LIVER, Box((0, 0, 0), SHAPE), masks_of_a_patient()[LIVER])
    assert app.save_bundle(tmp_path / "case.mrb")
    app.clear()
    app.load_bundle(tmp_path / "case.mrb")
    found = nodes_of(app.scene, "vtkMRMLSegmentationNode")
    assert {n.GetAttribute("GenesisSegment.Part") for n in found} == {"segmentation", "proposal"}


def test_segmentation_saved_by_slicer_alone_is_voxel_identical(app, scene, tmp_path):
    volume = add_volume(app)
    node = segment(scene, volume)
    node.AddDefaultStorageNode(str(tmp_path / "plain.seg.nrrd"))
    assert node.GetStorageNode().WriteData(node)
    copy = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    assert node.GetStorageNode().ReadData(copy)
    grid = placement(volume).geometry
    np.testing.assert_array_equal(read_segmentation(copy, grid).bits, read_segmentation(node, grid).bits)
