"""The lease of the device, held by real processes; the locks of Windows by a stand-in for ``msvcrt``."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core import lease as lease_module
from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.lease import LOOK_S, Lease

fcntl = pytest.importorskip("fcntl", reason="the stand-in locks as POSIX does")
HOLD = """
import sys
from pathlib import Path
from GenesisSegmentLib.core.lease import Lease
if sys.argv[2] == "windows":
    import lease_stand_in
    lease_stand_in.install()
with Lease(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""
STAND_IN = """
import errno, fcntl, os, sys
from types import SimpleNamespace
from GenesisSegmentLib.core import lease

def locking(handle, mode, count):
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, count, os.lseek(handle, 0, os.SEEK_CUR))
    except OSError:
        raise PermissionError(errno.EACCES, "Permission denied") from None

def install():
    sys.modules["msvcrt"] = SimpleNamespace(locking=locking, LK_NBLCK=2)
    lease._LOCKS_BYTES = True
"""


@pytest.fixture(params=["posix", "windows"])
def system(request, monkeypatch, tmp_path):
    """Both kinds of locks."""
    (tmp_path / "lease_stand_in.py").write_text(STAND_IN)
    if request.param == "windows":
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(sys.modules, "msvcrt", None)
        monkeypatch.setattr(lease_module, "_LOCKS_BYTES", True)
        import lease_stand_in

        lease_stand_in.install()
        monkeypatch.delitem(sys.modules, "lease_stand_in")
    return request.param


@pytest.fixture
def holder(tmp_path, system):
    """Starts processes that hold a lease until their stdin ends."""
    processes = []

    def start(path: Path) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": f"{Path(GenesisSegmentLib.__file__).parents[1]}:{tmp_path}"}
        command = [sys.executable, "-c", HOLD, str(path), system]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        processes.append(process)
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_nobody_has_a_device_that_was_never_taken(tmp_path, system):
    assert not Lease(tmp_path / "device.lock").is_taken()
    assert list(tmp_path.glob("*.lock")) == []


def test_lease_is_taken_until_its_last_holder_is_done(tmp_path, holder):
    lease = Lease(tmp_path / "home" / "device.lock")
    first, second = holder(tmp_path / "home" / "device.lock"), holder(tmp_path / "home" / "device.lock")
    assert lease.is_taken()
    first.communicate()
    assert lease.is_taken()
    second.communicate()
    assert not lease.is_taken()


def test_holder_that_was_killed_gives_the_device_back(tmp_path, holder):
    process = holder(tmp_path / "device.lock")
    lease = Lease(tmp_path / "device.lock")
    assert lease.is_taken()
    process.kill()
    process.wait()
    assert not lease.is_taken()


def test_looking_neither_takes_nor_ends_a_lease(tmp_path, holder):
    lease = Lease(tmp_path / "device.lock")
    process = holder(tmp_path / "device.lock")
    assert [lease.is_taken() for _ in range(3)] == [True, True, True]
    process.communicate()
    assert [lease.is_taken() for _ in range(3)] == [False, False, False]
    assert holder(tmp_path / "device.lock").poll() is None


def test_wait_ends_when_the_device_is_free_and_says_once_that_it_waits(tmp_path, holder):
    process, waits = holder(tmp_path / "device.lock"), []
    lease = Lease(tmp_path / "device.lock")

    def on_wait() -> None:
        waits.append(lease.is_taken())
        process.communicate()

    lease.wait_until_free(Job(), on_wait)
    assert waits == [True]
    assert not lease.is_taken()
    time.sleep(2 * LOOK_S)
    lease.wait_until_free(Job(), on_wait)
    assert waits == [True]


def test_who_asks_often_still_notices_that_the_device_was_taken(tmp_path, holder):
    lease, waits = Lease(tmp_path / "device.lock"), []
    lease.wait_until_free(Job())
    process = holder(tmp_path / "device.lock")
    stop = time.monotonic() + 30.0
    while not waits:
        assert time.monotonic() < stop
        lease.wait_until_free(Job(), lambda: (waits.append(True), process.communicate()))


def test_wait_ends_with_the_job_that_waits(tmp_path, holder):
    holder(tmp_path / "device.lock")
    job = Job()
    with pytest.raises(Cancelled):
        Lease(tmp_path / "device.lock").wait_until_free(job, job.cancel)


def test_prediction_waits_neither_for_a_disk_without_locks_nor_for_a_look_that_hangs(tmp_path, monkeypatch, capsys):
    done = []

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refuse)
        with Lease(tmp_path / "device.lock").held():
            done.append("without locks")
        assert not Lease(tmp_path / "device.lock").is_taken()
    handle = os.open(tmp_path / "device.lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with Lease(tmp_path / "device.lock").held():
        done.append("hanging look")
    os.close(handle)
    (tmp_path / "file").touch()
    with Lease(tmp_path / "file" / "device.lock").held():
        done.append("no folder")
    assert done == ["without locks", "hanging look", "no folder"]
    assert capsys.readouterr().err.count("learning goes on beside it") == 3


def test_prediction_gets_the_device_while_others_look(tmp_path, system, capsys):
    lease, is_over, taken = Lease(tmp_path / "device.lock"), threading.Event(), []

    def look() -> None:
        while not is_over.is_set():
            lease.is_taken()
            time.sleep(0.001)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(50):
            with lease.held():
                pass
    finally:
        is_over.set()
        for watcher in watchers:
            watcher.join()
    assert capsys.readouterr().err == ""
    if system == "posix":  # the stand-in of Windows knows one lock per process
        with lease.held():
            taken.append(lease.is_taken())
        assert taken == [True]
