"""From a CT to files and back: real MRML, the real worker process with the starter, stand-in Qt.

The CT is a phantom on an oblique grid under a turning transform: a matrix left out, taken twice or flipped moves
organs by centimetres.
"""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the Slicer bench needs slicer-core")
pytest.importorskip("onnxruntime")

from end_to_end import (
    LOCKED,
    REVIEWED,
    Session,
    engine_result,
    is_alive,
    oblique_phantom,
    points_of,
    put_python_on_path,
    slicer_center,
    wait_gone,
    world_center,
)
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.workflow.states import State

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")
SPLEEN, LIVER = 1, 6
KEPT = ("spleen", "kidney_right")
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture
def session(slicer_bench, tmp_path, monkeypatch):
    """The module open, and the phantom chosen."""
    put_python_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    session = Session(slicer_bench)
    session.volume = session.add_ct(oblique_phantom(), parent=session.add_turn())
    session.choose()
    return session


def expected():
    """Masks (i, j, k) that the engine gives, by segment ID."""
    result = engine_result()
    return {class_table()[c].slug: result.mask(c) for c in result.present()}


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_result_is_that_of_the_engine_at_the_place_of_the_ct(session):
    hierarchy = session.slicer.mrmlScene.GetSubjectHierarchyNode()
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(session.volume), study)
    seen = session.segment()

    assert seen.progress == sorted(seen.progress)
    assert len(set(seen.progress)) > 2
    assert not session.early()
    assert_same(session.masks(session.volume), expected())
    node, truth = session.result, oblique_phantom()
    for index in engine_result().present():
        found = slicer_center(node, class_table()[index].slug)
        np.testing.assert_allclose(found, world_center(engine_result().mask(index), truth.geometry), atol=0.01)
    for index in (SPLEEN, LIVER):  # by what is known of the phantom, without the engine's own geometry
        assert np.linalg.norm(slicer_center(node, class_table()[index].slug) - truth.center(index)) < 8.0

    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert node.GetTransformNodeID() == session.volume.GetTransformNodeID()
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is session.volume
    images = {id(s.GetRepresentation("Binary labelmap")) for s in segments(node).values()}
    assert len(images) == 1, "one shared labelmap where no classes overlap"
    check_codes_colours_and_volumes(session)


def check_codes_colours_and_volumes(session):
    found = segments(session.result)
    kidney = found["kidney_right"]
    assert kidney.GetName() == "Right Kidney"
    assert "SCT^64033007^Kidney~SCT^24028007^Right" in kidney.GetTerminology()
    np.testing.assert_allclose(kidney.GetColor(), np.array([212, 126, 151]) / 255, atol=1e-6)
    assert "SCT^78961009^Spleen" in found["spleen"].GetTerminology()
    table = session.result.GetNodeReference("GenesisSegment.Measurements").GetTable()
    rows = {table.GetValue(n, 0).ToString(): n for n in range(table.GetNumberOfRows())}
    liver_ml = float(table.GetValueByName(rows["Liver"], "Volume (ml)").ToString())
    truth = oblique_phantom()
    assert liver_ml == pytest.approx(expected()["liver"].sum() * truth.geometry.voxel_ml, abs=0.01)


def segments(node):
    segmentation = node.GetSegmentation()
    return {i: segmentation.GetSegment(i) for i in segmentation.GetSegmentIDs()}


def test_cancelled_run_leaves_the_scene_as_it_was(session):
    before = session.nodes()
    session.run_until_early()
    session.host.click("cancelButton")
    session.wait(lambda: session.state is State.READY, 10)
    assert session.nodes() == before
    assert session.host.ui.segmentButton.enabled
    session.segment()
    assert_same(session.masks(session.volume), expected())


def test_edits_of_one_segment_leave_the_others_alone_and_can_be_taken_back(session):
    session.segment()
    before = session.masks(session.volume)
    session.tick("kidney_right", LOCKED)
    session.host.click("editButton")
    assert session.state is State.CORRECTING
    stroke = around(before["kidney_right"])
    session.brush("liver", stroke)
    after = session.masks(session.volume)
    assert (after["liver"] & before["kidney_right"]).any(), "both hold these voxels now"
    assert_same(after, {**before, "liver": before["liver"] | stroke})
    session.undo()
    assert_same(session.masks(session.volume), before)


def test_locked_segment_gets_back_what_an_overwriting_brush_took(session):
    session.segment()
    before = session.masks(session.volume)
    session.tick("kidney_right", LOCKED)
    session.host.click("editButton")
    parameters = session.host.ui.segmentEditorWidget.mrmlSegmentEditorNode()
    parameters.SetOverwriteMode(parameters.OverwriteAllSegments)
    stroke = around(before["kidney_right"])
    session.brush("liver", stroke)
    session.wait(lambda: "Right Kidney" in session.message)
    assert_same(session.masks(session.volume), {**before, "liver": before["liver"] | stroke})
    session.undo()
    assert_same(session.masks(session.volume), before)


def around(mask):
    """A block that holds half of a mask and what lies beside it."""
    block = np.zeros(mask.shape, bool)
    i, j, k = (int(axis.mean()) for axis in np.nonzero(mask))
    block[i - 6 : i + 6, j - 4 : j + 12, k - 3 : k + 3] = True
    return block


def test_reset_brings_the_proposal_back_and_segmenting_again_keeps_what_was_reviewed(session):
    session.segment()
    before = session.masks(session.volume)
    session.host.click("editButton")
    session.brush("liver", around(before["kidney_right"]))
    session.brush("spleen", around(before["kidney_left"]))
    session.host.click("editButton")
    session.wait(lambda: session.view.correct.rows[session.row("liver")].segment.changed_voxels)
    session.reset("liver")
    changed = session.masks(session.volume)
    assert_same(changed, {**before, "spleen": before["spleen"] | around(before["kidney_left"])})
    session.tick("spleen", REVIEWED)
    assert session.view.correct.reviewed_note.startswith("1 of")

    session.host.click("editButton")
    session.brush("liver", around(before["kidney_right"]))
    session.host.click("editButton")
    session.segment()
    assert_same(session.masks(session.volume), changed)
    reviewed = [row.segment.segment_id for row in session.view.correct.rows if row.segment.is_reviewed]
    assert reviewed == ["spleen"]


def test_every_format_is_read_back_voxel_for_voxel_at_the_same_place(session, tmp_path):
    session.segment()
    session.host.click("editButton")
    session.brush("liver", around(expected()["kidney_right"]))
    session.host.click("editButton")
    masks, geometry = session.masks(session.volume), oblique_phantom().geometry
    assert session.host.ui.paintOrderList.count == len(masks)
    order = [class_table()[int(choice.value)].slug for choice in session.view.export.paint_order]
    wanted = ("seg.nrrd", "nii.gz", "nrrd", "stl", "obj", "gltf", "csv")
    out = tmp_path / "out"
    out.mkdir()
    names = session.export(out, wanted)
    assert {"CT.seg.nrrd", "CT.nii.gz", "CT.nrrd", "CT.json", "CT.csv", "CT.gltf"} <= names
    assert {f"CT_stl/{name}.stl" for name in masks} | {f"CT_obj/{name}.obj" for name in masks} <= names

    labels = np.zeros(geometry.shape, np.uint8)
    numbers = {class_table()[c].slug: c for c in class_table()}
    for name in order:
        labels[masks[name]] = numbers[name]
    check_label_maps(out, labels, geometry)
    check_segmentation(out, masks, geometry, numbers)
    check_surfaces(out, masks, geometry)
    with (out / "CT.csv").open(newline="", encoding="utf-8") as stream:
        rows = {row["Structure"]: row for row in csv.DictReader(stream)}
    assert float(rows["Spleen"]["Volume (ml)"]) == pytest.approx(masks["spleen"].sum() * geometry.voxel_ml, abs=0.01)
    dicom = session.host.find("formatCheckBox_dicom")
    assert not dicom.enabled
    assert "DICOM" in dicom.toolTip


def check_label_maps(out, labels, geometry):
    """By nibabel and by SimpleITK, which know nothing of us."""
    import nibabel
    import SimpleITK as sitk

    nifti = nibabel.load(out / "CT.nii.gz")
    np.testing.assert_array_equal(np.asarray(nifti.dataobj), labels)
    np.testing.assert_allclose(nifti.affine, geometry.ijk_to_ras, atol=1e-3)
    image = sitk.ReadImage(out / "CT.nrrd")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, labels)
    last = [n - 1 for n in geometry.shape]
    ras = LPS[:3, :3] @ image.TransformIndexToPhysicalPoint(last)
    np.testing.assert_allclose(ras, (geometry.ijk_to_ras @ [*last, 1])[:3], atol=1e-3)
    table = json.loads((out / "CT.json").read_text(encoding="utf-8"))
    assert table["labels"]["6"] == "liver"
    assert set(table["overlaps_lost"]) <= {"2", "6"}
    assert table["overlaps_lost"]


def check_segmentation(out, masks, geometry, numbers):
    """By the engine's reader, on its own grid; overlaps are kept."""
    from GenesisSegmentLib.engine.labels import read_labels

    read = read_labels(out / "CT.seg.nrrd").segmentation
    to_ct = np.linalg.inv(geometry.ijk_to_ras) @ read.geometry.ijk_to_ras
    np.testing.assert_allclose(to_ct[:3, :3], np.eye(3), atol=1e-6)
    start = np.rint(to_ct[:3, 3]).astype(int)
    place = tuple(slice(a, a + n) for a, n in zip(start, read.geometry.shape, strict=True))
    for name, mask in masks.items():
        found = np.zeros(geometry.shape, bool)
        found[place] = read.mask(numbers[name])
        np.testing.assert_array_equal(found, mask, err_msg=name)


def check_surfaces(out, masks, geometry):
    """By VTK's readers: volume and middle of each surface, which lies in LPS."""
    import vtk

    whole = np.zeros((0, 3))
    for name, mask in masks.items():
        for reader, suffix in ((vtk.vtkSTLReader(), "stl"), (vtk.vtkOBJReader(), "obj")):
            reader.SetFileName(str(out / f"CT_{suffix}" / f"{name}.{suffix}"))
            reader.Update()
            points = points_of(reader.GetOutput()) @ LPS[:3, :3]
            edges = (geometry.ijk_to_ras @ np.vstack([np.argwhere(mask).T, np.ones(mask.sum())]))[:3].T
            np.testing.assert_allclose(points.min(0), edges.min(0), atol=6.0)
            np.testing.assert_allclose(points.max(0), edges.max(0), atol=6.0)
        whole = np.vstack([whole, points])
    reader = vtk.vtkGLTFReader()
    reader.SetFileName(str(out / "CT.gltf"))
    reader.ApplyDeformationsToGeometryOn()
    reader.Update()
    shapes = reader.GetOutput().NewIterator()
    bounds = []
    while not shapes.IsDoneWithTraversal():
        bounds.append(points_of(shapes.GetCurrentDataObject()) @ LPS[:3, :3])
        shapes.GoToNextItem()
    assert len(bounds) == len(masks)
    np.testing.assert_allclose(np.vstack(bounds).min(0), whole.min(0), atol=0.1)
    np.testing.assert_allclose(np.vstack(bounds).max(0), whole.max(0), atol=0.1)


def test_saved_scene_can_be_corrected_further(session, tmp_path):
    """The phantom's grid is left-handed: Slicer reads such a CT with its planes reversed, and segments as they were."""
    session.segment()
    session.tick("spleen", REVIEWED)
    session.tick("kidney_right", LOCKED)
    session.host.click("editButton")
    session.brush("liver", around(expected()["kidney_right"]))
    session.host.click("editButton")
    before = reversed_planes(session.masks(session.volume))
    names = sorted(session.nodes("vtkMRMLSegmentationNode").values())
    bundle = str(tmp_path / "scene.mrb")
    assert session.slicer.util.saveScene(bundle)
    session.host.close_scene()
    assert session.state is State.NO_VOLUME
    session.slicer.util.loadScene(bundle)
    session.bench.pump(0)

    assert session.state is State.REVIEWING, session.message
    assert sorted(session.nodes("vtkMRMLSegmentationNode").values()) == names
    volume = session.slicer.util.getNode("CT")
    assert_same(session.masks(volume), before)
    rows = {row.segment.segment_id: row.segment for row in session.view.correct.rows}
    assert rows["spleen"].is_reviewed
    assert rows["kidney_right"].is_locked
    session.host.click("editButton")
    session.brush("aorta", around(before["kidney_left"]))
    after = session.masks(volume)
    assert_same(after, {**before, "aorta": before["aorta"] | around(before["kidney_left"])})
    session.undo()
    assert_same(session.masks(volume), before)
    session.host.click("editButton")
    session.wait(lambda: session.view.correct.rows[session.row("liver")].segment.changed_voxels)
    session.reset("liver")
    assert_same(session.masks(volume), reversed_planes(expected()))
    session.segment()
    again = session.masks(volume)
    assert_same({n: again[n] for n in KEPT}, {n: before[n] for n in KEPT})
    truth = oblique_phantom()
    for index in (SPLEEN, LIVER):
        assert np.linalg.norm(slicer_center(session.result, class_table()[index].slug) - truth.center(index)) < 8.0


def reversed_planes(masks):
    return {name: mask[:, :, ::-1] for name, mask in masks.items()}


def test_run_goes_on_while_the_module_is_left_and_the_process_ends_with_the_module(session):
    session.press_segment()
    session.host.exit()
    session.wait(lambda: session.state is not State.PREDICTING)
    session.host.enter()
    assert session.state is State.REVIEWING, session.message
    assert_same(session.masks(session.volume), expected())
    pid = session.pid
    assert is_alive(pid)
    session.host.cleanup()
    assert wait_gone(pid)
