"""``genesis-segment segment`` to DICOM SEG where nothing was found: everything but the SEG, which cannot say so."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from builders import write_dicom_series
from cli_builders import AIR_HU, BODY_HU, an_affine, blob_ct, files_in, run
from GenesisSegmentLib.core.geometry import Geometry

pytest.importorskip("highdicom")
SIDE_FILES = ("measurements.csv", "measurements.json", "overview.png", "report.json")
NOTE = "Nothing was found, so there is no DICOM SEG: it cannot hold zero segments."
WHAT_HIGHDICOM_ASKS_FOR = {
    **{"StudyDate": "20260101", "StudyTime": "101010", "StudyID": "1", "AccessionNumber": ""},
    **{"ReferringPhysicianName": "", "Manufacturer": "Test", "PatientBirthDate": "", "PatientSex": "F"},
    **{"SliceThickness": 5, "PositionReferenceIndicator": ""},
}


def side_files(*names: str) -> set[str]:
    return {f"{name}.{end}" for name in names for end in SIDE_FILES}


def write_series(folder: Path, has_blob: bool) -> Path:
    """The blob CT, oblique, as a DICOM series; the model of the tests finds nothing in it without the blob."""
    shape = (44, 36, 40)
    turned = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    affine = an_affine((5.0, 5.0, 5.0), shape, turned)
    voxels = blob_ct(shape, affine)
    if not has_blob:
        voxels = np.where(voxels > AIR_HU, BODY_HU, AIR_HU).astype(np.int16)
    write_dicom_series(folder, voxels, Geometry(shape, affine), **WHAT_HIGHDICOM_ASKS_FOR)
    return folder


@pytest.fixture(scope="module")
def two_series(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dicom")
    write_series(folder / "blob", has_blob=True)
    write_series(folder / "empty", has_blob=False)
    return folder


def test_in_a_batch_the_case_is_done_and_its_measurements_are_kept(two_series, model, tmp_path):
    arguments = (two_series, "--model", model, "-o", tmp_path, "--format", "dcm")
    ended = run("segment", *arguments, "--json")
    assert ended.code == 0
    assert files_in(tmp_path) == {"summary.csv", "blob.dcm", *side_files("blob", "empty")}
    blob, empty = ended.document["cases"]
    assert [case["status"] for case in (blob, empty)] == ["done", "done"]
    assert blob["report"]["segmentation"] == str(tmp_path / "blob.dcm")
    assert empty["report"]["segmentation"] is None
    assert (NOTE in blob["report"]["notes"], NOTE in empty["report"]["notes"]) == (False, True)
    assert [m["voxels"] for m in empty["measurements"]] == [0, 0]
    with (tmp_path / "summary.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["status"], row["segmentation"], NOTE in row["notes"]) for row in rows] == [
        ("done", str(tmp_path / "blob.dcm"), False),
        ("done", "", True),
    ]


def test_it_is_not_done_again_in_this_format_but_in_another(two_series, model, tmp_path):
    arguments = (two_series, "--model", model, "-o", tmp_path, "--format")
    run("segment", *arguments, "dcm")
    again = run("segment", *arguments, "dcm")
    assert again.code == 0
    _, blob, empty = again.out.splitlines()
    assert blob.split()[:1] == ["blob"]
    assert "no DICOM SEG" not in blob
    assert "done before  no DICOM SEG, as it cannot hold zero segments" in empty
    other = run("segment", *arguments, "seg.nrrd", "--json").document["cases"]
    assert [case["status"] for case in other] == ["done", "done"]
    assert (tmp_path / "empty.seg.nrrd").is_file()


@pytest.mark.parametrize("is_changed", [False, True], ids=["as it was left", "changed by somebody"])
def test_a_seg_of_an_earlier_run_does_not_pass_for_the_result(is_changed, two_series, model, tmp_path):
    target = tmp_path / "out.dcm"
    arguments = ("segment", two_series / "blob", "--model", model, "-o", target)
    assert run(*arguments).code == 0
    if is_changed:
        target.write_bytes(target.read_bytes() + b"mine")
    ended = run(*arguments, "--classes", "spleen")
    assert ended.code == 0
    assert f"Note: {NOTE}" in ended.err
    assert files_in(tmp_path) == side_files("out") | ({"out.kept-1.dcm"} if is_changed else set())
