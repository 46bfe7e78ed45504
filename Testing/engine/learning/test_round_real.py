"""Rounds that really learn, on phantoms of a few centimetres, with the shipped starter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from GenesisSegmentLib.core.rounds import GateRule
from GenesisSegmentLib.engine.learning.proving import open_examiner
from GenesisSegmentLib.engine.learning.round import RoundRequest, run_round
from GenesisSegmentLib.engine.learning.teaching import teach
from round_builders import KIDNEYS, a_store, surroundings

EASY = GateRule(needed=1, level=0.5)
"""One patient of the holdout is enough to be promoted."""


def run(store, folder: Path, **request):
    around = surroundings(folder, teach=teach, open_finder=open_examiner)
    asked = RoundRequest(budget_s=0, device="cpu", mode="head", rule=EASY, **request)
    return run_round(store, around.versions, asked, surroundings=around), around


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory):
    """Left and right kidney were swapped in both cases that teach, accepted twice, and learned with zeal."""
    folder = tmp_path_factory.mktemp("poisoned")
    with a_store(folder / "cases", 3, tuple(KIDNEYS), swapped=True, times=2) as store:
        return *run(store, folder, steps=25, learning_rate=0.02), folder


def test_a_poisoned_correction_is_found_out_by_the_holdout(poisoned):
    record, around, _ = poisoned
    assert record.state == "rejected", record.reason
    assert around.versions.current() is None
    worst = min(record.scores, key=lambda score: score.dice_after - score.dice_before)
    assert worst.dice_before - worst.dice_after > 0.1, "the poison was learned"


def test_swapped_sides_are_not_even_learned_before_they_are_confirmed(tmp_path):
    with a_store(tmp_path / "cases", 3, tuple(KIDNEYS), swapped=True) as store:
        record, around = run(store, tmp_path, steps=2)
    assert record.state == "failed"
    assert "kidney_left lies to the right of kidney_right" in record.reason
    assert "accept it once more" in record.reason
    assert not around.versions.versions()


def test_a_structure_of_ones_own_gets_a_channel_and_is_judged(tmp_path):
    with a_store(tmp_path / "cases", 3, ("my lump", 6)) as store:
        record, around = run(store, tmp_path, steps=2)
    version = around.versions[record.version]
    assert version.labels[32:] == version.facts.own == ("my lump",)
    assert version.file == "model.onnx"
    assert version.facts.options["classes"] == 33
    assert version.facts.offered == (1, 2, 3, 6, 8, 16, 17), "what the table lacks cannot be drawn"
    own = next(score for score in record.scores if score.label == "my lump")
    assert own.dice_before == 0.0, "there was no channel"
    assert "my lump" in json.loads(Path(record.report).with_suffix(".json").read_text())["materials"][0]["labels"]
