"""The real learner process: what was accepted is taken in and counted, versions switched, nothing heavy is loaded."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")

from durability.world import acceptance
from GenesisSegmentLib.core.home import HOME_VARIABLE
from GenesisSegmentLib.core.identity import local_salt
from GenesisSegmentLib.core.learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningState,
    LearningStatus,
    UseVersion,
)
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.protocol import Failure, Hello, ListModels, Models, Ready, Segment, new_id
from GenesisSegmentLib.core.rounds import RoundRecord
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.store import CaseStore
from GenesisSegmentLib.worker.learner.round import StepReporter, ended
from GenesisSegmentLib.worker.learner.service import abandon_round, is_a_lock_held
from version_builders import a_version, fill
from worker.conftest import LIBRARY, PATIENT

LIGHT = """
import sys
import GenesisSegmentLib.worker.learner.__main__, GenesisSegmentLib.worker.server
import GenesisSegmentLib.worker.models, GenesisSegmentLib.engine.models.store, GenesisSegmentLib.engine.store
from GenesisSegmentLib.worker.learner.service import LearnerService, abandon_round, is_a_lock_held
from GenesisSegmentLib.core.learning_messages import LearningStatus, Pause
from GenesisSegmentLib.core.jobs import Job
service = LearnerService()
service.run(LearningStatus("a"), Job(), print)
service.run(Pause("b"), Job(), print)
abandon_round()
is_a_lock_held()
print(*(m for m in ("torch", "monai", "onnxruntime", "scipy", "SimpleITK") if m in sys.modules))
"""


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def learner(opened):
    return opened("-m", "GenesisSegmentLib.worker.learner", limits=PATIENT)


def add_versions(home: Path, *states: str) -> None:
    store = VersionStore(home / "versions")
    for state in states:
        store.add(a_version(title=f"Starter, {state}", state=state), fill())


def test_accepted_corrections_are_taken_in_once_and_counted(learner, home):
    outbox = Outbox(home / "outbox", local_salt(home / "cases"))
    for number in range(4):
        outbox.put(acceptance(number))
    (home / "outbox" / "1-x.accept").write_bytes(b"damaged")
    first = learner.ask(Ingest(new_id(), str(home / "outbox")))
    assert isinstance(first, Ingested)
    assert (first.added, first.before, len(first.damaged)) == (4, 0, 1)
    second = learner.ask(Ingest(new_id(), str(home / "outbox")))
    assert (second.added, second.before, second.damaged) == (0, 0, ())
    state = learner.ask(LearningStatus(new_id()))
    assert isinstance(state, LearningState)
    assert (state.cases, state.corrections, state.fresh) == (4, 4, 4)
    assert state.train + state.validation + state.holdout == 4
    assert state.versions == ()


def test_versions_are_listed_used_and_left_again(learner, home):
    add_versions(home, "promoted", "rejected", "unproven")
    state = learner.ask(UseVersion(new_id(), "v1"))
    assert [(v.name, v.is_current, v.is_trial) for v in state.versions] == [("v1", True, False), ("v3", False, True)]
    assert [v.is_current for v in learner.ask(UseVersion(new_id(), "v3")).versions] == [False, True]
    assert [v.is_current for v in learner.ask(UseVersion(new_id())).versions] == [True, False]
    refused = learner.ask(UseVersion(new_id(), "v2"))
    assert isinstance(refused, Failure)
    assert refused.code == "model"


def test_last_round_is_told(learner, home):
    record = RoundRecord("r1", "rejected", "Nothing got better.", "starter", "v1", "2026-01-01T00:00:00+00:00", "", 5)
    with CaseStore.open(home / "cases") as store:
        store.save_round(record)
    state = learner.ask(LearningStatus(new_id()))
    assert (state.last_state, state.last_reason) == ("rejected", "Nothing got better.")


def test_process_says_who_it_is_which_models_there_are_and_what_it_cannot_do(learner):
    assert isinstance(learner.ask(Hello(new_id())), Ready)
    models = learner.ask(ListModels(new_id()))
    assert isinstance(models, Models)
    assert any(model.id == "starter" for model in models.models)
    answer = learner.ask(Segment(new_id(), "print"))
    assert isinstance(answer, Failure)
    assert "cannot do segment" in answer.what


def test_round_without_cases_fails_with_a_reason_in_the_real_process(learner):
    pytest.importorskip("torch")
    failure = learner.ask(Learn(new_id(), steps=1))
    assert isinstance(failure, Failure)
    assert failure.code == "input"
    assert "nothing to learn from" in failure.what


def test_supervisor_loads_nothing_heavy(tmp_path, home):
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-c", LIGHT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_lock_of_the_store_or_the_versions_is_noticed(home):
    from filelock import FileLock

    assert not is_a_lock_held()
    CaseStore.open(home / "cases").close()
    add_versions(home, "promoted")
    assert not is_a_lock_held()
    database = sqlite3.connect(home / "cases" / "cases.sqlite", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    assert is_a_lock_held()
    database.execute("ROLLBACK")
    database.close()
    assert not is_a_lock_held()
    with FileLock(home / "versions" / ".lock"):
        assert is_a_lock_held()
    assert not is_a_lock_held()


def test_cancelled_round_whose_process_was_killed_is_not_gone_on_with(home):
    pytest.importorskip("torch")
    from GenesisSegmentLib.engine.learning.round_folder import Begun, RoundFolders, RoundRequest

    folders = RoundFolders(home / "rounds")
    folder = folders.new()
    folder.begin(Begun(folder.id, RoundRequest(), "starter", (), (), "2026-01-01T00:00:00+00:00", "starter"))
    assert folders.unfinished() is not None
    abandon_round()
    assert folders.unfinished() is None
    with CaseStore.open(home / "cases") as store:
        assert [record.state for record in store.rounds()] == ["cancelled"]


def test_end_of_a_round_is_told_as_it_was_recorded():
    record = RoundRecord("r1", "promoted", "Better.", "starter", "v2", "", "", 5, report="/report.html")
    event = ended("job", record)
    assert (event.id, event.state, event.reason, event.version, event.report) == (
        "job",
        "promoted",
        "Better.",
        "v2",
        "/report.html",
    )


def test_steps_are_told_now_and_then(monkeypatch):
    sent, now = [], [0.0]
    monkeypatch.setattr("GenesisSegmentLib.worker.learner.round.time.monotonic", lambda: now[0])
    reporter = StepReporter("job", sent.append)
    for step in range(1, 101):
        now[0] += 0.01
        reporter(step, 1.0 / step)
    assert 4 <= len(sent) <= 7
    assert sent[0].step == 1
    assert all(event.loss == 1.0 / event.step for event in sent)
