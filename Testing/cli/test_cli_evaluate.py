"""``genesis-segment evaluate``: known answers, partial labels, tables, and refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from cli_builders import LIVER, an_affine, run, write_nifti

SHAPE = (16, 16, 12)
AFFINE = an_affine((2.0, 2.0, 3.0), SHAPE, np.eye(3))
CUBE, MOVED = np.s_[4:12, 4:12, 3:9], np.s_[6:14, 4:12, 3:9]


def write_labels(path: Path, places: dict[int, tuple], table: dict, affine: np.ndarray = AFFINE) -> Path:
    """A label map with a box per value, and its table."""
    labels = np.zeros(SHAPE, np.uint8)
    for value, place in places.items():
        labels[place] = value
    (path.parent / f"{path.name.removesuffix('.nii.gz')}.json").write_text(json.dumps(table))
    return write_nifti(path, labels, affine)


@pytest.fixture
def pair(tmp_path) -> tuple[Path, Path]:
    """Liver moved by two of its eight voxels; a spleen that the reference did not annotate."""
    found = {"labels": {"1": "spleen", "6": "liver"}, "classes_computed": [1, 6]}
    truth = {"labels": {"1": "liver", "2": "heart"}, "universal_model": {"1": 6}, "universal_model_annotated": [2, 6]}
    prediction = write_labels(tmp_path / "found.nii.gz", {6: MOVED, 1: np.s_[:3, :3, :3]}, found)
    reference = write_labels(tmp_path / "true.nii.gz", {1: CUBE, 2: np.s_[14:, 14:, 10:]}, truth)
    return prediction, reference


def test_json_holds_known_scores_and_leaves_out_what_was_not_annotated(pair):
    ended = run("evaluate", *pair, "--json")
    assert ended.code == 0
    document = ended.document
    assert document.keys() == {"tolerance_mm", "scores"}
    by_name = {score["name"]: score for score in document["scores"]}
    assert {name: score["status"] for name, score in by_name.items()} == {
        "spleen": "not annotated",
        "kidney_right": "not predicted",
        "liver": "scored",
    }
    liver, spleen = by_name["liver"], by_name["spleen"]
    assert liver.keys() == {
        *("index", "name", "status", "dice", "nsd", "hd95_mm", "predicted_ml", "reference_ml"),
    }
    assert liver["dice"] == pytest.approx(0.75)
    assert liver["hd95_mm"] == pytest.approx(4.0)
    assert liver["reference_ml"] == pytest.approx(8 * 8 * 6 * 12 / 1000)
    assert spleen["dice"] is spleen["nsd"] is spleen["hd95_mm"] is None


def test_the_tolerance_decides_what_counts_as_agreement(pair):
    strict, generous = (
        run("evaluate", *pair, "--classes", "liver", "--tolerance", mm, "--json").document["scores"][0]["nsd"]
        for mm in (1, 4)
    )
    assert strict < 1
    assert generous == pytest.approx(1)


def test_the_table_shows_compared_classes_and_names_the_others(pair):
    ended = run("evaluate", *pair)
    assert ended.code == 0
    row = next(line for line in ended.out.splitlines() if line.startswith("liver"))
    assert "0.750" in row
    assert "Not annotated: spleen" in ended.out
    assert "Not predicted: kidney_right" in ended.out


def test_csv_and_plot_are_written(pair, tmp_path):
    table, plot = tmp_path / "out" / "scores.csv", tmp_path / "out" / "scores.png"
    ended = run("evaluate", *pair, "--csv", table, "--plot", plot, "--tolerance", 3)
    assert ended.code == 0
    with table.open(newline="", encoding="utf-8") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert float(rows["liver"]["dice"]) == pytest.approx(0.75)
    assert rows["liver"]["nsd_tolerance_mm"] == "3"
    assert rows["spleen"]["dice"] == ""
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_partial_labels_of_a_real_reference_are_respected(shared_data, tmp_path):
    """The lungs as annotated and a liver that nobody looked for: it must not cost anything."""
    case = shared_data / "unclear_licence" / "cip" / "cip_ct64"
    truth = json.loads((case / "labels.json").read_text())
    image = nibabel.load(case / "labels.nii.gz")
    labels = np.asarray(image.dataobj)
    found = np.zeros(labels.shape, np.uint8)
    for value, index in truth["universal_model"].items():
        found[labels == int(value)] = index
    found[30:34, 30:34, 5:9] = LIVER
    prediction = write_nifti(tmp_path / "found.nii.gz", found, image.affine)
    table = {"labels": {"6": "liver", "16": "lung_right", "17": "lung_left"}, "classes_computed": [6, 16, 17]}
    (tmp_path / "found.json").write_text(json.dumps(table))
    scores = {score["name"]: score for score in run("evaluate", prediction, case, "--json").document["scores"]}
    assert scores["liver"]["status"] == "not annotated"
    assert scores["liver"]["dice"] is None
    assert scores["lung_right"]["dice"] > 0.99
    assert scores["lung_left"]["dice"] > 0.99


def test_a_slicer_segmentation_with_the_extent_of_its_segments_is_compared_and_a_tumour_is_liver(tmp_path):
    """As older versions of Slicer save it: cropped, and with the tumour cut out of the liver."""
    table = {"labels": {"1": "liver", "2": "liver_tumor"}}
    reference = write_labels(tmp_path / "true.nii.gz", {1: CUBE, 2: np.s_[6:8, 6:8, 4:6]}, table)
    part = np.s_[3:13, 4:12, 2:10]
    image = sitk.ReadImage(str(reference))[part]
    for n, name in enumerate(("liver", "liver_tumor")):
        for key, text in {"ID": name, "Name": name, "LabelValue": str(n + 1), "Layer": "0"}.items():
            image.SetMetaData(f"Segment{n}_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "drawn.seg.nrrd"))
    for pair in ((tmp_path / "drawn.seg.nrrd", reference), (reference, tmp_path / "drawn.seg.nrrd")):
        ended = run("evaluate", *pair, "--json")
        assert ended.code == 0
        assert [score["dice"] for score in ended.document["scores"]] == [1.0, 1.0]
        assert ended.document["scores"][0]["reference_ml"] == pytest.approx(8 * 8 * 6 * 12 / 1000)
        assert "Organs include their lesions: liver_tumor as liver" in ended.err


def test_other_grids_and_files_that_are_no_labels_are_refused(pair, tmp_path, ct):
    prediction, reference = pair
    moved = AFFINE.copy()
    moved[0, 3] += 1
    elsewhere = write_labels(tmp_path / "moved.nii.gz", {6: CUBE}, {"labels": {"6": "liver"}}, moved)
    for one, other, kind in (
        (elsewhere, reference, "geometry"),
        (ct, reference, "input"),
        (prediction, tmp_path / "absent.nii.gz", "input"),
        (tmp_path / "found.json", reference, "input"),
        (tmp_path, reference, "input"),
    ):
        ended = run("evaluate", one, other, "--json")
        assert ended.code == 3
        assert ended.document["error"]["code"] == kind
        assert ended.document["error"]["remedy"]


def test_an_unknown_class_is_refused(pair):
    assert run("evaluate", *pair, "--classes", "liver,elbow").code == 3


def test_a_table_that_cannot_be_written_ends_with_the_code_for_output(pair, tmp_path):
    (tmp_path / "file").touch()
    ended = run("evaluate", *pair, "--csv", tmp_path / "file" / "scores.csv", "--json")
    assert ended.code == 6
    assert ended.document["error"]["code"] == "output"
