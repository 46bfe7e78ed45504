"""The real worker when it is cancelled, killed, or left by its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.core.bulk import write_volume
from GenesisSegmentLib.core.protocol import (
    Cancel,
    Done,
    Failure,
    Heartbeat,
    Hello,
    LoadVolume,
    Progress,
    Ready,
    Result,
    Shutdown,
    decode,
    encode,
)
from GenesisSegmentLib.core.volume import Volume
from worker.conftest import LIBRARY, PATIENCE_S, loaded, segment

pytest.importorskip("onnxruntime")


def in_the_network(session, job):
    """Waits until a run is in the middle of its longest call."""
    session.until(lambda: any(isinstance(e, Progress) and e.stage == "network" for e in session.of(job)))


def test_cancel_ends_the_run_and_the_process_answers_on(real, body, torso):
    session = loaded(loaded(real(), body), torso, "small")
    job = session.client.send(segment())
    in_the_network(session, job)
    pid = session.pid()
    started = time.monotonic()
    session.client.cancel(job)
    answer = session.final(job)
    assert answer.is_cancelled
    assert time.monotonic() - started < 20.0  # under one second on an idle machine
    assert isinstance(session.ask(replace(segment(), volume="small")), Result)
    assert session.pid() == pid


def test_cancelled_run_leaves_no_files(real, body, tmp_path):
    session = loaded(real(), body)
    before = {path for path in (tmp_path / "bulk").rglob("*") if path.is_file()}
    job = session.client.send(segment())
    in_the_network(session, job)
    session.client.cancel(job)
    session.final(job)
    session.until(lambda: {path for path in (tmp_path / "bulk").rglob("*") if path.is_file()} == before)


def test_command_that_waits_is_cancelled_at_once(real, body):
    session = loaded(real(), body)
    running, waiting = session.client.send(segment()), session.client.send(segment())
    in_the_network(session, running)
    session.client.cancel(waiting)
    assert session.final(waiting).is_cancelled
    assert not [event for event in session.of(running) if not isinstance(event, Progress)]
    session.client.cancel(running)
    session.final(running)


class Raw:
    """A worker spoken to by hand."""

    def __init__(self, tmp_path: Path, *argv: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(LIBRARY), "GENESIS_SEGMENT_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "GenesisSegmentLib.worker", *argv]
        pipe = subprocess.PIPE
        self.popen = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)

    def send(self, data: bytes) -> None:
        self.popen.stdin.write(data)
        self.popen.stdin.flush()

    def read(self, wanted: type):
        while line := self.popen.stdout.readline():
            message = decode(line)
            if isinstance(message, wanted):
                return message
        raise AssertionError(self.popen.stderr.read())


@pytest.fixture
def raw(tmp_path):
    workers = []

    def start(*argv):
        workers.append(Raw(tmp_path, *argv))
        return workers[-1]

    yield start
    for worker in workers:
        worker.popen.kill()
        worker.popen.wait(PATIENCE_S)
        for pipe in (worker.popen.stdin, worker.popen.stdout, worker.popen.stderr):
            with suppress(OSError):
                pipe.close()


def begin(worker: Raw, folder: Path, volume: Volume) -> str:
    """Has a worker begin a run on a volume; the id of its command."""
    folder.mkdir(exist_ok=True)
    write_volume(folder, volume, "print")
    command = segment(folder=str(folder))
    worker.send(encode(LoadVolume("load", str(folder), "print")) + encode(command))
    while worker.read(Progress).stage != "network":
        pass
    return command.id


def test_end_of_the_input_ends_an_idle_worker(raw):
    worker = raw()
    worker.read(Heartbeat)
    worker.popen.stdin.close()
    assert worker.popen.wait(PATIENCE_S) == 0


def test_end_of_the_input_ends_a_worker_in_the_middle_of_a_run(raw, tmp_path, body):
    worker = raw()
    begin(worker, tmp_path / "job", body)
    worker.popen.stdin.close()
    assert worker.popen.wait(PATIENCE_S) == 0
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"voxels.i2", "volume.json"}


def test_run_that_is_cancelled_does_not_go_on_to_its_end(raw, tmp_path, body):
    worker = raw()
    job = begin(worker, tmp_path / "job", body)
    worker.send(encode(Cancel("stop", job)))
    while (event := worker.read(Failure | Result | Done)).id != job:
        pass
    assert isinstance(event, Failure)
    assert event.is_cancelled


def test_shutdown_is_answered_and_ends_the_worker(raw):
    worker = raw()
    worker.send(encode(Shutdown("bye")))
    assert worker.read(Done).id == "bye"
    assert worker.popen.wait(PATIENCE_S) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_ctrl_c_in_the_terminal_is_left_to_the_parent(raw):
    worker = raw()
    worker.read(Heartbeat)
    worker.popen.send_signal(signal.SIGINT)
    worker.send(encode(Hello("a")))
    assert worker.read(Ready).id == "a"


def test_kill_in_the_middle_of_a_run_leaves_the_volume_and_no_half_result(raw, tmp_path, body):
    worker = raw()
    begin(worker, tmp_path / "job", body)
    worker.popen.kill()
    worker.popen.wait(PATIENCE_S)
    assert {path.name for path in (tmp_path / "job").iterdir()} == {"voxels.i2", "volume.json"}
    next_one = raw()
    next_one.send(encode(LoadVolume("load", str(tmp_path / "job"), "print")))
    assert next_one.read(Done).id == "load"


def test_what_is_not_understood_is_answered_or_logged_and_the_worker_goes_on(raw, tmp_path):
    log = tmp_path / "log" / "worker.log"
    worker = raw("--log", str(log))
    worker.send(b"\xff\x00 garbage\n[]\n" + b"y" * 17_000_000 + b"\n")
    worker.send(b'{"v":1,"type":"unlearn","id":"a"}\n{"v":2,"type":"hello","id":"b"}\n{"v":1,"type":"done","id":"c"}\n')
    for name, code in (("a", "unknown_type"), ("b", "protocol"), ("c", "protocol")):
        failure = worker.read(Failure)
        assert (failure.id, failure.code) == (name, code)
    worker.send(encode(Hello("d")))
    assert worker.read(Ready).id == "d"
    assert "garbage" in log.read_text()


def test_whatever_prints_cannot_reach_the_pipe():
    code = (
        "import os, sys, ctypes\n"
        "from GenesisSegmentLib.core.protocol import Done\n"
        "from GenesisSegmentLib.worker.pipes import claim_pipes\n"
        "commands, outlet = claim_pipes(None)\n"
        "print('from Python')\n"
        "sys.stdout.flush()\n"
        "os.write(1, b'from C')\n"
        "os.system('echo from a child')\n"
        "outlet.send(Done(sys.stdin.read() + '|' + os.read(commands, 100).decode()))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=b"in", capture_output=True, env=environment, check=True, timeout=PATIENCE_S)
    assert done.stdout == encode(Done("|in"))
    assert all(words in done.stderr for words in (b"from Python", b"from C", b"from a child"))
