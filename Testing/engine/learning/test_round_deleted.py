"""A case that judges is deleted while the models are compared: the round goes on without it, and says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.rounds import GateRule
from GenesisSegmentLib.engine.learning import round as rounds
from GenesisSegmentLib.engine.learning.evaluation import Found
from GenesisSegmentLib.engine.learning.proving import Proving
from GenesisSegmentLib.engine.learning.round import RoundRequest, run_round
from GenesisSegmentLib.engine.store import CaseStore
from round_builders import a_store, models_that_shift, surroundings, write_shipped_starter

EASY = RoundRequest(steps=2, budget_s=0, device="cpu", rule=GateRule(needed=1, level=0.5))


@pytest.fixture
def store(tmp_path):
    with a_store(tmp_path / "cases", patients=5) as store:
        yield store


@pytest.fixture(autouse=True)
def quick_files(monkeypatch):
    monkeypatch.setattr(rounds, "write_network", write_shipped_starter)


def judge(store: CaseStore, split: str) -> str:
    (record,) = store.proving(split)
    return record.case


def deleting(store: CaseStore, case: str, when: Callable[[str, int], bool]):
    """Models that find as usual; the case is deleted as soon as ``when`` is true of the model and its CT's number."""

    def on_device(device):
        def open_finder(model, wanted):
            finder, looked = models_that_shift(2, 0)(device)(model, wanted), []

            class Deleting:
                def find(self, volume, wanted, job: Job) -> Found:
                    looked.append(volume)
                    found = finder.find(volume, wanted, job)
                    if when(model.name, len(looked)):
                        store.delete(case)
                    return found

            return Deleting()

        return open_finder

    return on_device


@pytest.mark.parametrize(
    "when",
    [
        lambda model, n: model != "the new model" and n == 2,
        lambda model, n: model == "the new model" and n == 2,
    ],
    ids=["before", "after"],
)
def test_while_it_is_looked_at(store, tmp_path, when):
    check(store, tmp_path, open_finder=deleting(store, judge(store, "validation"), when))


def test_after_both_models_looked_at_it(store, tmp_path):
    case, asked = judge(store, "validation"), []
    folder = tmp_path / "rounds"

    def gate():
        if len(list(folder.glob("*/after/*.json"))) == 2 and not asked:
            asked.append(1)
            store.delete(case)

    check(store, tmp_path, gate=gate)
    assert asked


def check(store: CaseStore, tmp_path: Path, **changes) -> None:
    gone, stays = judge(store, "validation"), judge(store, "holdout")
    around = surroundings(tmp_path, **changes)
    record = run_round(store, around.versions, EASY, surroundings=around)
    assert record.state == "promoted", record.reason
    assert {score.case for score in record.scores} == {stays}
    assert {agreement.case for agreement in record.agreements} == {stays}
    notes = json.loads(Path(record.report).with_suffix(".json").read_text(encoding="utf-8"))["notes"]
    assert notes == [
        f"Case {gone[:12]} was not compared: it was deleted or changed meanwhile, or its files are damaged."
    ]


def test_before_its_picture_is_drawn(store, tmp_path, monkeypatch):
    gone, stays = judge(store, "holdout"), judge(store, "validation")
    draw = Proving.pictures

    def deleting_first(proving, scores):
        store.delete(gone)
        return draw(proving, scores)

    monkeypatch.setattr(Proving, "pictures", deleting_first)
    around = surroundings(tmp_path)
    record = run_round(store, around.versions, EASY, surroundings=around)
    assert record.state == "promoted", record.reason
    html = Path(record.report).read_text(encoding="utf-8")
    assert f'data-case="{stays}"' in html
    assert f'data-case="{gone}"' not in html
