"""The small collaborators of the panel: how the worker is started, sample data, translation, DICOM SEG."""

from __future__ import annotations

import importlib
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from builders import rotation
from GenesisSegmentLib.core import i18n
from GenesisSegmentLib.core.errors import GeometryError, InputError, OutputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def python_slicer(tmp_path, monkeypatch):
    """A program called PythonSlicer on the PATH, as Slicer puts one there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "PythonSlicer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


@pytest.mark.skipif(os.name == "nt", reason="the program of the fixture is a shell script")
def test_worker_runs_in_slicers_python_without_the_persons_own(slicer_bench, python_slicer, monkeypatch):
    from GenesisSegmentLib.ui.launch import worker_launch

    monkeypatch.setenv("PYTHONHOME", "/opt/other")
    monkeypatch.setenv("PYTHONPATH", "/opt/other/lib")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    launch = worker_launch()
    assert launch.argv == (str(python_slicer), "-m", "GenesisSegmentLib.worker")
    assert "PYTHONHOME" not in launch.env
    assert launch.env["PYTHONPATH"] == str(ROOT / "GenesisSegment")
    assert launch.env["HTTPS_PROXY"] == "http://proxy:3128"
    assert launch.log.is_relative_to(slicer_bench.app.cachePath)


def test_missing_program_becomes_a_message_of_the_client(slicer_bench, tmp_path, monkeypatch):
    from GenesisSegmentLib.core.protocol import Failure, Hello
    from GenesisSegmentLib.core.worker_client import WorkerClient
    from GenesisSegmentLib.ui.launch import bulk_folder, worker_launch

    monkeypatch.setenv("PATH", str(tmp_path))
    client = WorkerClient(worker_launch(), bulk_folder())
    client.send(Hello("a"))
    events: list = []
    slicer_bench.wait_until(lambda: events.extend(client.pump()) or events)
    client.close()
    assert isinstance(events[0], Failure)
    assert "could not be started" in events[0].what


def test_samples_are_those_of_the_command_line():
    pytest.importorskip("filelock")
    from GenesisSegmentLib.engine.models.samples import SAMPLES as KNOWN
    from GenesisSegmentLib.ui.sample_data import SAMPLES

    for sample in SAMPLES:
        remote = KNOWN[sample.name].remote
        assert (sample.file, sample.url, sample.sha256) == (remote.file, remote.url, remote.sha256)


def test_slicer_without_sample_data_starts_all_the_same(slicer_bench, monkeypatch):
    from GenesisSegmentLib.ui.sample_data import register

    monkeypatch.setitem(sys.modules, "SampleData", None)
    register()


def test_samples_are_registered_with_checksum_and_picture(slicer_bench):
    import SampleData

    from GenesisSegmentLib.ui.sample_data import register

    register()
    for source in SampleData.sources:
        assert source["checksums"].removeprefix("SHA256:") in source["uris"]
        assert Path(source["thumbnailFileName"]).is_file()
        assert source["category"] == "GenesisSegment"


def test_text_is_translated_under_the_name_of_its_own_file(bench_app, monkeypatch):
    import slicer

    from GenesisSegmentLib.core.workflow import text
    from GenesisSegmentLib.ui import translations

    asked = []
    monkeypatch.setattr(slicer.i18n, "translate", lambda context, words: asked.append((context, words)) or words)
    translations.install()
    try:
        assert text.duration_text(0.5) == "less than 1 s"
    finally:
        i18n.set_translator()
    assert asked == [("workflow.text", "less than 1 s")]


def test_every_module_inside_slicer_can_be_imported(bench_app):
    for room in ("ui", "mrml"):
        for path in (ROOT / "GenesisSegment" / "GenesisSegmentLib" / room).glob("*.py"):
            importlib.import_module(f"GenesisSegmentLib.{room}.{path.stem}")


def test_settings_are_kept_under_a_name_of_their_own(slicer_bench):
    from GenesisSegmentLib.ui.settings import Settings

    settings = Settings()
    assert settings.get("device", "auto") == "auto"
    settings.set("device", "cuda:0")
    assert Settings().get("device", "auto") == "cuda:0"
    assert slicer_bench.qt.QSettings().value("GenesisSegment/device") == "cuda:0"


# --- DICOM SEG ----------------------------------------------------------------------------------------------------


class Exporter:
    """What Slicer's DICOMSegmentationPlugin offers, as far as it is used; writes a file, or fails."""

    made: list[Exporter] = []  # noqa: RUF012
    failure: Exception | None = None

    def __init__(self, segmentationNode, contentCreatorName=None):
        self.node, self.is_clean = segmentationNode, False
        self.made.append(self)

    def export(self, outputDirectory, segFileName, metadata, segmentIDs=None, skipEmpty=False):
        self.metadata, self.segments = metadata, segmentIDs
        if self.failure is not None:
            raise self.failure
        (Path(outputDirectory) / segFileName).write_bytes(b"DICM")

    def cleanup(self):
        self.is_clean = True


@pytest.fixture
def exporter(monkeypatch):
    plugin = types.ModuleType("DICOMSegmentationPlugin")
    plugin.DICOMSegmentationExporter = type("Exporter", (Exporter,), {"made": []})
    monkeypatch.setitem(sys.modules, "DICOMSegmentationPlugin", plugin)
    return plugin.DICOMSegmentationExporter


class Database:
    """What Slicer's DICOM database says of the files of a CT: ``tags`` by UID."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {}

    def fileForInstance(self, uid):
        return f"/db/{uid}.dcm" if uid in self.tags else ""

    def fileValue(self, file, tag):
        return self.tags[Path(file).stem].get(tag, "")

    def put(self, volume):
        """The files of a CT where it is now, one for each slice along k."""
        matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras(volume)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        axes = np.concatenate([matrix[:3, axis] / spacing[axis] for axis in (0, 1)])
        uids = [f"1.2.{k}" for k in range(volume.GetImageData().GetDimensions()[2])]
        for k, uid in enumerate(uids):
            values = (matrix[:3, 3] + k * matrix[:3, 2], axes, spacing[[1, 0]])
            texts = ["\\".join(f"{part:.6f}" for part in value) for value in values]
            self.tags[uid] = dict(zip(("0020,0032", "0020,0037", "0028,0030"), texts, strict=True))
        volume.SetAttribute("DICOM.instanceUIDs", " ".join(reversed(uids)))


def ijk_to_ras(volume):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def harden(volume, change):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy((change @ ijk_to_ras(volume)).ravel())
    volume.SetIJKToRASMatrix(matrix)


@pytest.fixture
def database(slicer_bench, monkeypatch):
    database = Database()
    monkeypatch.setattr(slicer_bench.slicer, "dicomDatabase", database, raising=False)
    return database


@pytest.fixture
def nodes(slicer_bench, database):
    """An oblique CT from DICOM and a segmentation of it: liver with voxels; the spleen shares its image, has none."""
    slicer = slicer_bench.slicer
    volume = slicer.util.addVolumeFromArray(np.zeros((8, 9, 7), np.int16), name="CT")
    turn = np.eye(4)
    turn[:3, :3] = rotation((20, -10, 35)) @ np.diag([0.7, -0.8, 2.5])
    turn[:3, 3] = -120, 44.5, 901
    harden(volume, turn)
    database.put(volume)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "CT segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name)
    voxels = np.zeros((8, 9, 7), np.uint8)
    voxels[2:4, 2:4, 2:4] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, "liver", volume)
    return node, volume


def test_dicom_seg_takes_the_segments_that_have_voxels(nodes, exporter, tmp_path):
    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert (tmp_path / "CT.dcm").read_bytes() == b"DICM"
    (used,) = exporter.made
    assert used.segments == ["liver"]
    assert used.metadata == {"SeriesDescription": "CT segmentation"}
    assert used.is_clean


def test_ct_that_is_not_from_dicom_is_refused(nodes, exporter, tmp_path):
    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    nodes[1].RemoveAttribute("DICOM.instanceUIDs")
    with pytest.raises(InputError, match="DICOM module"):
        export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert exporter.made == []


def a_shift(*mm):
    change = np.eye(4)
    change[:3, 3] = mm
    return change


def a_turn(*degrees):
    change = np.eye(4)
    change[:3, :3] = rotation(degrees)
    return change


@pytest.mark.parametrize(
    "change", [a_shift(6, 0, 0), a_shift(0, 0, 2.5), a_turn(0, 3, 0), np.diag([1, 1, 1.2, 1]), np.diag([-1, 1, 1, 1])]
)
def test_ct_on_which_a_transform_was_hardened_gets_no_dicom_seg(nodes, exporter, tmp_path, change):
    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    harden(nodes[1], change)
    with pytest.raises(GeometryError, match=r"CT does not lie where its DICOM files have it.*\.seg\.nrrd"):
        export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert exporter.made == []


def test_cropped_ct_gets_no_dicom_seg_and_hears_what_may_have_happened(nodes, exporter, tmp_path):
    import vtk

    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    image = vtk.vtkImageData()
    image.SetDimensions(4, 5, 8)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    nodes[1].SetAndObserveImageData(image)
    cut = ijk_to_ras(nodes[1])
    harden(nodes[1], cut @ a_shift(2, 2, 0) @ np.linalg.inv(cut))
    with pytest.raises(GeometryError) as caught:
        export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert "for example because it was cropped, or a transform was hardened on it" in caught.value.what
    assert caught.value.remedy.startswith("Export .seg.nrrd")
    assert exporter.made == []


def test_ct_of_which_the_database_tells_nothing_is_left_to_the_exporter(nodes, database, exporter, tmp_path):
    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    for uid in list(database.tags):
        database.tags[uid] = {}
    export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert len(exporter.made) == 1


@pytest.mark.parametrize("failure", [ValueError("missing 3 files"), RuntimeError("itkimage2segimage failed"), None])
def test_failure_of_the_exporter_is_told_and_leaves_nothing(nodes, exporter, tmp_path, failure):
    from GenesisSegmentLib.ui.dicom_seg import export_dicom_seg

    exporter.failure = failure
    if failure is None:
        exporter.export = lambda *_, **__: True  # says that it worked, but wrote nothing
    with pytest.raises(OutputError, match=str(failure) if failure else "could not be written"):
        export_dicom_seg(*nodes, tmp_path / "CT.dcm")
    assert exporter.made[0].is_clean
    assert list(tmp_path.iterdir()) == [tmp_path / "slicer"]
