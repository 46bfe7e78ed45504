"""Structures that a person taught a model: known by name in the scene, whatever number each model gives them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from GenesisSegmentLib.core.classes import own_structure
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.core.refining_messages import CLOSED
from GenesisSegmentLib.core.terminology import terminology_entry
from GenesisSegmentLib.core.workflow.ports import ExportRequest
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.mrml.arrays import label_image
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import PARTIAL, parts_of, volume_of
from GenesisSegmentLib.mrml.reading import read_mask
from GenesisSegmentLib.mrml.table import cells_of, table_of
from GenesisSegmentLib.mrml.tags import class_of, taught_name
from GenesisSegmentLib.mrml.volumes import placement
from GenesisSegmentLib.mrml.writing import segments_of
from mrml_builders import (
    LIVER,
    SHAPE,
    TEXT,
    add_transform,
    add_volume,
    box_mask,
    layer,
    row,
    slicer_centroid,
    world_centroid,
)

SARCOMA, NODE = "soft tissue sarcoma|GTV", "Größe: 1, left"
"""With what separates tags in files, and what no file name and no code holds."""
LIVER_MASK = box_mask(SHAPE, (3, 11), (4, 15), (5, 14))
INSIDE = box_mask(SHAPE, (5, 9), (7, 10), (8, 13))
BESIDE = box_mask(SHAPE, (15, 21), (3, 9), (2, 7))


def run(scene, volume, found, own, model="v3", measurements=()):
    """A run of a model that was taught ``own``: ``found`` are masks by the model's numbers, a layer for each."""
    snapshot = scene.snapshot(volume.GetID())
    text = replace(TEXT, model=model, own=tuple(own))
    layers = [layer({index: mask}) for index, mask in found.items()]
    return slicer.mrmlScene.GetNodeByID(scene.write_result(snapshot, layers, text, list(measurements)))


def mask(node, segment_id):
    return read_mask(node, segment_id, placement(volume_of(node)).geometry)


def states(scene, node):
    return {state.taught or state.segment_id: state for state in scene.segments(node.GetID())}


@pytest.fixture
def volume(app):
    return add_volume(app, start=(5, 3, -2), transform=add_transform(app))


@pytest.fixture
def node(scene, volume):
    """The liver, what lies in it and what beside it, with their measurements."""
    rows = [row(LIVER, "liver", voxels=792), row(33, "slug", voxels=60), row(34, "other", voxels=180)]
    return run(scene, volume, {LIVER: LIVER_MASK, 33: INSIDE, 34: BESIDE}, (SARCOMA, NODE), measurements=rows)


def test_it_lies_on_the_ct_with_its_name_colour_and_code(scene, volume, node):
    found = states(scene, node)
    assert [(s.name, s.class_index) for s in found.values()] == [("Liver", LIVER), (SARCOMA, 33), (NODE, 34)]
    grid = placement(volume).geometry
    for name, index, wanted in ((SARCOMA, 33, INSIDE), (NODE, 34, BESIDE)):
        structure = own_structure(index, name)
        segment_id = found[name].segment_id
        np.testing.assert_array_equal(mask(node, segment_id), wanted)
        np.testing.assert_allclose(slicer_centroid(node, segment_id), world_centroid(wanted, grid), atol=1e-3)
        assert found[name].color == structure.color
        assert node.GetSegmentation().GetSegment(segment_id).GetTerminology() == terminology_entry(structure)
    np.testing.assert_array_equal(mask(node, "liver"), LIVER_MASK)


def test_the_name_decides_and_not_the_number_of_another_model(scene, volume, node):
    again = run(scene, volume, {33: LIVER_MASK}, (NODE,), "v4")
    assert again is node
    found = states(scene, node)
    assert found[NODE].class_index == 34
    np.testing.assert_array_equal(mask(node, found[NODE].segment_id), LIVER_MASK)
    np.testing.assert_array_equal(mask(node, found[SARCOMA].segment_id), INSIDE)
    third = run(scene, volume, {33: BESIDE}, ("third",), "v5")
    assert states(scene, third)["third"].class_index == 35


def test_swapped_numbers_are_put_right_everywhere(scene, volume, node):
    rows = [row(34, "a", voxels=1), row(33, "b", voxels=2)]
    run(scene, volume, {34: BESIDE, 33: LIVER_MASK}, (NODE, SARCOMA), "v4", rows)
    found = states(scene, node)
    np.testing.assert_array_equal(mask(node, found[SARCOMA].segment_id), BESIDE)
    np.testing.assert_array_equal(mask(node, found[NODE].segment_id), LIVER_MASK)
    scene.count_changes(node.GetID())
    assert {s.taught: s.changed_voxels for s in scene.segments(node.GetID()) if s.taught} == {SARCOMA: 0, NODE: 0}
    cells = {line[0]: line[2] for line in cells_of(table_of(node).GetTable())}
    assert (cells[SARCOMA], cells[NODE]) == ("1", "2")


def test_reviewed_ones_are_left_alone_by_the_next_run_and_others_replaced(scene, volume, node):
    scene.set_reviewed(node.GetID(), states(scene, node)[SARCOMA].segment_id, True)
    run(scene, volume, {33: BESIDE, 34: INSIDE}, (SARCOMA, NODE))
    found = states(scene, node)
    np.testing.assert_array_equal(mask(node, found[SARCOMA].segment_id), INSIDE)
    np.testing.assert_array_equal(mask(node, found[NODE].segment_id), INSIDE)


def test_what_is_changed_is_counted_measured_reset_and_taken_back(scene, editor, node):
    state = states(scene, node)[SARCOMA]
    editor.work_on(node)
    place = Box((5, 10, 8), (9, 12, 13))
    more = np.ones(place.shape, bool)
    scene.write_segment(node.GetID(), state.segment_id, Edit(place, more, ~more))
    scene.count_changes(node.GetID())
    assert states(scene, node)[SARCOMA].changed_voxels == 40
    cells = {line[0]: line[2] for line in cells_of(table_of(node).GetTable())}
    assert cells[SARCOMA] == "100"
    scene.reset_to_proposal(node.GetID(), state.segment_id)
    np.testing.assert_array_equal(mask(node, state.segment_id), INSIDE)
    editor.logic.Undo()
    assert np.count_nonzero(mask(node, state.segment_id)) == 100


def test_overlaps_are_found(scene, node):
    assert scene.overlapping(node.GetID()) == ((LIVER, 33),)


def test_it_is_accepted_under_the_name_that_was_taught_whatever_it_is_called_now(scene, node):
    state = states(scene, node)[SARCOMA]
    scene.set_reviewed(node.GetID(), state.segment_id, True)
    node.GetSegmentation().GetSegment(state.segment_id).SetName("Liposarcoma")
    (accepted,) = finished(scene.reading_reviewed(node.GetID())).classes
    assert (accepted.label, accepted.model) == (SARCOMA, "v3")
    np.testing.assert_array_equal(accepted.mask, INSIDE)
    np.testing.assert_array_equal(accepted.proposed, INSIDE)


def test_a_name_of_its_own_is_kept_through_a_saved_scene(app, scene, volume, node, tmp_path):
    storage, loaded = slicer.vtkMRMLSegmentationStorageNode(), slicer.vtkMRMLSegmentationNode()
    storage.SetFileName(str(tmp_path / "result.seg.nrrd"))
    assert storage.WriteData(node)
    assert storage.ReadData(loaded)
    found = {class_of(i, segment): taught_name(segment) for i, segment in segments_of(loaded)}
    assert found == {LIVER: "", 33: SARCOMA, 34: NODE}


def test_of_two_from_different_segmentations_the_first_keeps_the_number(app, scene, volume, node):
    other = run(scene, add_volume(app), {33: BESIDE}, ("foreign",))
    pasted = slicer.vtkSegment()
    (foreign,) = (other.GetSegmentation().GetSegment(i) for i in other.GetSegmentation().GetSegmentIDs())
    pasted.DeepCopy(foreign)
    node.GetSegmentation().AddSegment(pasted, "foreign")
    found = {s.segment_id: (s.class_index, s.taught) for s in scene.segments(node.GetID())}
    assert found["foreign"] == (0, "")
    assert (33, SARCOMA) in found.values()


def test_more_than_can_be_numbered_are_refused_and_nothing_is_changed(scene, volume, node):
    names = tuple(f"structure {n}" for n in range(31))
    before = {s.segment_id for s in scene.segments(node.GetID())}
    with pytest.raises(InputError, match="32"):
        run(scene, volume, {33: BESIDE}, names)
    assert {s.segment_id for s in scene.segments(node.GetID())} == before


@pytest.mark.parametrize("suffix", ["nrrd", "nii.gz", "seg.nrrd"])
def test_files_hold_it_as_those_of_the_command_line_do(scene, node, tmp_path, suffix):
    request = ExportRequest(tmp_path, (suffix,), ())
    scene.export(node.GetID(), volume_of(node).GetID(), request)
    (file,) = (path for path in tmp_path.iterdir() if path.suffix != ".json")
    slugs = tuple(own_structure(n, name).slug for n, name in ((33, SARCOMA), (34, NODE)))
    labels = read_labels(file, slugs)
    assert labels.others == ()
    grid = placement(volume_of(node)).geometry
    assert labels.segmentation.geometry.matches(grid, tolerance_mm=1e-3)
    np.testing.assert_array_equal(labels.segmentation.mask(33), INSIDE)
    np.testing.assert_array_equal(labels.segmentation.mask(34), BESIDE)


def test_a_label_map_says_which_value_is_which(scene, node, tmp_path):
    mine = node.GetSegmentation().AddEmptySegment("mine", "Mine")
    place = placement(volume_of(node))
    image = label_image(box_mask(SHAPE, (0, 2), (0, 2), (0, 2)).astype(np.uint8), place.matrix, place.start)
    node.GetSegmentation().GetSegment(mine).AddRepresentation("Binary labelmap", image)
    scene.export(node.GetID(), volume_of(node).GetID(), ExportRequest(tmp_path, ("nrrd",), (33, LIVER)))
    files = {path.suffix: path for path in tmp_path.iterdir()}
    table = json.loads(files[".json"].read_text(encoding="utf-8"))
    assert table["names"] == {"6": "Liver", "33": SARCOMA, "34": NODE, "35": "Mine"}
    assert table["labels"]["33"] == own_structure(33, SARCOMA).slug
    assert table["paint_order"] == [34, 33, 6, 35]
    assert table["classes_computed"] == [6, 33, 34]
    assert table["overlaps_lost"] == {"33": int(INSIDE.sum())}
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(files[".nrrd"]))).T
    assert set(np.unique(values)) == {0, 6, 34, 35}


def test_surfaces_and_the_early_look_have_its_name(scene, volume, node, tmp_path):
    scene.export(node.GetID(), volume.GetID(), ExportRequest(tmp_path, ("stl",), ()))
    slugs = {own_structure(n, name).slug for n, name in ((33, SARCOMA), (34, NODE))}
    assert {path.stem for path in tmp_path.glob("*/*.stl")} == {"liver", *slugs}
    box = Box.around(BESIDE)
    finished(scene.writing_partial(scene.snapshot(volume.GetID()), 33, box, BESIDE[box.slices], "early one"))
    (early,) = parts_of(slicer.mrmlScene, volume.GetID(), PARTIAL)
    (segment_id,) = early.GetSegmentation().GetSegmentIDs()
    assert early.GetSegmentation().GetSegment(segment_id).GetName() == "early one"


def test_one_can_be_begun_by_hand_and_is_the_same_as_one_that_was_found(scene, volume, node):
    segment_id = scene.add_segment(node.GetID(), 0, "third")
    state = next(s for s in scene.segments(node.GetID()) if s.segment_id == segment_id)
    assert (state.taught, state.class_index) == ("third", 35)
    run(scene, volume, {33: BESIDE}, ("third",))
    np.testing.assert_array_equal(mask(node, segment_id), BESIDE)


def test_what_lies_in_or_under_it_is_not_closed_to_prompts(scene, node):
    box = Box.whole(SHAPE)
    for one in ("liver", states(scene, node)[SARCOMA].segment_id):
        assert not (finished(scene.reading_surroundings(node.GetID(), one, box)) & CLOSED).any()


def test_undo_brings_the_one_of_the_run_before_and_its_proposal_back(scene, editor, volume, node):
    editor.work_on(node)
    run(scene, volume, {33: LIVER_MASK}, (SARCOMA,), "v4")
    found = states(scene, node)[SARCOMA].segment_id
    np.testing.assert_array_equal(mask(node, found), LIVER_MASK)
    editor.logic.Undo()
    np.testing.assert_array_equal(mask(node, found), INSIDE)
    scene.count_changes(node.GetID())
    assert states(scene, node)[SARCOMA].changed_voxels == 0
