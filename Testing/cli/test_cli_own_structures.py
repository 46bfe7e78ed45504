"""A structure that a person taught is drawn, written, named and compared by the command line like any class."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders import rotation
from cli_builders import an_affine, blob_ct, in_blob, run, write_blob_model, write_nifti
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.models.cache import model_digest
from GenesisSegmentLib.engine.models.catalogue import read_metadata
from version_builders import a_version

NAME, SLUG = "Soft tissue sarcoma", "Soft_tissue_sarcoma"
SHAPE = (44, 36, 40)
AFFINE = an_affine((5.0, 5.0, 5.0), SHAPE, rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]))


@pytest.fixture(scope="module", autouse=True)
def taught(tmp_path_factory):
    """A person with version v1, which knows a structure of their own."""
    folder = tmp_path_factory.mktemp("taught")
    path = write_blob_model(folder / "model.onnx", (NAME,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(folder / "home"))
        facts = replace(read_metadata(path.with_suffix(".json")), own=())
        made = a_version(facts=facts, labels=("spleen", "liver", NAME), file=path.name, sha256=model_digest(path))
        VersionStore.of_this_person().add(made, lambda place: [shutil.copy(f, place) for f in folder.glob("model.*")])
        yield


@pytest.fixture(scope="module")
def oblique(tmp_path_factory) -> Path:
    return write_nifti(tmp_path_factory.mktemp("oblique") / "ct.nii.gz", blob_ct(SHAPE, AFFINE), AFFINE)


def test_all_that_the_version_knows_is_drawn_in_its_place(oblique, tmp_path):
    ended = run("segment", oblique, "--model", "v1", "-o", tmp_path / "out.nii.gz", "--json")
    assert ended.code == 0, ended.err
    report = ended.document["report"]
    assert report["classes_computed"] == ["spleen", "liver", SLUG]
    assert report["classes_found"] == ["liver", SLUG]
    assert [m["name"] for m in ended.document["measurements"]] == report["classes_computed"]
    values = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj)
    assert set(np.unique(values)) == {0, 33}, "later numbers are painted over the liver"
    assert 0.9 < np.count_nonzero(values == 33) / np.count_nonzero(in_blob(SHAPE, AFFINE)) < 1.1


@pytest.mark.parametrize("target", ["out.seg.nrrd", "out.nii.gz", "masks"])
@pytest.mark.parametrize("word", [NAME, SLUG, "own structures", "33"])
def test_it_can_be_asked_for_alone(oblique, tmp_path, target, word):
    ended = run("segment", oblique, "--model", "v1", "--classes", word, "-o", tmp_path / target, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["report"]["classes_computed"] == [SLUG]


def test_two_results_are_compared_by_its_name(oblique, tmp_path):
    for name in ("a.seg.nrrd", "b"):
        assert run("segment", oblique, "--model", "v1", "-o", tmp_path / name).code == 0
    ended = run("evaluate", tmp_path / "a.seg.nrrd", tmp_path / "b", "--plot", tmp_path / "p.png", "--json")
    assert ended.code == 0, ended.err
    scores = {score["name"]: score["dice"] for score in ended.document["scores"]}
    assert scores == {"spleen": None, "liver": 1.0, SLUG: 1.0}
    alone = run("evaluate", tmp_path / "a.seg.nrrd", tmp_path / "b", "--classes", NAME, "--json")
    assert [score["name"] for score in alone.document["scores"]] == [SLUG]


def test_other_models_refuse_it(oblique, tmp_path):
    ended = run("segment", oblique, "--model", "starter", "--classes", NAME, "-o", tmp_path / "out.nii.gz")
    assert ended.code == 3
    assert f'There is no class "{NAME}"' in ended.err


def test_the_version_says_that_it_knows_it():
    assert SLUG in run("models", "info", "v1").out
    document = run("models", "info", "v1", "--json").document
    assert (document["offered"], document["own"]) == (["spleen", "liver"], [NAME])
    assert document["name"] == "v1"


def test_the_help_of_a_wrong_name_offers_it(oblique, tmp_path):
    ended = run("segment", oblique, "--model", "v1", "--classes", "sarcoma", "-o", tmp_path / "out.nii.gz")
    assert ended.code == 3
    assert SLUG in ended.err
