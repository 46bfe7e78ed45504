from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import slicer

from acceptance_builders import SALT
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.corrections import Acceptance
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.identity import patient_text
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.pieces import finished
from GenesisSegmentLib.mrml.accepted import patient_of
from GenesisSegmentLib.mrml.editing import Edit
from GenesisSegmentLib.mrml.nodes import GoneError
from GenesisSegmentLib.mrml.proposal import proposal_of
from GenesisSegmentLib.mrml.tags import RUN_TAG, set_reviewed, tag_of
from GenesisSegmentLib.mrml.writing import segments_of
from mrml_builders import (
    LIVER,
    LIVER_TUMOR,
    RIGHT_KIDNEY,
    SHAPE,
    SPLEEN,
    TEXT,
    add_transform,
    add_volume,
    box_mask,
    grid_of,
    layers_of,
    masks_of_a_patient,
    segment,
    slicer_centroid,
    world_centroid,
)

SLUGS = {index: class_table()[index].slug for index in (LIVER, LIVER_TUMOR, RIGHT_KIDNEY, SPLEEN)}


def review(node, *indices: int) -> None:
    for segment_id, part in segments_of(node):
        if segment_id in {SLUGS[i] for i in indices}:
            set_reviewed(part, True)


def reviewed(scene, node):
    return finished(scene.reading_reviewed(node.GetID()))


def add_own(node, name: str, mask: np.ndarray, is_reviewed: bool = True) -> str:
    """A structure of the person's own, painted as Slicer keeps it: an image of its own."""
    segment_id = node.GetSegmentation().AddEmptySegment("", name)
    volume = node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
    from GenesisSegmentLib.mrml.arrays import label_image
    from GenesisSegmentLib.mrml.volumes import placement_under
    from GenesisSegmentLib.mrml.writing import binary

    place = placement_under(volume, node)
    part = node.GetSegmentation().GetSegment(segment_id)
    part.AddRepresentation(binary(), label_image(mask.astype(np.uint8), place.matrix, place.start))
    part.SetLabelValue(1)
    set_reviewed(part, is_reviewed)
    return segment_id


def edited(scene, node, index: int, edit: Edit) -> None:
    scene.write_segment(node.GetID(), SLUGS[index], edit)


CORNER = Edit(Box((2, 3, 4), (5, 6, 8)), np.ones((3, 3, 4), bool), np.zeros((3, 3, 4), bool))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(-1, -1, 1), (1, -1, 1)])
@pytest.mark.parametrize("is_moved", [False, True])
def test_masks_come_back_on_the_voxels_of_the_ct(app, scene, axes, signs, is_moved):
    transform = add_transform(app) if is_moved else None
    node = segment(scene, add_volume(app, grid_of(axes, signs), start=(5, 3, -2), transform=transform))
    review(node, LIVER, LIVER_TUMOR, SPLEEN)
    masks = masks_of_a_patient()
    found = {c.label: c for c in reviewed(scene, node).classes}
    assert set(found) == {SLUGS[LIVER], SLUGS[LIVER_TUMOR], SLUGS[SPLEEN]}
    for index in (LIVER, LIVER_TUMOR, SPLEEN):
        assert np.array_equal(found[SLUGS[index]].mask, masks[index])
        assert np.array_equal(found[SLUGS[index]].proposed, masks[index])
        assert found[SLUGS[index]].changed_voxels == 0


def test_an_oblique_ct_under_a_transform_keeps_left_on_the_left(app, scene, node):
    review(node, LIVER, SPLEEN)
    snapshot = scene.snapshot(node.GetNodeReferenceID("referenceImageGeometryRef"))
    for c in reviewed(scene, node).classes:
        assert np.allclose(world_centroid(c.mask, snapshot.volume.geometry), slicer_centroid(node, c.label), atol=1e-3)


def test_what_was_corrected_is_told_from_what_was_proposed(scene, node):
    edited(scene, node, LIVER, CORNER)
    review(node, LIVER)
    (liver,) = reviewed(scene, node).classes
    before = masks_of_a_patient()[LIVER]
    after = before | box_mask(SHAPE, (2, 5), (3, 6), (4, 8))
    assert np.array_equal(liver.mask, after)
    assert np.array_equal(liver.proposed, before)
    assert liver.changed_voxels == np.count_nonzero(after != before) > 0


def test_only_reviewed_segments_are_read_and_an_empty_one_is_empty(scene, node):
    whole = masks_of_a_patient()[SPLEEN]
    box = Box.around(whole)
    edited(scene, node, SPLEEN, Edit(box, np.zeros(box.shape, bool), np.ones(box.shape, bool)))
    review(node, SPLEEN)
    (spleen,) = reviewed(scene, node).classes
    assert not spleen.mask.any()
    assert np.array_equal(spleen.proposed, whole)


def test_a_structure_of_the_persons_own_has_its_name_and_no_proposal(scene, node):
    mask = box_mask(SHAPE, (10, 14), (2, 9), (1, 4))
    add_own(node, " Sarcoma ", mask)
    (own,) = reviewed(scene, node).classes
    assert own.label == "Sarcoma"
    assert own.proposed is None
    assert np.array_equal(own.mask, mask)


@pytest.mark.parametrize("names", [("Sarcoma", "Sarcoma"), ("Sarcoma", "")])
def test_two_of_one_name_and_one_without_are_refused(scene, node, names):
    for name in names:
        segment_id = add_own(node, "x", box_mask(SHAPE, (10, 14), (2, 9), (1, 4)))
        node.GetSegmentation().GetSegment(segment_id).SetName(name)
    with pytest.raises(InputError, match=r"are called Sarcoma|has no name"):
        reviewed(scene, node)


def test_the_model_of_the_proposal_is_named(scene, node):
    review(node, LIVER)
    found = reviewed(scene, node)
    assert (found.model, found.model_sha256) == ("starter", "ab" * 32)
    assert found.names == ("Liver",)


def run_again(scene, node, model: str, index: int) -> None:
    """Another model looks for one class alone."""
    snapshot = scene.snapshot(node.GetNodeReferenceID("referenceImageGeometryRef"))
    text = replace(TEXT, model=model, model_sha256="cd" * 32)
    scene.write_result(snapshot, layers_of({index: masks_of_a_patient()[index]}, SHAPE), text, [])


@pytest.mark.parametrize("model", ["v3", "my model|2: 50%.onnx"])
def test_every_structure_names_the_model_that_proposed_it(scene, node, model):
    run_again(scene, node, model, SPLEEN)
    add_own(node, "Sarcoma", box_mask(SHAPE, (10, 14), (2, 9), (1, 4)))
    review(node, LIVER, SPLEEN)
    found = reviewed(scene, node)
    models = {c.label: (c.model, c.model_sha256) for c in found.classes}
    assert models == {"liver": ("starter", "ab" * 32), "spleen": (model, "cd" * 32), "Sarcoma": ("", "")}
    tag = tag_of(node.GetSegmentation().GetSegment(SLUGS[SPLEEN]), RUN_TAG)
    assert not set(tag) & set("|:"), "Slicer separates tags by these in a .seg.nrrd"


def test_after_undo_a_structure_names_the_model_of_before(editor, scene, node):
    run_again(scene, node, "v3", LIVER)
    review(node, LIVER)
    assert reviewed(scene, node).classes[0].model == "v3"
    scene.forget_guarded()
    editor.undo()
    review(node, LIVER)
    assert reviewed(scene, node).classes[0].model == "starter"


def test_a_structure_of_an_older_version_leaves_the_model_to_the_acceptance(scene, node):
    for kept in (node, proposal_of(node)):
        for _id, part in segments_of(kept):
            part.SetTag(RUN_TAG, "0123456789abcdef")
    review(node, LIVER)
    found = reviewed(scene, node)
    assert (found.classes[0].model, found.classes[0].model_sha256, found.model) == ("", "", "starter")


def test_the_patient_is_the_one_of_the_dicom_browser_or_nobody(app, scene):
    volume = add_volume(app)
    assert patient_of(volume) == ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(app.scene)
    names = slicer.vtkMRMLSubjectHierarchyConstants
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "DOE^JANE")
    study = hierarchy.CreateStudyItem(patient, "CT of the day")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(volume), study)
    assert patient_of(volume) == ""
    hierarchy.SetItemUID(study, names.GetDICOMUIDName(), "1.2.3")
    assert patient_of(volume) == patient_text("", "1.2.3") != ""
    hierarchy.SetItemAttribute(patient, names.GetDICOMPatientIDAttributeName(), "ANON^")
    assert patient_of(volume) == patient_text("", "1.2.3")
    hierarchy.SetItemAttribute(patient, names.GetDICOMPatientIDAttributeName(), " 4711 ")
    assert patient_of(volume) == "4711"
    node = segment(scene, volume)
    assert reviewed(scene, node).patient == "4711"


def test_what_a_brush_took_from_a_reviewed_segment_is_put_back_before_it_is_read(scene, node):
    review(node, LIVER)
    scene.guard(node.GetID())
    liver = node.GetSegmentation().GetSegment(SLUGS[LIVER])
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    from GenesisSegmentLib.mrml.arrays import label_image
    from GenesisSegmentLib.mrml.nodes import volume_of
    from GenesisSegmentLib.mrml.volumes import placement_under

    place = placement_under(volume_of(node), node)
    nothing = label_image(np.zeros(SHAPE, np.uint8), place.matrix, place.start)
    logic.SetBinaryLabelmapToSegment(nothing, node, SLUGS[LIVER], logic.MODE_REPLACE, nothing.GetExtent(), False, [])
    assert liver is not None
    (found,) = reviewed(scene, node).classes
    assert np.array_equal(found.mask, masks_of_a_patient()[LIVER])


def test_a_change_while_it_is_read_is_read_whole_or_not_at_all(scene, node):
    review(node, LIVER)
    work = scene.reading_reviewed(node.GetID())
    for _n in range(4):
        next(work)
    set_reviewed(node.GetSegmentation().GetSegment(SLUGS[LIVER]), False)
    edited(scene, node, LIVER, CORNER)
    review(node, LIVER, SPLEEN)
    scene.forget_guarded()
    found = {c.label: c for c in finished(work).classes}
    assert set(found) == {SLUGS[LIVER], SLUGS[SPLEEN]}
    assert found[SLUGS[LIVER]].changed_voxels > 0


def test_it_is_read_in_many_pieces(scene, node):
    review(node, LIVER, LIVER_TUMOR)
    assert sum(1 for _piece in scene.reading_reviewed(node.GetID())) >= SHAPE[2] // 4


def test_a_segmentation_that_is_removed_meanwhile_is_reported(app, scene, node):
    review(node, LIVER)
    work = scene.reading_reviewed(node.GetID())
    next(work)
    app.scene.RemoveNode(node)
    with pytest.raises(GoneError):
        finished(work)


def test_a_non_linear_transform_is_refused(app, scene, node):
    from mrml_builders import add_bending

    review(node, LIVER)
    volume = node.GetNodeReference("referenceImageGeometryRef")
    bending = add_bending(app)
    volume.SetAndObserveTransformNodeID(bending.GetID())
    node.SetAndObserveTransformNodeID(bending.GetID())
    with pytest.raises(GeometryError, match="bent"):
        reviewed(scene, node)


def test_the_state_that_was_accepted_stays_with_the_segmentation(scene, node):
    assert reviewed(scene, node).accepted == ""
    scene.remember_accepted(node.GetID(), "a state")
    assert reviewed(scene, node).accepted == "a state"


def test_from_the_scene_to_a_file_and_back(scene, node, tmp_path: Path):
    edited(scene, node, LIVER, CORNER)
    review(node, LIVER, LIVER_TUMOR)
    found = reviewed(scene, node)
    snapshot = scene.snapshot(node.GetNodeReferenceID("referenceImageGeometryRef"))
    outbox = Outbox(tmp_path / "outbox", SALT)
    path = outbox.put(Acceptance("a", snapshot.volume, found.classes, found.patient, found.model))
    kept = outbox.read(path).acceptance
    assert np.array_equal(kept.volume.voxels, snapshot.volume.voxels)
    assert kept.volume.geometry.matches(snapshot.volume.geometry, 1e-9)
    for c in kept.classes:
        assert np.allclose(world_centroid(c.mask, kept.volume.geometry), slicer_centroid(node, c.label), atol=1e-3)
