"""Locks as Windows has them: of files, not of folders. Windows itself is simulated by a stand-in for ``msvcrt``."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from GenesisSegmentLib.core import leftovers
from GenesisSegmentLib.core.bulk import BulkStore
from GenesisSegmentLib.core.files import atomic_file, atomic_folder
from GenesisSegmentLib.core.leftovers import TEMPORARY_PREFIX, new_folder, release, sweep, touch

fcntl = pytest.importorskip("fcntl", reason="the stand-in locks as POSIX does")
DAY_S = 24 * 60 * 60
LK_NBLCK = 2


def locking(handle: int, mode: int, count: int) -> None:
    """Locks a file that nobody has open and locked, as ``msvcrt.locking`` does; released when it is closed."""
    assert (mode, count) == (LK_NBLCK, 1)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


@pytest.fixture(autouse=True)
def _windows(monkeypatch):
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=LK_NBLCK))
    monkeypatch.setattr(leftovers, "_LOCKS_FILES", True)


def make_old(place: Path) -> None:
    for path in place.rglob("*"):
        os.utime(path, (time.time() - DAY_S - 60,) * 2)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_folder_of_a_writer_that_lives_stays_whatever_its_age(tmp_path):
    folder, lock = new_folder(tmp_path)
    (folder / "scan.nii.gz").touch()
    make_old(tmp_path)
    sweep(tmp_path)
    assert (folder / "scan.nii.gz").is_file()
    assert names(tmp_path) == [folder.name, f"{folder.name}.lock"]
    release(lock)


def test_folder_of_a_writer_that_was_killed_goes_at_once_with_its_lock(tmp_path):
    folder, lock = new_folder(tmp_path)
    (folder / "scan.nii.gz").touch()
    os.close(lock.handle)  # what the system does then
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_folder_without_a_lock_goes_by_its_age(tmp_path):
    folder = tmp_path / f"{TEMPORARY_PREFIX}{leftovers._machine()}-abcd1234"
    folder.mkdir()
    sweep(tmp_path)
    assert folder.is_dir()
    make_old(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_lock_that_was_left_alone_goes_after_a_day(tmp_path):
    lock = tmp_path / f"{TEMPORARY_PREFIX}{leftovers._machine()}-abcd1234.lock"
    lock.touch()
    sweep(tmp_path)
    assert lock.is_file()
    make_old(tmp_path)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_writes_leave_no_lock_behind(tmp_path):
    with atomic_file(tmp_path / "scan.nii.gz") as path:
        path.write_bytes(b"x")
        assert len(list(tmp_path.glob("*.lock"))) == 1
    with atomic_folder(tmp_path / "masks") as folder:
        (folder / "liver.nii.gz").write_bytes(b"x")
    assert names(tmp_path) == ["masks", "scan.nii.gz"]
    assert names(tmp_path / "masks") == ["liver.nii.gz"]


def test_on_a_disk_without_locks_writes_work_and_leave_nothing(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(sys.modules["msvcrt"], "locking", refuse)
    with atomic_file(tmp_path / "scan.nii.gz") as path:
        path.write_bytes(b"x")
    assert names(tmp_path) == ["scan.nii.gz"]


def test_maker_whose_lock_another_has_takes_another_folder(tmp_path, monkeypatch):
    taken = []

    def take_first(handle: int, mode: int, count: int) -> None:
        if not taken:
            taken.append(handle)
            raise PermissionError(errno.EACCES, "Permission denied")
        locking(handle, mode, count)

    monkeypatch.setattr(sys.modules["msvcrt"], "locking", take_first)
    folder, lock = new_folder(tmp_path)
    assert lock.file.name == f"{folder.name}.lock"
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2  # the first is left to who has its lock
    release(lock)


def test_maker_does_not_try_for_ever(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sys.modules["msvcrt"], "locking", refuse)
    with pytest.raises(OSError, match="busy"):
        new_folder(tmp_path)


def test_store_that_nobody_touched_for_a_day_is_not_swept_by_another(tmp_path):
    living = BulkStore(tmp_path)
    job = living.new_folder("job")
    make_old(tmp_path)
    sweep(tmp_path)
    assert job.is_dir()
    living.close()
    assert names(tmp_path) == []


def test_what_is_touched_is_new_and_what_is_gone_is_told(tmp_path):
    folder, lock = new_folder(tmp_path)
    (folder / "volume-1").mkdir()
    make_old(tmp_path)
    assert touch(folder)
    assert all(time.time() - path.stat().st_mtime < DAY_S for path in tmp_path.rglob("*"))
    (folder / "volume-1").rmdir()
    folder.rmdir()
    assert not touch(folder)
    release(lock)
