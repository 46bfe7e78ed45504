"""From accepted corrections to a model that is tried, used and taken back, as a person does it on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import pytest

from cli_builders import run
from GenesisSegmentLib.cli import learn
from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.core.rounds import ClassVerdict, RoundRecord
from GenesisSegmentLib.engine.learning.versions import VersionStore
from round_builders import a_scan, a_store
from version_builders import ENTRY, a_version, fill

LIVER = ClassVerdict("liver", True, 5, 0, 0.7, 0.8, 0.031, "better")
RECORD = RoundRecord(
    "r", "promoted", "It is better.", "starter", "v1", "s", "e", 3, ("c",), (), (LIVER,), "report.html"
)


@pytest.fixture
def own_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ends(own_home, monkeypatch):
    """Has the round end with a record."""

    def with_record(record):
        def learned(store, request, job):
            asked.append(request)
            if isinstance(record, Exception):
                raise record
            return record

        asked = []
        monkeypatch.setattr(learn, "_learned", learned)
        return asked

    return with_record


def test_a_trial_is_learned_used_and_taken_back(own_home, tmp_path):
    a_store(own_home / "cases", patients=3).close()
    ended = run("learn", "--steps", 3, "--device", "cpu", "--json")
    assert ended.code == 0, ended.err
    document = ended.document
    assert document["state"] == "unproven", document["reason"]
    assert (document["version"], document["steps"], document["base"]) == ("v1", 3, "starter")
    assert {s["split"] for s in document["scores"]} == {"holdout"}
    assert document["scores"][0]["dice_before"] > 0.3, "the starter finds the liver of the phantom"
    assert document["scores"][0]["dice_before"] != document["scores"][0]["dice_after"], "something was learned"
    assert Path(document["report"]).is_file()
    assert "v1 is a trial" in ended.err

    listed = run("models", "versions", "--json").document
    assert listed["current"] == "starter"
    assert [(v["name"], v["trial"], v["parent"]) for v in listed["versions"]] == [("v1", True, "starter")]

    volume, _ = a_scan(7)
    ct = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.voxels, volume.geometry.ijk_to_ras), ct)

    def model_of_a_run(*options: object) -> str:
        done = run("segment", ct, "-o", tmp_path / "out.seg.nrrd", "--classes", "liver", "--json", *options)
        assert done.code == 0, done.err
        return done.document["report"]["model"]

    assert model_of_a_run() == "starter", "a trial is not switched on by itself"
    used = run("models", "use", "v1", "--json")
    assert used.document == {"current": "v1"}
    assert "not proven to be better" in used.err
    assert model_of_a_run("--model", "current") == "v1"
    assert model_of_a_run("--model", "v1", "--runtime", "torch") == "v1"
    assert run("models", "rollback", "--json").document == {"current": "starter"}
    assert model_of_a_run() == "starter"


@pytest.mark.parametrize("state", ["promoted", "unproven", "rejected"])
def test_a_decision_is_no_error(ends, state):
    ends(replace(RECORD, state=state))
    ended = run("learn")
    assert ended.code == 0
    assert "liver" in ended.out
    assert f"{state.capitalize()}. It is better." in ended.err


def test_a_trial_of_structures_of_ones_own_alone_is_not_offered_for_use(ends):
    version = a_version(state="unproven", facts=replace(ENTRY.facts, offered=()), labels=("liver", "lump"))
    VersionStore.of_this_person().add(version, fill())
    ends(replace(RECORD, state="unproven"))
    told = run("learn").err
    assert "models use" not in told
    assert "learn --base v1" in " ".join(told.split())


def test_a_failed_round_ends_with_the_code_of_its_error(ends):
    settings = {"error": "resource", "exit_code": "5", "remedy": "Close programs."}
    ends(replace(RECORD, state="failed", reason="The memory ran out.", settings=settings))
    ended = run("learn", "--json")
    assert ended.code == 5
    assert ended.document["error"] == {"code": "resource", "what": "The memory ran out.", "remedy": "Close programs."}
    assert "The memory ran out." in ended.err


def test_a_cancelled_round_ends_as_cancelled_commands_do(ends):
    ends(replace(RECORD, state="cancelled", version="", classes=()))
    assert run("learn").code == Cancelled.exit_code


def test_limits_are_understood(ends):
    asked = ends(RECORD)
    run("learn")
    run("learn", "--steps", 5)
    run("learn", "--budget", "2h", "--mode", "head", "--no-replay")
    assert [(r.steps, r.budget_s) for r in asked] == [(0, 1800.0), (5, 0.0), (0, 7200.0)]
    assert (asked[2].mode, asked[2].replay, asked[2].pseudo) == ("head", False, True)


@pytest.mark.parametrize("options", [["--budget", "soon"], ["--weights", "x.pt"], ["--from-genesis", "--base", "v1"]])
def test_what_makes_no_sense_is_refused(ends, options):
    asked = ends(RECORD)
    assert run("learn", *options).code == 2
    assert not asked


def test_an_empty_store_is_told(own_home):
    ended = run("learn", "--steps", 1, "--json")
    assert ended.code == 3
    assert "nothing to learn from" in ended.document["error"]["what"]


def test_an_unknown_version_is_told(own_home):
    assert run("models", "use", "v3").code == 4
    assert run("models", "rollback").code == 4
    assert run("segment", "x.nii.gz", "--model", "v3").code in (3, 4)


def test_the_starter_can_be_used_by_name(own_home):
    assert run("models", "use", "starter", "--json").document == {"current": "starter"}
