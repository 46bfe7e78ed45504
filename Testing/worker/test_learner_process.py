"""The supervisor that learns, with real child processes that do small real steps: paused, killed, cancelled, left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from GenesisSegmentLib.core.learning_messages import Learn, Pause, RoundEnded, Stage
from GenesisSegmentLib.core.lease import Lease
from GenesisSegmentLib.core.protocol import Done, Failure, Hello, Progress, Ready, new_id
from worker.conftest import PATIENCE_S, PATIENT, is_alive

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the faults of the fake round are those of POSIX")
FAKE = Path(__file__).with_name("fake_round.py")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "round").mkdir()
    return tmp_path / "round"


@pytest.fixture
def learner(opened, folder):
    """Opens sessions with supervisors whose rounds follow the rules."""
    return lambda *rules: opened(FAKE, folder, *rules, limits=PATIENT)


@pytest.fixture
def lease(tmp_path) -> Lease:
    return Lease(tmp_path / "home" / "device.lock")


def learn() -> Learn:
    return Learn(new_id())


def steps(folder: Path) -> list[int]:
    """The steps that were done, in order, also those that were done again."""
    log = folder / "log"
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def trainer(folder: Path) -> psutil.Process:
    """The process of the round."""
    return psutil.Process(int((folder / "log").read_text().split()[1]))


def until_step(session, folder: Path, step: int) -> None:
    session.until(lambda: max(steps(folder), default=0) >= step)


def states(session, job: str) -> list[str]:
    """The stages of a round, each time that they changed."""
    found = [event.state for event in session.of(job) if isinstance(event, Stage)]
    return [state for n, state in enumerate(found) if n == 0 or found[n - 1] != state]


def is_stopped(process: psutil.Process) -> bool:
    return process.status() == psutil.STATUS_STOPPED


def test_round_runs_to_its_end_with_progress_steps_and_losses(learner, folder):
    session = learner("steps:8")
    job = session.client.send(learn())
    ended = session.final(job)
    assert ended == RoundEnded(job, "unproven", "There are too few cases.", "v1")
    assert steps(folder) == list(range(1, 9))
    said = [event for event in session.of(job) if isinstance(event, Stage)]
    assert [event.step for event in said] == list(range(1, 9))
    assert all(event.state == "learning" and event.loss >= 0 for event in said)
    assert any(isinstance(event, Progress) for event in session.of(job))


def test_supervisor_answers_while_a_round_runs(learner, folder):
    session = learner("steps:100000")
    job = session.client.send(learn())
    until_step(session, folder, 2)
    assert isinstance(session.ask(Hello(new_id())), Ready)
    assert not [event for event in session.of(job) if isinstance(event, (RoundEnded, Failure))]


def test_round_runs_at_the_lowest_priority_with_a_processor_left_to_others(learner, folder, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    session = learner("steps:100000")
    session.client.send(learn())
    until_step(session, folder, 1)
    _step, _pid, nice, threads = (folder / "log").read_text().splitlines()[0].split()
    assert int(nice) == 19
    assert int(threads) == max(1, len(os.sched_getaffinity(0)) - 1)


def test_round_stands_still_while_the_device_is_taken_and_goes_on_after(learner, folder, lease):
    pytest.importorskip("torch")
    session = learner("steps:100000", "torch")
    job = session.client.send(learn())
    until_step(session, folder, 2)
    with lease.held():
        session.until(lambda: states(session, job)[-1] == "waiting")
        session.until(lambda: is_stopped(trainer(folder)))
        before = steps(folder)
        session.pump_for(0.3)
        assert steps(folder) == before
    until_step(session, folder, before[-1] + 2)
    session.until(lambda: states(session, job)[-1] == "learning")
    assert states(session, job) == ["learning", "waiting", "learning"]


def test_round_stands_still_in_the_middle_of_a_step_however_long_it_takes(learner, folder, lease):
    session = learner("steps:100000", "long:3")
    session.client.send(learn())
    session.until((folder / "long").exists)
    process = trainer(folder)
    with lease.held():
        session.until(lambda: is_stopped(process))
        used = process.cpu_times().user
        session.pump_for(0.3)
        assert process.cpu_times().user == used
        assert steps(folder) == [1, 2], "it was stopped inside the step"
    session.until(lambda: process.cpu_times().user > used)


def test_person_pauses_a_round_and_lets_it_go_on(learner, folder, lease):
    session = learner("steps:100000")
    job = session.client.send(learn())
    until_step(session, folder, 2)
    assert isinstance(session.ask(Pause(new_id())), Done)
    session.until(lambda: states(session, job)[-1] == "paused")
    session.until(lambda: is_stopped(trainer(folder)))
    with lease.held():
        session.pump_for(0.2)
    assert states(session, job)[-1] == "paused"
    session.until(lambda: is_stopped(trainer(folder)))
    before = steps(folder)[-1]
    session.ask(Pause(new_id(), False))
    until_step(session, folder, before + 2)


def test_round_is_not_stopped_in_the_middle_of_a_lock_that_others_need(learner, folder, lease):
    session = learner("steps:100000", "lock:3")
    job = session.client.send(learn())
    session.until((folder / "locked").exists)
    with lease.held():
        session.until(lambda: not (folder / "locked").exists() and is_stopped(trainer(folder)))
        before = steps(folder)
        session.pump_for(0.3)
        assert steps(folder) == before
    assert states(session, job)[-1] == "waiting"


def test_round_whose_process_was_killed_goes_on_from_its_last_step(learner, folder):
    session = learner("steps:9", "die:4")
    job = session.client.send(learn())
    assert isinstance(session.final(job), RoundEnded)
    assert steps(folder) == list(range(1, 10))
    assert len({line.split()[1] for line in (folder / "log").read_text().splitlines()}) == 2
    assert states(session, job) == ["learning", "resuming", "learning"]


def test_round_that_gets_nowhere_fails_with_its_last_words(learner, folder):
    session = learner("exit:2")
    job = session.client.send(learn())
    failure = session.final(job)
    assert isinstance(failure, Failure)
    assert "The last words of the round." in failure.what
    assert "goes on from there" in failure.remedy
    assert steps(folder) == [1, 2, 1, 2]
    assert isinstance(session.ask(Hello(new_id())), Ready)


def test_round_that_is_killed_at_the_same_step_again_says_that_the_memory_ran_out(learner, folder):
    session = learner("kill:2")
    failure = session.final(session.client.send(learn()))
    assert isinstance(failure, Failure)
    assert failure.code == "resource"
    assert "memory" in failure.what
    assert steps(folder) == [1, 2, 1, 2]


@pytest.mark.parametrize("rules", [(), ("deaf",)])
@pytest.mark.parametrize("is_waiting", [False, True])
def test_cancel_ends_the_round_for_good(learner, folder, lease, rules, is_waiting):
    session = learner("steps:100000", *rules)
    job = session.client.send(learn())
    until_step(session, folder, 2)
    process = trainer(folder)
    if is_waiting:
        session.ask(Pause(new_id()))
        session.until(lambda: is_stopped(process))
    session.client.cancel(job)
    answer = session.final(job)
    assert isinstance(answer, Failure)
    assert answer.is_cancelled
    session.until(lambda: not is_alive(process.pid))
    assert (folder / "abandoned").exists() or (folder / "cancelled").exists()
    assert not (rules and (folder / "cancelled").exists())
    assert isinstance(session.ask(Hello(new_id())), Ready)


def begun(learner, folder, is_paused: bool):
    """A session whose round has made steps, and the process of the round."""
    session = learner("steps:100000")
    session.client.send(learn())
    until_step(session, folder, 2)
    process = trainer(folder)
    if is_paused:
        session.ask(Pause(new_id()))
        session.until(lambda: is_stopped(process))
    return session, process


@pytest.mark.parametrize("is_paused", [False, True])
def test_round_ends_with_its_supervisor_and_goes_on_another_time(learner, folder, is_paused):
    session, process = begun(learner, folder, is_paused)
    session.client.stop()
    wait_until(lambda: not is_alive(process.pid))
    assert not (folder / "abandoned").exists()
    assert not (folder / "cancelled").exists()
    before = steps(folder)[-1]
    session.client.send(learn())
    until_step(session, folder, before + 2)
    assert steps(folder) == list(range(1, steps(folder)[-1] + 1))


@pytest.mark.parametrize("is_paused", [False, True])
def test_round_ends_when_its_supervisor_is_killed(learner, folder, is_paused):
    session, process = begun(learner, folder, is_paused)
    os.kill(session.pid(), signal.SIGKILL)
    wait_until(lambda: not is_alive(process.pid))


def wait_until(condition) -> None:
    stop = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < stop
        time.sleep(0.01)
