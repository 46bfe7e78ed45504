"""What killed writers leave is swept at the next write; what belongs to a writer that is alive never is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core import files, leftovers
from GenesisSegmentLib.core.files import atomic_file, atomic_folder
from GenesisSegmentLib.core.leftovers import TEMPORARY_PREFIX, new_folder, release, sweep

DAY_S = 24 * 60 * 60
WRITER = """
import sys, time
from pathlib import Path
from GenesisSegmentLib.core.files import atomic_file, atomic_folder
target = Path(sys.argv[1])
with {kind}(target) as path:
    (path if "{kind}" == "atomic_file" else path / "liver.nii.gz").write_bytes(b"half")
    print("half", flush=True)
    sys.stdin.readline()
    (path if "{kind}" == "atomic_file" else path / "liver.nii.gz").write_bytes(b"whole")
"""
has_locks = pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked, and there is no SIGKILL")
kinds = pytest.mark.parametrize("kind", ["atomic_file", "atomic_folder"])


@contextmanager
def writer(kind: str, target: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process in the middle of a write."""
    environment = os.environ | {"PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    command = [sys.executable, "-c", WRITER.format(kind=kind), str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        try:
            yield process
        finally:
            process.kill()


def write(kind: str, target: Path) -> None:
    if kind == "atomic_file":
        with atomic_file(target) as path:
            path.write_bytes(b"mine")
    else:
        with atomic_folder(target) as folder:
            (folder / "spleen.nii.gz").write_bytes(b"mine")


def left_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"{TEMPORARY_PREFIX}*"))


def make_old(path: Path) -> Path:
    for p in (*path.rglob("*"), path):
        os.utime(p, (time.time() - DAY_S - 60,) * 2)
    return path


def leave(place: Path, machine: str) -> Path:
    """A folder such as a killed writer on a machine leaves."""
    folder = place / f"{TEMPORARY_PREFIX}{machine}-abcd1234"
    folder.mkdir()
    (folder / "scan.nii.gz").write_bytes(b"half")
    return folder


@has_locks
@kinds
@pytest.mark.parametrize("exists", [False, True], ids=["new target", "target was there"])
def test_what_a_killed_writer_left_goes_at_the_next_write(kind, exists, tmp_path):
    target = tmp_path / "results"
    if exists:
        write(kind, target)
    with writer(kind, target) as process:
        process.send_signal(signal.SIGKILL)
    assert len(left_in(tmp_path)) == 1
    write(kind, target)
    assert left_in(tmp_path) == []


@has_locks
def test_what_was_left_beside_a_folder_goes_also_where_the_folder_is_there_by_now(tmp_path):
    with writer("atomic_folder", tmp_path / "masks") as process:
        process.send_signal(signal.SIGKILL)
    (tmp_path / "masks").mkdir()
    write("atomic_folder", tmp_path / "masks")
    assert left_in(tmp_path) == []


@kinds
def test_a_writer_that_is_alive_keeps_what_it_has_begun(kind, tmp_path):
    target = tmp_path / "results"
    with writer(kind, target) as process:
        (begun,) = left_in(tmp_path)
        if os.name != "nt":
            make_old(begun)  # its lock counts, not its age
        for _ in range(3):
            write(kind, target)
        assert begun in left_in(tmp_path)
        process.communicate(b"go on\n")
        assert process.returncode == 0
    assert (target if kind == "atomic_file" else target / "liver.nii.gz").read_bytes() == b"whole"
    assert left_in(tmp_path) == []


def test_many_writers_at_once_do_not_sweep_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fsync", lambda path: None)
    monkeypatch.setattr(files, "fsync_folder", lambda path: None)
    failures = []

    def work(number: int) -> None:
        try:
            for _ in range(40):
                write("atomic_file", tmp_path / "shared")
                write("atomic_folder", tmp_path / f"folder{number % 2}")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert left_in(tmp_path) == []


@has_locks
def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    lock, swept = leftovers._lock, []

    def lock_late(folder: Path, wait: bool) -> int | None:
        if len(swept) == 0:
            swept.append(folder)
            shutil.rmtree(folder)
        elif len(swept) == 1:  # locked a moment before the other deletes it
            swept.append(folder)
            handle = lock(folder, wait)
            shutil.rmtree(folder)
            return handle
        return lock(folder, wait)

    monkeypatch.setattr(leftovers, "_lock", lock_late)
    folder, handle = new_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [folder]
    assert folder not in swept
    release(handle)


def test_what_another_machine_left_goes_after_a_day_without_a_change(tmp_path):
    folder = leave(tmp_path, "elsewhere")
    sweep(tmp_path)
    assert folder.is_dir()
    make_old(folder)
    (folder / "scan.nii.gz").write_bytes(b"half and more")
    sweep(tmp_path)
    assert folder.is_dir()
    make_old(folder)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@has_locks
def test_on_a_disk_without_locks_writes_work_and_only_age_counts(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("there are no locks here")

    monkeypatch.setattr("fcntl.flock", refuse)
    folder = leave(tmp_path, leftovers._machine())
    write("atomic_file", tmp_path / "scan.nii.gz")
    assert left_in(tmp_path) == [folder]
    make_old(folder)
    write("atomic_file", tmp_path / "scan.nii.gz")
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.nii.gz"]


def test_temporary_files_go_after_a_day(tmp_path):
    fresh, old = tmp_path / f"{TEMPORARY_PREFIX}fresh", tmp_path / f"{TEMPORARY_PREFIX}old"
    fresh.touch()
    old.touch()
    make_old(old)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]


def test_what_is_not_of_this_program_is_left_alone(tmp_path):
    mine = [tmp_path / ".writing-lessons", tmp_path / "scan.nii.gz"]
    (tmp_path / ".writing-lessons").mkdir()
    (tmp_path / "scan.nii.gz").touch()
    for path in mine:
        make_old(path)
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == mine


@has_locks
def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "scan.nii.gz").touch()
    make_old(tmp_path / "precious")
    link = tmp_path / f"{TEMPORARY_PREFIX}{leftovers._machine()}-abcd1234"
    link.symlink_to(tmp_path / "precious", target_is_directory=True)
    os.utime(link, (time.time() - DAY_S - 60,) * 2, follow_symlinks=False)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "precious"]
    assert (tmp_path / "precious" / "scan.nii.gz").is_file()


def test_a_place_that_is_not_there_is_no_obstacle(tmp_path):
    sweep(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []
