"""The starter learns from openly licensed cases only, and knows left from right before it starts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.starter.cases import (
    GRID_MM,
    HELD_OUT,
    aerated_lungs,
    held_out_cases,
    lungs_by_threshold,
    to_grid,
    training_cases,
)

CASE_FIELDS = ("case", "path", "licence", "modality", "region", "patient_group", "labelled")
MAP_FIELDS = ("case", "path", "licence", "ship", "um_annotated", "patient_group")


def write_table(path: Path, fields: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fields)
        writer.writeheader()
        writer.writerows(rows)


def a_data_folder(folder: Path, licences: dict[str, str], groups: dict[str, str] | None = None) -> Path:
    """A CASES.csv with one tiny labelled CT per entry of ``licences``, and an empty table of label maps."""
    rows = []
    for name, licence in licences.items():
        case = folder / name
        case.mkdir(parents=True)
        labels = np.zeros((12, 12, 12), np.uint8)
        labels[3:7, 3:7, 3:7] = 5
        for file, values in (("ct.nii.gz", labels.astype(np.int16) * 10), ("labels.nii.gz", labels)):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((GRID_MM,) * 3)
            sitk.WriteImage(image, str(case / file))
        facts = {"universal_model": {"5": 6}, "universal_model_annotated": [1, 6]}
        (case / "labels.json").write_text(json.dumps(facts))
        group = (groups or {}).get(name, name)
        rows.append(dict(zip(CASE_FIELDS, (name, name, licence, "CT", "abdomen", group, "yes"), strict=True)))
    write_table(folder / "CASES.csv", CASE_FIELDS, rows)
    write_table(folder / "labelmaps" / "LABELMAPS.csv", MAP_FIELDS, [])
    return folder


def test_only_cases_with_an_open_licence_are_used(tmp_path):
    licences = {
        "open": "CC BY 4.0 (TCIA)",
        "apache": "Apache-2.0 (repository)",
        "noncommercial": "CC BY-NC 3.0 (TCIA)",
        "unclear": "unclear (repository under a BSD-style licence, CC BY 4.0 claimed)",
        "unknown": "",
    }
    data = a_data_folder(tmp_path, licences)
    assert {case.name for case in training_cases(data)} == {"open", "apache"}


def test_held_out_patients_are_never_used_under_any_case_name(tmp_path):
    data = a_data_folder(tmp_path, {"a": "CC BY 4.0", "b": "CC BY 4.0"}, {"b": HELD_OUT[0]})
    assert {case.name for case in training_cases(data)} == {"a"}


def test_what_is_held_out_is_measured_on_and_nothing_else(tmp_path):
    licences = {"a": "CC BY 4.0", "b": "CC BY 4.0", "c": "CC BY-NC 3.0"}
    data = a_data_folder(tmp_path, licences, {"b": HELD_OUT[0], "c": HELD_OUT[0]})
    (case,) = held_out_cases(data, 6.0)
    assert case.name == "b"
    assert case.ct is not None
    assert case.ct.shape == case.labels.shape == (6, 6, 6)
    assert set(np.unique(case.labels)) == {0, 6}
    with pytest.raises(InputError, match=r"CASES\.csv"):
        list(held_out_cases(tmp_path / "nowhere"))


def test_labels_become_universal_classes_and_unannotated_classes_stay_unknown(tmp_path):
    (case,) = training_cases(a_data_folder(tmp_path, {"a": "CC BY 4.0"}))
    assert set(np.unique(case.labels)) == {0, 6}
    assert case.annotated == (1, 6)


def test_a_folder_without_a_table_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"CASES\.csv"):
        list(training_cases(tmp_path))


def test_the_grid_runs_to_right_front_and_head_whatever_the_file_says():
    labels = np.zeros((20, 20, 20), np.uint8)  # k, j, i as SimpleITK has it
    labels[15, 4, 2] = 1
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing((GRID_MM,) * 3)  # LPS: i = 2 is far to the patient's right, j = 4 in front, k = 15 up
    straight = to_grid(image, sitk.sitkNearestNeighbor, 0)
    flipped = to_grid(sitk.DICOMOrient(image, "RAI"), sitk.sitkNearestNeighbor, 0)
    (index,) = np.argwhere(straight)
    assert tuple(index) == (17, 15, 15)
    np.testing.assert_array_equal(straight, flipped)


def test_lungs_by_threshold_tells_left_from_right_and_leaves_outside_air_alone():
    ct = np.full((60, 50, 40), -1000, np.int16)
    ct[5:55, 5:45, :] = 40
    ct[10:26, 12:38, 5:35] = -850  # low first index: the patient's left
    ct[34:50, 12:38, 5:35] = -850
    labels = lungs_by_threshold(ct)
    assert set(np.unique(labels[10:26])) <= {0, 17}
    assert set(np.unique(labels[34:50])) <= {0, 16}
    assert (labels == 17).sum() > 5000
    assert (labels == 16).sum() > 5000
    assert not labels[:5].any()


@pytest.mark.parametrize(
    ("region", "known"),
    [
        ("chest", (16, 17)),
        ("chest (large right pleural effusion, lung lesion)", (17,)),
        ("chest, effusion on the left", (16,)),
        ("chest with an effusion", ()),
    ],
)
def test_a_lung_beside_an_effusion_is_left_unknown(region, known):
    assert aerated_lungs(region) == known


def test_every_real_training_case_may_be_used_and_lies_the_right_way_round(shared_data):
    cases = list(training_cases(shared_data))
    assert len(cases) >= 8
    names = {case.name for case in cases}
    assert not names & {"cptac_pda_C3N-00249", "lung1_001", "lung1_002", "cip_ct64", "nsclc_crop_pat1"}
    for case in cases:
        assert "NC" not in case.licence
        for right, left in ((6, 1), (2, 3), (16, 17)):
            r, liver_side = np.argwhere(case.labels == right), np.argwhere(case.labels == left)
            if len(r) > 50 and len(liver_side) > 50:
                assert r[:, 0].mean() > liver_side[:, 0].mean(), case.name


def test_the_training_grid_agrees_with_the_reader_on_where_the_patient_lies(shared_data):
    folder = shared_data / "totalsegmentator" / "ts_example_abdomen"
    volume = read_volume(folder / "ct.nii.gz")
    straight = volume.geometry.to_ras.apply(volume.voxels)
    grid = to_grid(sitk.ReadImage(str(folder / "ct.nii.gz")), sitk.sitkNearestNeighbor, -1024)
    assert grid.shape == straight.shape
    assert (grid == straight).mean() > 0.999
