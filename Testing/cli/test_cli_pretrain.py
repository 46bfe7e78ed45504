"""``genesis-segment pretrain``: from CTs to weights, and what it refuses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from builders import ct_voxels
from cli_builders import run
from dicom_builders import series
from GenesisSegmentLib.cli.pretrain import find_scans
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.pretraining import recipe as recipes


def a_ct(path: Path, seed: int) -> Path:
    """As large as a small crop of the starter needs at its grid of 4 mm."""
    nibabel.save(nibabel.Nifti1Image(ct_voxels((24, 24, 24), seed=seed), np.diag([4.0, 4.0, 4.0, 1.0])), path)
    return path


@pytest.fixture
def cts(tmp_path: Path) -> list[Path]:
    return [a_ct(tmp_path / f"{n}.nii.gz", n) for n in range(3)]


@pytest.fixture(autouse=True)
def small_recipe(monkeypatch):
    crops = replace(recipes.QUICK_STARTER.crops, per_scan=2)
    distortions = replace(recipes.QUICK_STARTER.distortions, shuffled_blocks=50)
    quick = replace(recipes.QUICK_STARTER, crops=crops, distortions=distortions, batch=2, precision="32-true")
    monkeypatch.setattr(recipes, "QUICK_STARTER", quick)


def test_weights_and_pictures_come_from_cts_and_a_second_call_goes_on(cts, tmp_path):
    options = ["--network", "starter", "--quick", "--crop", "16x16x16", "-o", tmp_path / "out.pt", "--json"]
    first = run("pretrain", *cts, *options, "--steps", 1, "--pictures", tmp_path / "pictures")
    assert first.code == 0, first.err
    assert first.document["steps"] == 1
    assert first.document["ended"] == "steps"
    assert "Learning from 4 crops of 2 CTs, judging by 2 crops of 1 CTs" in first.err
    assert load(tmp_path / "out.pt").architecture == "genesis_starter"
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["distortions.png", "restorations.png"]
    before = torch.load(tmp_path / "out.pt", weights_only=True)["state_dict"]
    second = run("pretrain", *cts, *options, "--steps", 2)
    assert second.document["steps"] == 2
    after = torch.load(tmp_path / "out.pt", weights_only=True)["state_dict"]
    assert not torch.equal(before["module.out_tr.final_conv.weight"], after["module.out_tr.final_conv.weight"])

    other = run("pretrain", *cts, *options, "--steps", 2, "--seed", 8)
    assert other.code == 3
    assert "--restart" in other.document["error"]["remedy"]
    assert run("pretrain", *cts, *options, "--steps", 1, "--seed", 8, "--restart").document["steps"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "soon"], "is not a time"),
        (["--crop", "64x64"], "size of a crop"),
        (["--quick"], "--network starter"),
    ],
)
def test_wrong_options_are_refused(cts, options, said):
    ended = run("pretrain", *cts, *options)
    assert ended.code == 2
    assert said in ended.err


def test_cts_smaller_than_a_crop_are_refused_with_the_reason(cts, tmp_path):
    ended = run("pretrain", cts[0], "-o", tmp_path / "out.pt", "--steps", 1)
    assert ended.code == 3
    assert "0.nii.gz is left out. It has 24 voxels along one axis, and a window needs 64." in ended.err
    assert not (tmp_path / "out.pt").exists()


def test_the_table_of_patients_joins_files(cts, tmp_path):
    table = tmp_path / "patients.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["ct", "patient"], ["0.nii.gz", "P"], ["2.nii.gz", "P"]])
    patients = [scan.patient for scan in find_scans(cts, table)]
    assert patients[0] == patients[2] == "P"
    assert patients[1] not in ("P", "")
    assert len({scan.patient for scan in find_scans(cts, None)}) == 3
    table.write_text("file;who\n")
    with pytest.raises(InputError, match="table of patients"):
        find_scans(cts, table / "missing")


def test_anonymised_series_are_joined_by_their_study(tmp_path):
    for name, study in (("a", "1.2.3"), ("b", "1.2.3"), ("c", "1.2.4")):
        series(tmp_path / name, PatientID="ANON", StudyInstanceUID=study)
    patients = [scan.patient for scan in find_scans([tmp_path / name for name in "abc"], None)]
    assert patients[0] == patients[1] != patients[2]


def test_dicom_series_of_one_patient_are_joined(tmp_path):
    for name, patient in (("a", "ID-1"), ("b", "ID-1"), ("c", "ID-2"), ("d", "")):
        series(tmp_path / name, PatientID=patient)
    patients = [scan.patient for scan in find_scans([tmp_path / name for name in "abcd"], None)]
    assert patients[0] == patients[1] != patients[2]
    assert patients[3] not in ("", "ID-1", "ID-2")
