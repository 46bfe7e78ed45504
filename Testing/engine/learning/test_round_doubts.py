"""Cases whose accepted masks lie where the CT shows nothing neither teach nor judge, and the round says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.engine.learning.round import RoundRequest, run_round
from GenesisSegmentLib.engine.learning.teaching import teach
from GenesisSegmentLib.engine.store import CaseStore
from round_builders import KIDNEYS, an_acceptance, surroundings

REQUEST = RoundRequest(budget_s=0, steps=1, device="cpu", mode="head", replay=False)
TEACHING, JUDGING = 1, 2
"""Patients 0, 1 and 3 teach; of 2 and 4 the first is of the holdout."""


def a_store_with_swapped_sides(folder: Path, patient: int, times: int = 1) -> CaseStore:
    store = CaseStore.open(folder)
    for number in range(5):
        stored = an_acceptance(number, tuple(KIDNEYS), number == patient)
        for n in range(times if number == patient else 1):
            store.add(replace(stored, acceptance=replace(stored.acceptance, id=f"{number}-{n}")))
    return store


def run(store: CaseStore, folder: Path, **changes):
    around = surroundings(folder, **changes)
    return run_round(store, around.versions, REQUEST, surroundings=around)


@pytest.mark.parametrize("times", [1, 2])
def test_doubted_case_is_not_learned_from_until_it_is_accepted_again(tmp_path, times):
    with a_store_with_swapped_sides(tmp_path / "cases", TEACHING, times) as store:
        name = store.training()[1].case
        record = run(store, tmp_path, teach=teach)
    report = json.loads(Path(record.report).with_suffix(".json").read_text())
    taught = [material["case"] for material in report["materials"]]
    notes = [note for note in report["notes"] if "was left out" in note]
    if times == 1:
        assert name not in taught
        assert len(taught) == 2
        (note,) = notes
        assert name[:12] in note
        assert "kidney_left lies to the right of kidney_right" in note
        assert record.reason.endswith(" 1 case was left out: the report says why.")
    else:
        assert name in taught
        assert not notes
        assert "left out" not in record.reason


@pytest.mark.parametrize("times", [1, 2])
def test_doubted_case_does_not_judge_until_it_is_accepted_again(tmp_path, times):
    with a_store_with_swapped_sides(tmp_path / "cases", JUDGING, times) as store:
        (name,) = [record.case for record in store.proving("holdout")]
        record = run(store, tmp_path)
    judges = {score.case for score in record.scores}
    assert (name in judges) == (times == 2)
    assert judges - {name}, "the validation case judges in any case"
    assert ("1 case was left out" in record.reason) == (times == 1)
    report = json.loads(Path(record.report).with_suffix(".json").read_text())
    assert any(name[:12] in note for note in report["notes"]) == (times == 1)


def test_structures_accepted_one_after_the_other_confirm_nothing(tmp_path):
    """Each press hands over all that is ticked, so the swapped sides come twice without anybody having been told."""
    first = an_acceptance(TEACHING, tuple(KIDNEYS), True)
    more = an_acceptance(TEACHING, (*KIDNEYS, 6), True)
    with CaseStore.open(tmp_path / "cases") as store:
        store.add(an_acceptance(0))
        store.add(first)
        store.add(replace(more, acceptance=replace(more.acceptance, id="more")))
        record = store.training()[1]
        assert set(record.labels) == {"kidney_left", "kidney_right", "liver"}
        assert record.confirmed == ()
        store.add(replace(more, acceptance=replace(more.acceptance, id="again")))
        assert set(store.training()[1].confirmed) == set(record.labels)


def test_doubted_case_does_not_keep_the_next_round_from_the_others(tmp_path):
    with a_store_with_swapped_sides(tmp_path / "cases", TEACHING) as store:
        doubted, around = store.training()[1].case, surroundings(tmp_path, teach=teach)
        first = run_round(store, around.versions, REQUEST, surroundings=around)
        around.versions.use(first.version)
        second = run_round(store, around.versions, REQUEST, surroundings=around)
    assert second.cases == (doubted,), "all others were learned from"
    assert second.state == "unproven", second.reason
    report = json.loads(Path(second.report).with_suffix(".json").read_text())
    taught = {material["case"] for material in report["materials"]}
    assert len(taught) == 2
    assert doubted not in taught


def test_the_case_that_was_left_out_is_new_to_the_next_round(tmp_path):
    with a_store_with_swapped_sides(tmp_path / "cases", TEACHING) as store:
        name = store.training()[1].case
        around = surroundings(tmp_path, teach=teach)
        first = run_round(store, around.versions, REQUEST, surroundings=around)
        assert name in first.cases, "it was to be learned from"
        around.versions.use(first.version)
        stored = an_acceptance(TEACHING, tuple(KIDNEYS), True)
        store.add(replace(stored, acceptance=replace(stored.acceptance, id="again")))
        second = run_round(store, around.versions, REQUEST, surroundings=around)
    assert second.cases == (name,)
