"""Kills at random moments lose nothing; and the proof of that finds writers that are not safe. A short form of
``scripts/prove_durability``."""

from __future__ import annotations

import os
import random
import traceback
from pathlib import Path

import pytest

from durability.faults import fault_runs
from durability.kills import Child, Kill, Length, rehearsed
from durability.proof import SHARES, prove, table
from durability.rounds import ROUND
from durability.scenarios import SCENARIOS, killed
from durability.world import World, acceptance, problems
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.engine.store import CaseStore

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the proof copies its process")
ACCEPT, INGEST, WRITERS, VERSIONS = SCENARIOS


@pytest.fixture
def world(tmp_path) -> World:
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world")


@pytest.mark.parametrize("name", [name for name in SHARES if name != "round"])
def test_kills_lose_nothing_and_leave_nothing_half_done(tmp_path, name):
    proof = prove(tmp_path, 3, 5, name, lambda proof: None)
    assert proof.problems == []
    assert proof.runs == 3
    assert proof.tallies[name].killed >= 1


def test_killed_round_goes_on_and_ends_once(world):
    pytest.importorskip("lightning_fabric")
    is_killed, wrong = killed(ROUND, world, Kill(line=20_000), random.Random(2))
    assert wrong == []
    assert is_killed


def test_disks_that_are_full_or_read_only_lose_nothing(tmp_path):
    found = dict(fault_runs(tmp_path))
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    assert found["file too large, accept"] == []


def test_the_same_seed_kills_at_the_same_lines():
    length = Length(1000, 2.0)
    first, second = ([length.draw(chance) for _ in range(20)] for chance in (random.Random(3), random.Random(3)))
    assert first == second
    assert {kill.line is None for kill in first} == {True, False}


def test_kill_comes_at_its_line(world):
    length = rehearsed(lambda: lambda: world.accept(range(1)), world.log, world.folder / "count")
    (world.folder / "ledger").unlink()
    outcome = Child(lambda: world.accept(range(1, 2)), world.log, Kill(line=length.lines // 2)).wait()
    assert outcome.is_killed
    assert world.noted("tried") == [1]
    assert world.noted("put") == []


def test_table_says_what_was_killed_and_what_went_wrong(tmp_path):
    proof = prove(tmp_path, 1, 1, "accept", lambda proof: None)
    proof.problems.append("accept, run 1: lost")
    text = table(proof)
    assert "accept" in text
    assert text.endswith("accept, run 1: lost")
    assert proof.document()["seed"] == 1


# --- The proof finds what is not safe ---------------------------------------------------------------------------------


def found_by_kills(scenario, world: World, runs: int = 12) -> list[str]:
    """What is found when the lines of the work are killed one after the other, evenly."""
    length = rehearsed(lambda: scenario.prepare(world, random.Random(0)), world.log, world.folder / "count")
    found: list[str] = []
    for n in range(1, runs + 1):
        found += killed(scenario, world, Kill(line=length.lines * n // (runs + 1)), random.Random(n))[1]
        if found:
            break
    return found


def test_outbox_that_says_too_early_that_it_has_kept_something_is_found(world, monkeypatch):
    put = World.accept

    def too_early(self: World, numbers: range) -> None:
        for number in numbers:
            self.note("tried", number)
            self.note("put", number)
        put(self, numbers)

    monkeypatch.setattr(World, "accept", too_early)
    assert any("accepted and is lost" in problem for problem in found_by_kills(ACCEPT, world))


def test_ingest_that_discards_before_it_has_kept_is_found(world, monkeypatch):
    read = Outbox.read

    def read_and_discard(self: Outbox, path: Path):
        stored = read(self, path)
        if "ingest" in {frame.name for frame in traceback.extract_stack()}:
            path.unlink()
        return stored

    monkeypatch.setattr(Outbox, "read", read_and_discard)
    assert any("accepted and is lost" in problem for problem in found_by_kills(INGEST, world))


def test_damage_of_a_stored_file_is_found(world):
    world.accept(range(2))
    world.ingest()
    assert list(problems(world, is_ingested=True)) == []
    blob = next(path for path in (world.folder / "cases" / "blobs").rglob("*") if path.is_file())
    blob.write_bytes(b"?" + blob.read_bytes()[1:])
    assert any("verify" in problem for problem in problems(world, is_ingested=True))


def test_acceptance_that_is_another_one_is_found(world, monkeypatch):
    world.accept(range(1))
    world.ingest()
    other = acceptance(7)
    monkeypatch.setattr(CaseStore, "mask", lambda self, record, label: other.classes[0].mask)
    assert any("is another" in problem for problem in problems(world, is_ingested=True))


def test_patient_who_changes_the_split_is_found(world):
    world.accept(range(1))
    world.ingest()
    assert list(problems(world, is_ingested=True)) == []
    world.splits = dict.fromkeys(world.splits, "holdout")
    assert any("changed their split" in problem for problem in problems(world, is_ingested=True))


def test_version_that_is_current_and_damaged_is_found(world):
    VERSIONS.prepare(world, random.Random(1))()
    versions = world.versions
    for version in versions.versions():
        versions.path_of(version).write_bytes(b"damaged")
    assert any("damaged" in problem for problem in VERSIONS.check(world))
