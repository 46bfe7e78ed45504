"""The client and a process that crashes, hangs, is killed or never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from GenesisSegmentLib.core.protocol import (
    Estimate,
    Estimated,
    Failure,
    Ready,
    Result,
    new_id,
)
from GenesisSegmentLib.core.worker_client import Limits
from GenesisSegmentLib.core.worker_process import Ended, end_trees
from worker.conftest import FAKE, PATIENCE_S, hello, is_alive, loaded, segment

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


@posix_only
def test_process_that_the_system_ended_is_taken_for_out_of_memory(fake, volume):
    session = loaded(fake("--on", "segment=die:SIGKILL"), volume)
    answer = session.ask(segment())
    assert answer.code == "worker_lost"
    assert "memory" in answer.what
    assert answer.remedy


@posix_only
def test_crash_is_told_with_its_signal(fake):
    answer = fake("--on", "estimate=die:SIGSEGV").ask(Estimate(new_id(), "print"))
    assert answer.code == "worker_lost"
    assert "SIGSEGV" in answer.what
    assert "memory" not in answer.what


def test_exit_is_told_with_the_last_words_and_the_log(fake, tmp_path):
    answer = fake("--on", "hello=exit:3").ask(hello())
    assert answer.code == "worker_lost"
    assert "exit code 3" in answer.what
    assert "The last words of the worker." in answer.what
    assert "last words" in Path(answer.log).read_text()


def test_each_pending_command_ends_when_the_process_is_lost(fake):
    session = fake("--on", "segment=busy", "--on", "estimate=exit:1")
    jobs = [session.client.send(segment()), session.client.send(Estimate(new_id(), "print"))]
    assert {session.final(job).code for job in jobs} == {"worker_lost"}
    assert not session.client.is_busy


def test_next_process_knows_the_volume_without_being_told_again(fake, volume, tmp_path):
    session = fake("--on", "segment=exit:1", "--once", tmp_path / "once")
    loaded(session, volume)
    assert isinstance(session.ask(segment()), Failure)
    assert isinstance(session.ask(segment()), Result)


def test_process_that_falls_silent_is_ended(fake):
    session = fake("--on", "segment=hang", limits=Limits(start=PATIENCE_S, silence=0.5, busy=1.0))
    job = session.client.send(segment())
    session.until(lambda: session.of(job))
    pid = session.pid()
    answer = session.final(job)
    assert answer.code == "worker_lost"
    assert "does not answer" in answer.what
    session.until(lambda: not is_alive(pid))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say what a process uses")
def test_processor_time_is_that_of_the_worker(fake):
    session = fake("--on", "estimate=burn")
    session.ask(hello())
    before = session.client._process.cpu_seconds()
    session.client.send(Estimate(new_id(), "print"))
    session.until(lambda: session.client._process.cpu_seconds() > before + 0.2)


def test_process_that_never_says_anything_is_ended(fake):
    session = fake("--silent", limits=Limits(start=0.5, silence=PATIENCE_S))
    answer = session.ask(hello())
    assert answer.code == "worker_lost"
    assert "did not start" in answer.what


def test_time_in_which_nobody_listened_is_no_silence_of_the_worker(fake):
    now = [0.0]
    session = fake(limits=Limits(start=30.0, silence=30.0))
    session.client._clock = lambda: now[0]
    session.ask(hello())
    now[0] += 3600.0  # Slicer was busy, or the computer asleep
    assert isinstance(session.ask(hello()), Ready)


def test_answer_that_was_lost_is_noticed(fake):
    answer = fake("--on", "estimate=forget").ask(Estimate(new_id(), "print"))
    assert answer.code == "worker_lost"
    assert "did not send its answer" in answer.what


def test_heartbeats_from_before_a_command_do_not_count_against_it(fake):
    session = fake("--on", "estimate=late:0.5")
    session.ask(hello())
    time.sleep(1.0)  # nobody pumps: heartbeats without any job pile up
    assert isinstance(session.ask(Estimate(new_id(), "print")), Estimated)


def test_command_that_takes_long_is_not_taken_for_lost(fake):
    session = fake("--on", "estimate=late:1")
    assert isinstance(session.ask(Estimate(new_id(), "print")), Estimated)


def test_death_of_an_idle_process_is_told_once_and_the_next_command_works(fake):
    session = fake()
    session.ask(hello())
    os.kill(session.pid(), 15)
    session.until(lambda: session.of(""))
    (told,) = session.of("")
    assert told.code == "worker_lost"
    assert isinstance(session.ask(hello()), Ready)


def test_program_that_does_not_exist_is_told(opened):
    session = opened()
    session.client._launch = replace(session.client._launch, argv=("no such program",))
    answer = session.ask(hello())
    assert "could not be started" in answer.what


@posix_only
def test_what_the_worker_started_dies_with_it(opened, tmp_path):
    script = tmp_path / "launcher.py"
    script.write_text(
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    session = opened(script, limits=Limits(start=2.0))
    assert session.ask(hello()).code == "worker_lost"
    child = int((tmp_path / "child").read_text())
    session.until(lambda: not is_alive(child))


@posix_only
def test_child_that_outlives_its_launcher_is_found(opened, tmp_path):
    script = tmp_path / "launcher.py"
    script.write_text(
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "sys.exit(5)\n"
    )
    session = opened(script)
    assert "exit code 5" in session.ask(hello()).what
    child = int((tmp_path / "child").read_text())
    session.until(lambda: not is_alive(child))


LAUNCHER = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, *sys.argv[2:]], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def launched(opened, tmp_path):
    """A session whose worker left the group of its launcher and is stuck; and the pid of the worker."""
    script = tmp_path / "launcher.py"
    script.write_text(LAUNCHER)
    session = opened(script, tmp_path / "child", FAKE)
    assert isinstance(session.ask(hello()), Ready)
    child = int((tmp_path / "child").read_text())
    assert session.pid() != child
    os.kill(child, signal.SIGSTOP)  # so that it does not notice the end of its input
    return session, child


@posix_only
def test_worker_that_is_out_of_reach_of_its_launcher_is_killed_by_what_it_reported(opened, tmp_path):
    session, child = launched(opened, tmp_path)
    job = session.client.send(Estimate(new_id(), "print"))
    session.client.cancel(job)
    assert session.final(job).is_cancelled
    session.until(lambda: not is_alive(child))


@posix_only
def test_worker_whose_launcher_died_first_is_killed_by_what_it_reported(opened, tmp_path):
    session, child = launched(opened, tmp_path)
    os.kill(session.pid(), signal.SIGKILL)
    session.until(lambda: session.of(""))
    session.until(lambda: not is_alive(child))


@posix_only
def test_pid_of_a_worker_that_has_ended_is_not_killed(opened, tmp_path, monkeypatch):
    session = opened(FAKE, "--on", "estimate=exit:1")
    session.ask(hello())
    process = session.client._process
    killed = []
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append(pid))
    assert "exit code 1" in session.ask(Estimate(new_id(), "print")).what
    process.kill()
    process._kill_tree(process._popen)
    assert killed == []


@pytest.mark.parametrize(
    ("codes", "terminated"),
    [
        ({10: 0, 20: 128}, []),  # the launcher took the worker along
        ({10: 128, 20: 0}, []),  # the launcher was dead already
        ({10: 1, 20: 128}, [10]),
        ({10: OSError("no taskkill"), 20: subprocess.TimeoutExpired("taskkill", 1)}, [10, 20]),
    ],
)
def test_windows_trees_are_ended_from_launcher_and_worker_and_a_failure_is_seen(monkeypatch, codes, terminated):
    asked, ended = [], []

    def run(command, **_):
        pid = int(command[-1])
        asked.append(command[1:])
        if isinstance(codes[pid], Exception):
            raise codes[pid]
        return SimpleNamespace(returncode=codes[pid])

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("os.kill", lambda pid, number: ended.append(pid))
    end_trees((10, 20))
    assert asked == [["/F", "/T", "/PID", "10"], ["/F", "/T", "/PID", "20"]]
    assert ended == terminated


@pytest.mark.parametrize(
    ("code", "words", "is_memory"),
    [
        (-9, "", True),
        (137, "", True),
        (0xC0000017, "", True),
        (1, "MemoryError", True),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", True),
        (1, "ModuleNotFoundError: No module named 'numpy'", False),
        (-11, "", False),
        (0, "MemoryError", False),
        (0xC0000005, "", False),
    ],
)
def test_end_of_a_process_is_told_in_words(code, words, is_memory):
    ended = Ended(code, words)
    assert ended.is_out_of_memory == is_memory
    assert ("memory" in ended.what) == is_memory
    assert ended.what.endswith(".") or words in ended.what
    assert ended.remedy.endswith(".")
