"""``genesis-segment segment`` on one CT: complete results of its geometry, and what people and machines are told."""

from __future__ import annotations

import csv
import json
import os
import sys
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders import rotation
from cli_builders import (
    BLOB_AT,
    LIVER,
    SPLEEN,
    an_affine,
    blob_ct,
    files_in,
    in_blob,
    positions,
    run,
    write_nifti,
)
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine import phantom as phantoms
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.models.samples import SampleStore

SIDE_FILES = {"measurements.csv", "measurements.json", "overview.png", "report.json"}
REPORT_KEYS = {
    *("source", "version", "model", "model_sha256", "recipe", "postprocess", "device", "windows", "seconds"),
    *(
        "classes_computed",
        "classes_found",
        "segmentation",
        "files",
        "sha256",
        "notes",
        "settings",
        "overlap",
        "is_everywhere",
    ),
}
GRIDS = {
    "straight": np.eye(3),
    "as DICOM has it": np.diag([-1.0, -1.0, 1.0]),
    "flipped left to right": np.diag([-1.0, 1.0, 1.0]),
    "axes permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique": rotation((10, -20, 30)),
    "oblique and flipped": rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]),
}


def offered() -> list[str]:
    return [class_table()[c].slug for c in load_catalogue()["starter"].facts.offered]


def label_map(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def test_the_starter_leaves_complete_results_of_the_ct_s_geometry(starter_run, phantom):
    ended, folder = starter_run
    assert ended.code == 0
    assert files_in(folder) == {"out.seg.nrrd", *(f"out.{name}" for name in SIDE_FILES)}
    source = nibabel.load(phantom)
    labels = read_labels(folder / "out.seg.nrrd").segmentation
    assert labels.geometry.matches(Geometry(source.shape, source.affine), tolerance_mm=1e-3)
    assert (folder / "out.overview.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((folder / "out.report.json").read_text())
    assert [class_table()[c].slug for c in labels.classes] == report["classes_computed"]
    with (folder / "out.measurements.csv").open(newline="") as stream:
        rows = [row["name"] for row in csv.DictReader(stream) if not row["lesion"]]
    assert rows == report["classes_computed"]


def test_json_is_one_document_with_stated_keys(starter_run, phantom):
    ended, folder = starter_run
    document = ended.document
    assert document.keys() == {"source", "series", "status", "report", "measurements", "error"}
    assert (document["source"], document["status"], document["error"]) == (str(phantom), "done", None)
    report = document["report"]
    assert report.keys() == REPORT_KEYS
    assert report == json.loads((folder / "out.report.json").read_text())
    assert (report["model"], report["recipe"], report["postprocess"], report["device"]) == (
        *("starter", "fast", "safe"),
        "cpu",
    )
    assert report["segmentation"] == str(folder / "out.seg.nrrd")
    assert {Path(file).name for file in report["files"]} == files_in(folder) - {"out.report.json"}
    assert set(report["classes_found"]) <= set(report["classes_computed"])
    measured = document["measurements"]
    assert [m["name"] for m in measured] == report["classes_computed"]
    assert {m["name"] for m in measured if m["voxels"]} == set(report["classes_found"])


def test_the_starter_offers_what_the_catalogue_says(starter_run):
    assert starter_run[0].document["report"]["classes_computed"] == offered()


def test_both_runtimes_agree_on_the_starter(starter_run, phantom, tmp_path):
    ended = run("segment", phantom, "-o", tmp_path / "torch.seg.nrrd", "--runtime", "torch")
    assert ended.code == 0
    one, other = (
        read_labels(path).segmentation for path in (starter_run[1] / "out.seg.nrrd", tmp_path / "torch.seg.nrrd")
    )
    assert one.classes == other.classes
    assert np.mean(one.bits != other.bits) < 0.001


@pytest.mark.parametrize("axes", GRIDS.values(), ids=GRIDS)
def test_what_lies_on_the_left_stays_on_the_left(axes, model, tmp_path):
    shape = (42, 38, 40)
    affine = an_affine((4.5, 5.0, 5.5), shape, axes)
    path = write_nifti(tmp_path / "ct.nii.gz", blob_ct(shape, affine), affine)
    assert run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz").code == 0
    labels, stored = label_map(tmp_path / "out.nii.gz")
    assert labels.shape == shape
    np.testing.assert_allclose(stored, affine, atol=1e-4)
    found, true = labels == LIVER, in_blob(shape, affine)
    assert 2 * np.count_nonzero(found & true) / (np.count_nonzero(found) + np.count_nonzero(true)) > 0.9
    np.testing.assert_allclose(positions(shape, affine)[found].mean(axis=0), BLOB_AT, atol=2)


def test_a_flipped_copy_gets_the_same_labels_at_the_same_places(model, ct, tmp_path):
    voxels, affine = label_map(ct)
    flip = np.eye(4)
    flip[0, 0], flip[0, 3] = -1, voxels.shape[0] - 1
    copy = write_nifti(tmp_path / "copy.nii.gz", voxels[::-1], affine @ flip)
    for path in (ct, copy):
        assert run("segment", path, "--model", model, "-o", tmp_path / f"{path.name[:4]}-out.nii.gz").code == 0
    (one, _), (other, _) = label_map(tmp_path / "blob-out.nii.gz"), label_map(tmp_path / "copy-out.nii.gz")
    assert one.any()
    np.testing.assert_array_equal(one, other[::-1])


@pytest.mark.parametrize("target", ["out.seg.nrrd", "out.nii.gz", "out.nrrd", "out.mha", "deep/down/masks"])
def test_the_form_of_the_result_follows_its_name(target, model, ct, tmp_path):
    ended = run("segment", ct, "--model", model, "-o", tmp_path / target, "--json")
    assert ended.code == 0
    source = nibabel.load(ct)
    read = read_labels(tmp_path / target).segmentation
    assert read.geometry.matches(Geometry(source.shape, source.affine), tolerance_mm=1e-3)
    assert read.classes == (SPLEEN, LIVER)
    assert read.present() == (LIVER,)
    np.testing.assert_array_equal(read.mask(LIVER), in_blob(source.shape, source.affine))
    assert all(Path(file).is_file() for file in ended.document["report"]["files"])


@pytest.mark.parametrize("name", ["nsclc_pat2_ct_rtstruct", "dcmqi_liver3_ct_seg"])
def test_dicom_in_and_dicom_out(name, shared_data, model, tmp_path):
    """The first lies beside contours; the second beside a segmentation, and its character set is empty."""
    pytest.importorskip("highdicom")
    series = shared_data / "dicom" / name
    assert run("segment", series, "--model", model, "-o", tmp_path / "out.dcm").code == 0
    assert files_in(tmp_path) == {"out.dcm", *(f"out.{name}" for name in SIDE_FILES)}
    assert run("segment", tmp_path / "out.dcm", "--model", model, "-o", tmp_path / "again.nii.gz").code == 3


def test_without_out_the_result_goes_to_a_folder_of_its_own(model, ct, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("segment", ct, "--model", model).code == 0
    assert run("segment", ct, "--model", model, "--format", "masks").code == 0
    found = files_in(tmp_path)
    assert {"genesis-output/blob.seg.nrrd", "genesis-output/blob/liver.nii.gz"} <= found


@pytest.mark.parametrize(
    ("asked", "computed"), [("liver", ["liver"]), (" Spleen,,6 ", ["spleen", "liver"]), ("1", ["spleen"])]
)
def test_only_the_asked_classes_are_computed(asked, computed, model, ct, tmp_path):
    ended = run("segment", ct, "--model", model, "--classes", asked, "-o", tmp_path / "out.seg.nrrd", "--json")
    assert ended.document["report"]["classes_computed"] == computed
    assert [m["name"] for m in ended.document["measurements"]] == computed


@pytest.mark.parametrize("name", ["a[1] b.nii.gz", "[bold]x[red].nii.gz", "größe $x^{$.nii.gz", "日本.nii.gz"])
def test_odd_file_names_are_kept_and_shown(name, model, ct, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(ct.read_bytes())
    ended = run("segment", name, "--model", model)
    assert ended.code == 0
    shown = f"genesis-output/{name.removesuffix('.nii.gz')}.seg.nrrd"
    assert shown in ended.err
    assert (tmp_path / shown).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are always text")
def test_a_name_that_is_no_text_is_no_obstacle(model, ct, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.nii.gz"))
    path.write_bytes(ct.read_bytes())
    ended = run("segment", path, "--model", model, "-o", tmp_path / "out.seg.nrrd", "--json")
    assert ended.code == 0
    assert ended.document["report"]["source"] == str(path)


def test_a_volume_smaller_than_a_patch_works(tmp_path):
    shape = (9, 8, 5)
    affine = an_affine((6.0, 6.0, 6.0), shape, np.eye(3))
    voxels = np.full(shape, 40, np.int16)
    voxels[0], voxels[:, 0] = -1000, -100
    path = write_nifti(tmp_path / "ct.nii.gz", voxels, affine)
    assert run("segment", path, "-o", tmp_path / "out.nii.gz").code == 0
    labels, stored = label_map(tmp_path / "out.nii.gz")
    assert labels.shape == shape
    np.testing.assert_allclose(stored, affine, atol=1e-4)


def test_people_see_notes_measurements_and_where_the_files_are(model, ct, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run("segment", ct, "--model", model, "-o", "out.nii.gz")
    assert ended.out.splitlines()[0].split() == ["Class", "Volume", "ml", "Mean", "HU", "SD", "HU"]
    row = next(line for line in ended.out.splitlines() if line.startswith("liver"))
    assert row.split()[2] == "300"
    assert "Not found: spleen" in ended.out
    assert "Its licence is not known" in ended.err
    assert "Not for clinical use" in ended.err
    listed = {line.strip() for line in ended.err.splitlines() if line.startswith("  ")}
    assert listed == files_in(tmp_path) - {"out.report.json"}


def test_an_organ_at_the_edge_is_marked_as_cut(model, ct, tmp_path):
    voxels, affine = label_map(ct)
    path = write_nifti(tmp_path / "ct.nii.gz", voxels[:, :, 14:], affine @ _shift(0, 0, 14))
    assert "cut by edge" in run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz").out


@pytest.fixture
def small_phantom(monkeypatch):
    """The sample at 6 mm: only its name matters here."""
    monkeypatch.setattr(phantoms, "phantom_ct", partial(phantoms.phantom_ct, spacing_mm=6))


@pytest.mark.usefixtures("small_phantom")
def test_the_offline_sample_is_the_phantom_and_says_so(model, tmp_path, monkeypatch):
    monkeypatch.setattr(SampleStore, "fetch", lambda *_: pytest.fail("a download was tried"))
    ended = run("segment", "--sample", "--offline", "--model", model, "-o", tmp_path / "out.seg.nrrd")
    assert ended.code == 0
    assert "synthetic phantom CT" in ended.err


@pytest.mark.usefixtures("small_phantom")
def test_the_sample_falls_back_to_the_phantom_where_nobody_can_agree(model, tmp_path):
    ended = run("segment", "--sample", "--model", model, "-o", tmp_path / "out.seg.nrrd", "--json")
    assert ended.code == 0
    assert ended.document["source"] == "sample"
    assert "No public sample CT" in ended.err
    assert "synthetic phantom CT" in ended.err


def test_a_result_that_somebody_changed_is_kept_under_another_name(model, ct, tmp_path):
    target = tmp_path / "out.nii.gz"
    command = ("segment", ct, "--model", model, "-o", target, "--json")
    run(*command)
    assert not any(path.name.startswith("out.kept") for path in tmp_path.iterdir())
    run(*command)
    assert not any(path.name.startswith("out.kept") for path in tmp_path.iterdir())
    target.write_bytes(b"two hours of work")
    notes = run(*command).document["report"]["notes"]
    assert (tmp_path / "out.kept-1.nii.gz").read_bytes() == b"two hours of work"
    assert any("out.kept-1.nii.gz" in note for note in notes)
    assert label_map(target)[0].any()


def test_a_mask_of_an_earlier_run_does_not_pass_for_a_result(model, ct, tmp_path):
    run("segment", ct, "--model", model, "-o", tmp_path / "masks")
    assert (tmp_path / "masks" / "liver.nii.gz").is_file()
    run("segment", ct, "--model", model, "-o", tmp_path / "masks", "--classes", "spleen")
    assert not (tmp_path / "masks" / "liver.nii.gz").exists()


def _shift(*index: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = index
    return matrix


@pytest.mark.parametrize("given", [(), ("--everywhere",)])
def test_the_whole_ct_is_searched_on_request(given, tmp_path, phantom, monkeypatch):
    """The options reach the engine; what they do there is tested there."""
    asked = []
    monkeypatch.setattr(
        Segmenter, "segment", lambda self, volume, options, *rest, **more: asked.append(options) or 1 / 0
    )
    run("segment", phantom, "--classes", "spleen", *given, "-o", tmp_path / "out.seg.nrrd")
    assert [options.everywhere for options in asked] == [bool(given)]
