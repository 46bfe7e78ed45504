"""The first part of the starter's recipe: which CTs it sees, and that the second part begins with what came of it."""

from __future__ import annotations

from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.pretraining.crops import CropRule
from GenesisSegmentLib.engine.pretraining.recipe import QUICK_STARTER
from GenesisSegmentLib.engine.starter.genesis import pretrained_backbone, training_scans
from GenesisSegmentLib.engine.starter.train import StarterTraining, TrainingRecipe

RULE = CropRule((24, 24, 24), per_scan=4, margins=(0, 0, 0), most_soft=1.0)
SMALL = replace(QUICK_STARTER, crops=RULE, precision="32-true")
HEAD = "case,path,licence,modality,region,labelled,patient_group\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two open CTs, one of a patient who is held out for ever, one that is not open."""
    folder = tmp_path_factory.mktemp("data")
    rows = ["one,one,CC BY 4.0,CT,abdomen,no,A", "two,two,CC BY 3.0,CT,abdomen,no,B"]
    rows += ["kept,kept,CC BY 3.0,CT,abdomen,no,C3N-00249", "nc,nc,CC BY-NC 3.0,CT,abdomen,no,D"]
    (folder / "CASES.csv").write_text(HEAD + "\n".join(rows) + "\n")
    rng = np.random.default_rng(0)
    for name in ("one", "two", "kept", "nc"):
        (folder / name).mkdir()
        ct = np.full((40, 40, 36), -1000, np.int16)
        ct[6:34, 6:34] = rng.integers(-100, 200, (28, 28, 36))
        nibabel.save(nibabel.Nifti1Image(ct, np.diag([4.0, 4.0, 4.0, 1.0])), folder / name / "ct.nii.gz")
    return folder


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory):
    return pretrained_backbone(data, tmp_path_factory.mktemp("work"), 0.01, "cpu", lambda line: None, recipe=SMALL)


def test_patients_who_are_held_out_and_closed_licences_are_never_seen(data):
    assert [scan.name for scan in training_scans(data)] == ["one", "two"]
    assert [scan.name for scan in training_scans(data, {"A"})] == ["two"]


def test_pre_training_is_not_repeated(data, weights):
    written = weights.stat().st_mtime_ns
    assert pretrained_backbone(data, weights.parent, 3600.0, "cpu", lambda line: None) == weights
    assert weights.stat().st_mtime_ns == written


def test_training_begins_with_the_pre_trained_backbone(weights, tmp_path):
    training = StarterTraining([], tmp_path, TrainingRecipe(budget_s=0), genesis=weights)
    backbone, known = training.model.backbone.state_dict(), load(weights).state
    shared = [key for key in backbone if key in known]
    assert len(shared) == len(backbone)
    assert all(torch.equal(backbone[key], known[key]) for key in shared)
    average = training.average.backbone.state_dict()
    assert all(torch.equal(average[key], known[key]) for key in shared)
    assert training.facts()["genesis"]


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"state_dict": {"x": torch.zeros(3)}}, tmp_path / "x.pt")
    with pytest.raises(ModelError):
        StarterTraining([], tmp_path / "work", TrainingRecipe(budget_s=0), genesis=tmp_path / "x.pt")
