"""The temporary folders of writers, and how those of writers that were killed are found and swept away.

A writer holds a lock on its folder, which the system drops with the process: a folder whose lock can be had is left
over. A lock of another machine cannot be trusted (many network disks keep locks to themselves), nor are there locks
everywhere; there, what nothing has touched for a day is left over.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

TEMPORARY_PREFIX = ".writing-genesis-"
"""How the names of temporary files and folders begin; the machine and a random part follow."""
_DAY_S = 24 * 60 * 60


def new_folder(place: Path) -> tuple[Path, int | None]:
    """A new temporary folder in ``place``, and the handle of its lock for :func:`release`; None without locks.

    Raises:
        OSError: it cannot be made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{_machine()}-", dir=place))
        try:
            lock = _lock(folder, wait=True)
        except FileNotFoundError:
            continue
        except OSError:
            return folder, None
        if folder.is_dir():
            return folder, lock
        release(lock)  # it was swept away before it was locked


def release(lock: int | None) -> None:
    """Gives a lock back."""
    if lock is not None:
        os.close(lock)


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
            if _is_old(path):
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


def _lock(folder: Path, wait: bool) -> int | None:
    """Locks a folder until its handle is closed or the process ends; None on systems without such locks.

    Raises:
        BlockingIOError: another holds it, and ``wait`` is false.
        OSError: the folder is gone, or the disk has no locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


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
