"""Export of a real scene behind the real controller, tick by tick."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import slicer

from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.pieces import ALONE, finished
from GenesisSegmentLib.core.segmentation import pack
from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.core.workflow.ports import ExportRequest
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.mrml import export_labels
from GenesisSegmentLib.mrml.arrays import label_image, voxels
from GenesisSegmentLib.mrml.nodes import GoneError, volume_of
from GenesisSegmentLib.mrml.volumes import placement
from mrml_builders import LIVER, SHAPE, SceneAtOnce, add_transform, add_volume, masks_of_a_patient, segment
from scene_fakes import FakeClock
from workflow_fakes import FakeSettings, FakeSetup, ScriptedWorker


class Clock(FakeClock):
    """Time that passes whenever it is asked for: each tick does one piece or two."""

    def __call__(self):
        self.now += 0.004
        return self.now


@pytest.fixture
def controller(scene, volume, tmp_path):
    """Files of two kinds are being written."""
    segment(scene, volume)
    controller = Controller(scene, ScriptedWorker(), FakeSetup(), FakeSettings(), Clock())
    controller.start()
    controller.choose_volume(volume.GetID())
    controller.choose_folder(tmp_path)
    controller.choose_formats(("seg.nrrd", "stl"))
    controller.export()
    return controller


def until(controller, is_there):
    for _n in range(2000):
        if is_there():
            return
        controller.tick()
    pytest.fail(f"It did not come: {controller.view.status.text}")


def is_at(controller, text):
    return lambda: text in controller.view.status.text


@pytest.mark.parametrize("step", ["copying the structures", "Segmentation (.seg.nrrd)", "Surfaces (.stl), Liver"])
def test_cancelled_export_leaves_no_file_in_the_folder(controller, tmp_path, step):
    until(controller, is_at(controller, step))
    controller.cancel()
    assert controller.view.status.text == "Cancelled. Nothing was exported."
    assert list(tmp_path.iterdir()) == []


def test_second_export_names_the_files_that_it_made(controller, tmp_path):
    until(controller, is_at(controller, "were written"))
    assert controller.view.status.text == f"5 files were written to {tmp_path}: CT.seg.nrrd, CT_stl."
    controller.export()
    until(controller, is_at(controller, "were written"))
    assert controller.view.status.text == f"5 files were written to {tmp_path}: CT_2.seg.nrrd, CT_2_stl."


def test_scene_that_is_closed_after_copying_is_exported_whole(app, controller, tmp_path):
    until(controller, is_at(controller, "Surfaces (.stl)"))
    controller.scene_about_to_close()
    app.clear()
    controller.scene_closed()
    until(controller, is_at(controller, "were written"))
    assert read_labels(tmp_path / "CT.seg.nrrd").segmentation.mask(LIVER).sum() == masks_of_a_patient()[LIVER].sum()
    assert controller.view.export.last_files == ()


def test_ct_that_is_removed_before_it_is_copied_ends_the_export(app, controller, volume, tmp_path):
    app.scene.RemoveNode(volume)
    controller.volume_removed(volume.GetID())
    until(controller, lambda: not controller.view.is_working)
    assert controller.view.status.text.startswith("Nothing was exported: the CT or its segmentation was removed")
    assert list(tmp_path.iterdir()) == []


# --- What was copied


EVERY = ("seg.nrrd", "nii.gz", "nrrd", "dicom", "stl", "obj", "gltf", "csv")


@pytest.fixture
def pieces(app, editor, tmp_path):
    """An export of everything, prepared, and what it reports."""
    scene = SceneAtOnce(app.scene, editor, lambda _node, _volume, file: file.write_bytes(b"DICM"))
    volume = add_volume(app, start=(5, 3, -2), transform=add_transform(app))
    volume.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    node = segment(scene, volume)
    prepared = finished(
        scene.preparing_export(node.GetID(), volume.GetID(), ExportRequest(tmp_path, EVERY, (1, 2, 6, 27)))
    )
    told = []
    return node, prepared.writing(lambda *step: told.append(step)), told


def test_files_hold_what_was_there_when_export_was_pressed(pieces, tmp_path):
    node, writing, _told = pieces
    image = node.GetSegmentation().GetSegment("liver").GetRepresentation("Binary labelmap")
    voxels(image)[...] = 0
    node.GetSegmentation().GetSegment("liver").SetName("Mine")
    finished(writing)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "CT.seg.nrrd").segmentation.bits, pack(masks_of_a_patient().items(), SHAPE)
    )
    assert json.loads((tmp_path / "CT.json").read_text(encoding="utf-8"))["names"]["6"] == "Liver"
    assert (tmp_path / "CT_stl" / "liver.stl").is_file()


def test_scene_that_is_closed_meanwhile_takes_nothing_but_dicom_away(app, pieces, tmp_path):
    _node, writing, told = pieces
    while told[-1:] == [] or "SEG" in told[-1][0]:
        next(writing)
    app.clear()
    assert {path.name for path in finished(writing)} >= {"CT.dcm", "CT.seg.nrrd", "CT.gltf", "liver.obj"}


def test_ct_that_is_gone_before_dicom_is_written_is_told(app, pieces, tmp_path):
    node, writing, _told = pieces
    app.scene.RemoveNode(volume_of(node))
    with pytest.raises(GoneError, match="The CT is no longer"):
        finished(writing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("after", range(0, 160, 23))
def test_export_that_is_given_up_leaves_nothing(pieces, tmp_path, after):
    _node, writing, _told = pieces
    for _n in range(after):
        next(writing)
    writing.close()
    assert list(tmp_path.iterdir()) == []


def test_every_format_is_announced_before_it_begins_and_progress_never_goes_back(pieces):
    _node, writing, told = pieces
    announced = []
    for step in writing:
        if step is ALONE:
            announced.append(told[-1][0])
    assert [fraction for _text, fraction in told] == sorted(fraction for _text, fraction in told)
    texts = list(dict.fromkeys(text.split(",")[0] for text, _fraction in told))
    assert len(texts) == len(EVERY) + 1
    assert "Slicer does not answer" in announced[0]
    assert {"Exporting: Surfaces (.stl), Liver", "Exporting: Surfaces (.gltf)"} <= set(announced)


# --- Names


@pytest.mark.parametrize("name", ["plain", "header", "header.seg", "header.header"])
def test_every_file_is_there_whatever_the_name_of_the_ct(app, scene, tmp_path, name):
    formats = ("nrrd", "seg.nrrd", "nii.gz", "gltf")
    volume = add_volume(app, name=name)
    node = segment(scene, volume)
    paths = scene.export(node.GetID(), volume.GetID(), ExportRequest(tmp_path, formats, (1, 2, 6, 27)))
    assert {path.name for path in paths} == {f"{name}.{suffix}" for suffix in (*formats, "json")}
    for path in paths:
        if path.suffix in (".nrrd", ".gz"):
            assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))).any()


def test_writer_that_wrote_nothing_but_says_it_did_is_not_believed(tmp_path):
    with pytest.raises(OutputError, match=r"CT\.stl could not be written"):
        export_labels.succeed(1, tmp_path / "CT.stl")


@pytest.mark.parametrize("names", [("Liver",), ("LIVER", "liver"), ("Liver_2", "Liver", "liver"), ("Spleen", "SPLEEN")])
def test_surfaces_of_names_that_differ_in_case_alone_get_files_of_their_own(app, scene, tmp_path, names):
    """Windows and macOS would write the second one over the first."""
    volume = add_volume(app)
    node, place = segment(scene, volume), placement(volume)
    for n, name in enumerate(names):
        own = slicer.vtkSegment()
        own.SetName(name)
        own.AddRepresentation("Binary labelmap", label_image(np.ones((4, 3, 2), np.uint8), place.matrix, place.start))
        node.GetSegmentation().AddSegment(own, f"own{n}")
    paths = scene.export(node.GetID(), volume.GetID(), ExportRequest(tmp_path, ("stl",), ()))
    assert len(paths) == 4 + len(names)
    assert len({path.name.casefold() for path in paths}) == len(paths)
    assert {"liver.stl", "spleen.stl"} <= {path.name for path in paths}
