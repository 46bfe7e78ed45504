"""The loop of the worker with handlers that fail in every way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.jobs import Progress as JobProgress
from GenesisSegmentLib.core.protocol import (
    EXIT_DEVICE_LOST,
    EXIT_FATAL,
    Cancel,
    Done,
    Failure,
    Heartbeat,
    Hello,
    ListModels,
    Progress,
    Refine,
    decode,
    encode,
)
from GenesisSegmentLib.worker.faults import explained, is_device_lost
from GenesisSegmentLib.worker.packages import REQUIREMENTS, Requirement, examine, runtimes
from GenesisSegmentLib.worker.pipes import Outlet
from GenesisSegmentLib.worker.progress import Reporter
from GenesisSegmentLib.worker.server import Server
from GenesisSegmentLib.worker.speeds import Speed, Speeds, speed_key
from worker.conftest import LIBRARY, PATIENCE_S


class Served:
    """A server on pipes, in this process."""

    def __init__(self, run, **options) -> None:
        commands, self._write = os.pipe()
        self._read, events = os.pipe()
        handler = type("Handler", (), {"run": staticmethod(run), "rest": staticmethod(lambda: None)})()
        self._thread = threading.Thread(
            target=Server(Outlet(events), handler, "/the/log", **options).serve, args=(commands,)
        )
        self._thread.start()
        self._stream = os.fdopen(self._read, "rb")

    def send(self, *messages) -> None:
        os.write(self._write, b"".join(map(encode, messages)))

    def read(self, wanted=Failure | Done):
        while not isinstance(message := decode(self._stream.readline()), wanted):
            pass
        return message

    def close(self) -> None:
        os.close(self._write)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


@pytest.fixture
def served():
    servers = []

    def start(run, **options):
        servers.append(Served(run, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("There is no body.", "Choose another."), "input", "no body"),
        (MemoryError(), "resource", "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "resource", "memory"),
        (ModuleNotFoundError("No module named 'scipy.ndimage'", name="scipy.ndimage"), "setup", "scipy is not"),
        (ImportError("DLL load failed"), "setup", "DLL load failed"),
        (ImportError("cannot import name", name="GenesisSegmentLib.engine"), "fault", "cannot import name"),
        (ValueError("the third\nline"), "fault", "ValueError): the third"),
        (ZeroDivisionError(), "fault", "ZeroDivisionError"),
    ],
)
def test_error_becomes_an_event_and_the_next_command_is_answered(served, error, code, words, capsys):
    def run(command, job, send):
        if command.id == "bad":
            raise error
        return Done(command.id)

    server = served(run)
    server.send(Hello("bad"), Hello("good"))
    failure = server.read()
    assert (failure.id, failure.code, failure.log) == ("bad", code, "/the/log")
    assert words in failure.what
    assert failure.remedy
    assert server.read() == Done("good")


def test_commands_of_some_types_do_not_wait_for_others(served):
    """The handler of the long one waits for that of the short one."""
    is_over = threading.Event()

    def run(command, job, send):
        if command.id == "long":
            assert is_over.wait(PATIENCE_S)
        if command.id == "apart":
            is_over.set()
        return Done(command.id)

    server = served(run, apart=(Hello,))
    server.send(ListModels("long"), ListModels("next"), Hello("apart"))
    assert [server.read().id for _ in range(3)] == ["apart", "long", "next"]


def test_task_that_waits_in_any_lane_is_cancelled_and_named_in_heartbeats(served):
    is_over, jobs = threading.Event(), []

    def run(command, job, send):
        jobs.append(job)
        assert is_over.wait(PATIENCE_S)
        return Done(command.id)

    server = served(run, apart=(Hello,))
    server.send(Hello("running"), ListModels("other"), Hello("waiting"))
    while len(server.read(Heartbeat).jobs) < 3:
        pass
    server.send(Cancel("stop", "waiting"))
    assert server.read().is_cancelled
    assert server.read() == Done("stop")
    is_over.set()
    assert {server.read().id, server.read().id} == {"running", "other"}
    assert not any(job.is_cancelled for job in jobs)


def test_commands_are_done_one_after_the_other_on_one_thread(served):
    threads = []

    def run(command, job, send):
        threads.append(threading.get_ident())
        return Done(command.id)

    server = served(run)
    server.send(*(Hello(str(n)) for n in range(5)))
    assert [server.read().id for _ in range(5)] == list("01234")
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_heartbeat_names_what_is_not_finished(served):
    go = threading.Event()

    def run(command, job, send):
        go.wait(PATIENCE_S)
        return Done(command.id)

    server = served(run)
    server.send(Hello("a"), Hello("b"))
    heartbeat = server.read(Heartbeat)
    while heartbeat.jobs != ("a", "b"):
        heartbeat = server.read(Heartbeat)
    assert heartbeat.state == "busy"
    go.set()
    while heartbeat.jobs:
        heartbeat = server.read(Heartbeat)
    assert heartbeat.state == "idle"


def test_cancel_that_comes_late_does_not_reach_the_next_command(served):
    seen = []

    def run(command, job, send):
        seen.append(job)
        return Done(command.id)

    server = served(run)
    server.send(Hello("a"))
    server.read()
    server.send(Cancel("x", "a"), Hello("b"))
    assert {server.read().id, server.read().id} == {"x", "b"}
    assert not seen[1].is_cancelled


def test_command_that_waits_is_cancelled_at_once_and_never_begun(served):
    go, begun = threading.Event(), []

    def run(command, job, send):
        begun.append(command.id)
        go.wait(PATIENCE_S)
        return Done(command.id)

    server = served(run)
    server.send(Hello("a"), Hello("b"), Hello("c"))
    server.send(Cancel("x", "b"))
    failure = server.read()
    assert (failure.id, failure.code) == ("b", "cancelled")
    assert server.read() == Done("x")
    go.set()
    assert [server.read().id, server.read().id] == ["a", "c"]
    assert begun == ["a", "c"]


def test_end_of_the_input_cancels_what_runs_and_drops_what_waits():
    stopped, begun = threading.Event(), []

    def run(command, job, send):
        begun.append(command.id)
        job.on_cancel(stopped.set)
        stopped.wait(PATIENCE_S)
        return Done(command.id)

    server = Served(run)
    server.send(Hello("a"), Hello("b"))
    while not begun:
        time.sleep(0.01)
    server.close()
    assert stopped.is_set()
    assert begun == ["a"]


def test_handler_rests_on_the_thread_of_the_commands_while_there_is_nothing_to_do():
    commands, write = os.pipe()
    read, events = os.pipe()
    seen, rested, done = [], threading.Event(), threading.Event()

    class Handler:
        def run(self, command, job, send):
            seen.append(("run", threading.get_ident()))
            done.set()
            return Done(command.id)

        def rest(self):
            seen.append(("rest", threading.get_ident()))
            rested.set()

    server = Server(Outlet(events), Handler(), rest_s=0.01)
    thread = threading.Thread(target=server.serve, args=(commands,))
    thread.start()
    assert rested.wait(PATIENCE_S)
    os.write(write, encode(Hello("a")))
    assert done.wait(PATIENCE_S)  # a rest does not keep commands away
    os.close(write)
    thread.join(PATIENCE_S)
    os.close(read)
    assert {"run", "rest"} == {what for what, _ in seen}
    assert len({who for _, who in seen}) == 1


def test_progress_is_thinned_out_but_every_stage_is_told():
    sent = []
    report = Reporter("a", sent.append, start=0.5, share=0.5)
    for stage in ("one", "two"):
        for n in range(1000):
            report(JobProgress(stage, n / 1000, None))
    assert [event.stage for event in sent[:1]] == ["one"]
    assert {event.stage for event in sent} == {"one", "two"}
    assert len(sent) < 200
    assert all(isinstance(event, Progress) and 0.5 <= event.fraction <= 1.0 for event in sent)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("RuntimeError('CUDA error: an illegal memory access was encountered')", EXIT_DEVICE_LOST),
        ("SystemExit(3)", EXIT_FATAL),
    ],
)
def test_state_that_only_a_new_process_leaves_ends_this_one_with_a_known_code(raised, code):
    source = (
        "from GenesisSegmentLib.worker.server import Server\n"
        "from GenesisSegmentLib.worker.pipes import claim_pipes\n"
        "commands, outlet = claim_pipes(None)\n"
        "class Handler:\n"
        "    def run(self, command, job, send):\n"
        f"        raise {raised}\n"
        "Server(outlet, Handler()).serve(commands)\n"
    )
    popen = subprocess.Popen(
        [sys.executable, "-c", source],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
    )
    popen.stdin.write(encode(Hello("a")))
    popen.stdin.flush()
    assert popen.wait(PATIENCE_S) == code
    messages = [decode(line) for line in popen.stdout]
    popen.communicate()
    if code == EXIT_DEVICE_LOST:
        (failure,) = (m for m in messages if isinstance(m, Failure))
        assert (failure.id, failure.code) == ("a", "resource")


def test_memory_that_ran_out_on_the_gpu_is_no_lost_device():
    error = RuntimeError("CUDA error: out of memory")
    assert not is_device_lost(error)
    assert "memory" in explained("a", error, "").what


def test_end_does_not_wait_for_a_call_that_blocks():
    source = (
        "import threading\n"
        "from GenesisSegmentLib.worker import server, pipes\n"
        "commands, outlet = pipes.claim_pipes(None)\n"
        "class Handler:\n"
        "    def run(self, command, job, send):\n"
        "        threading.Event().wait()\n"
        "code = server.Server(outlet, Handler()).serve(commands)\n"
        "import os; os._exit(code)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", source],
        input=encode(Hello("a")),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(LIBRARY)},
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < PATIENCE_S / 2


# --- Speeds -----------------------------------------------------------------------------------------------------------


def test_speeds_are_remembered_by_what_they_hold_for(tmp_path):
    key, other = (speed_key("a" * 64, runtime, "fast", "cpu") for runtime in ("onnx", "torch"))
    Speeds(tmp_path / "speeds.json").remember(key, Speed(1e-6, 2e-8))
    assert Speeds(tmp_path / "speeds.json").get(key) == Speed(1e-6, 2e-8)
    assert Speeds(tmp_path / "speeds.json").get(other) is None


def test_run_that_says_nothing_of_the_rest_keeps_what_is_known_of_it(tmp_path):
    speeds = Speeds(tmp_path / "speeds.json")
    speeds.remember("a", Speed(1e-6, 2e-8))
    speeds.remember("a", Speed(3e-6))
    assert speeds.get("a") == Speed(3e-6, 2e-8)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', '{"a": {"fast": 1}}'])
def test_damaged_speeds_are_as_none(tmp_path, text):
    (tmp_path / "speeds.json").write_text(text)
    speeds = Speeds(tmp_path / "speeds.json")
    assert speeds.get("a") is None
    speeds.remember("a", Speed(1e-6))
    assert speeds.get("a") == Speed(1e-6)


# --- Packages ---------------------------------------------------------------------------------------------------------


def test_required_versions_are_those_of_the_project():
    tomllib = pytest.importorskip("tomllib")
    from packaging.requirements import Requirement as Line

    text = (LIBRARY.parent / "pyproject.toml").read_text(encoding="utf-8")
    lines = [Line(line) for line in tomllib.loads(text)["project"]["dependencies"]]
    stated = {line.name: str(line.specifier) for line in lines}
    for requirement in REQUIREMENTS:
        specifier = stated[requirement.names[0]]
        assert f">={requirement.least}" in specifier.split(",")
        assert (f"!={requirement.excluded}.*" in specifier) == bool(requirement.excluded)


@pytest.mark.parametrize(
    ("version", "verdict"),
    [("2.8.0", "ok"), ("2.13.0+cu128", "ok"), ("2.9.1", "unfit"), ("2.7.1", "unfit"), ("3.0", "ok"), (None, "missing")],
)
def test_package_is_judged_by_its_version(monkeypatch, version, verdict):
    monkeypatch.setattr("GenesisSegmentLib.worker.packages._installed", lambda names: (names[0], version))
    package = examine(Requirement(("torch",), "json", "2.8", "torch", excluded="2.9"))
    assert package.verdict == verdict
    assert bool(package.note) == (verdict != "ok")


def test_package_whose_files_are_gone_is_missing(monkeypatch):
    monkeypatch.setattr("GenesisSegmentLib.worker.packages._installed", lambda names: (names[0], "2.8"))
    assert examine(Requirement(("torch",), "no_such_module", "2.8", "torch")).verdict == "missing"


def test_runtime_needs_its_own_packages_and_those_of_the_engine():
    good = tuple(examine(Requirement((name,), "json", "0", kind)) for name, kind in
                 (("numpy", "engine"), ("numpy", "onnx"), ("numpy", "torch")))  # fmt: skip
    assert runtimes(good) == ("onnx", "torch")
    for n, expected in ((0, ()), (1, ("torch",)), (2, ("onnx",))):
        broken = [*good]
        broken[n] = examine(Requirement(("no-such-package",), "json", "0", good[n].needed_for))
        assert runtimes(tuple(broken)) == expected


def test_requirements_are_named_once():
    names = sorted(requirement.names[0] for requirement in REQUIREMENTS)
    assert all(a != b for a, b in pairwise(names))


def test_previews_that_wait_give_way_to_the_next_stroke_and_nothing_else_does(served):
    """The first command is at work until the last one has come."""
    is_over = threading.Event()

    def run(command, job, send):
        assert command.id != "first" or is_over.wait(PATIENCE_S)
        return Done(command.id)

    def a_stroke(name: str, step: str) -> Refine:
        return Refine(name, "print", (0, 0, 0), (1, 1, 1), "", (), step)

    server = served(run)
    server.send(a_stroke("first", "preview"))
    server.send(a_stroke("late", "preview"), Hello("hello"), a_stroke("answer", "answer"), a_stroke("last", "preview"))
    dropped = server.read()
    assert (dropped.id, dropped.is_cancelled) == ("late", True)
    server.send(Hello("end"))
    is_over.set()
    assert [server.read().id for _ in range(5)] == ["first", "hello", "answer", "last", "end"]
