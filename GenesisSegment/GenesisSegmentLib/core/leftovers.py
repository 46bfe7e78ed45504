"""The temporary folders of writers, and how those of writers that were killed are found and swept away.

A writer holds a lock on its folder, which the system drops with the process: a folder whose lock can be had is left
over. Windows locks no folders; there a file beside it is locked. A lock of another machine cannot be trusted (many
network disks keep locks to themselves), nor are there locks everywhere; there, what nothing has touched for a day is
left over. A writer that lives longer than that calls :func:`touch` now and then.
"""

from __future__ import annotations

import errno
import importlib
import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEMPORARY_PREFIX = ".writing-genesis-"
"""How the names of temporary files and folders begin; the machine and a random part follow."""
_DAY_S = 24 * 60 * 60
_LOCK_SUFFIX = ".lock"
_ATTEMPTS = 20
_LOCKS_FILES = os.name == "nt"


@dataclass(frozen=True)
class Lock:
    """A lock that is held by an open ``handle``; ``file`` is what was made for it."""

    handle: int
    file: Path | None = None


def new_folder(place: Path) -> tuple[Path, Lock | None]:
    """A new temporary folder in ``place``, and its lock for :func:`release`; None without locks.

    Raises:
        OSError: it cannot be made.
    """
    for _attempt in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{_machine()}-", dir=place))
        try:
            lock = _lock(folder, wait=True)
        except (BlockingIOError, FileNotFoundError):  # it is being swept away
            continue
        except OSError:
            return folder, None
        if folder.is_dir():
            return folder, lock
        release(lock)  # it was swept away before it was locked
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(place))


def release(lock: Lock | None) -> None:
    """Gives a lock back."""
    if lock is None:
        return
    os.close(lock.handle)
    if lock.file is not None:
        _delete(lock.file)


def touch(folder: Path) -> bool:
    """Makes a folder and what lies in it new, for those who go by age; whether it is still there. Never raises."""
    try:
        os.utime(folder)
    except OSError:
        return folder.is_dir()
    with suppress(OSError):  # what goes away meanwhile needs no more care
        for path in (folder.with_name(folder.name + _LOCK_SUFFIX), *folder.rglob("*")):
            with suppress(OSError):
                os.utime(path)
    return True


def sweep(place: Path) -> None:
    """Deletes what killed writers left in ``place``, and nothing of a writer that is alive. Never raises."""
    try:
        with os.scandir(place) as entries:
            found = [entry for entry in entries if entry.name.startswith(TEMPORARY_PREFIX)]
    except OSError:  # the write that follows will say why
        return
    for entry in found:
        path = Path(entry.path)
        if not entry.is_dir(follow_symlinks=False):
            is_lock = path.suffix == _LOCK_SUFFIX and path.with_suffix("").is_dir()
            if not is_lock and _is_old(path):
                _delete(path)
            continue
        lock = None
        try:
            if _maker(path) == _machine():
                lock = _lock(path, wait=False)
        except (BlockingIOError, FileNotFoundError):  # its writer is alive, or has just ended
            continue
        except OSError:
            pass  # there are no locks here
        if lock is not None or _is_old(path):
            shutil.rmtree(path, ignore_errors=True)
        release(lock)


def _lock(folder: Path, wait: bool) -> Lock | None:
    """Locks a folder until its handle is closed or the process ends. Its maker waits where another has it.

    Raises:
        BlockingIOError: another holds it.
        OSError: the folder is gone, or the disk has no locks.
    """
    if _LOCKS_FILES:
        return _lock_beside(folder, is_maker=wait)
    fcntl: Any = importlib.import_module("fcntl")
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return Lock(handle)


def _lock_beside(folder: Path, is_maker: bool) -> Lock | None:
    """Locks the file beside a folder, which its maker makes; None for others where there is no such file.

    It lies beside the folder because Windows deletes no folder with an open file in it.
    """
    msvcrt: Any = importlib.import_module("msvcrt")
    file = folder.with_name(folder.name + _LOCK_SUFFIX)
    try:
        handle = os.open(file, os.O_RDWR | (os.O_CREAT if is_maker else 0))
    except FileNotFoundError:
        return None
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except PermissionError as error:
        os.close(handle)
        raise BlockingIOError(error.errno, error.strerror, str(file)) from error
    except OSError:  # there are no locks on this disk
        release(Lock(handle, file))
        raise
    return Lock(handle, file)


def _machine() -> str:
    return re.sub(r"\W", "_", platform.node())[:32]


def _maker(folder: Path) -> str:
    """The machine in the name of a temporary folder."""
    return folder.name.removeprefix(TEMPORARY_PREFIX).rpartition("-")[0]


def _is_old(path: Path) -> bool:
    """Whether nothing in a file or folder has changed for a day."""
    try:
        latest = max(p.lstat().st_mtime for p in (path, *path.rglob("*")))
    except OSError:  # it changes right now
        return False
    return time.time() - latest > _DAY_S


def _delete(file: Path) -> None:
    try:
        file.unlink()
    except OSError:  # another has deleted it, or may
        return
