"""Who has the device: a prediction that a person waits for takes it, and learning stands still until it is given back.

The lease is a lock that the system keeps on a file and drops with the process: a prediction that was killed gives the
device back. Several predictions, each of a Slicer of its own, may hold it at the same time; none of them ever waits.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .home import data_home
from .jobs import Job

LOOK_S = 0.05
"""Seconds between two looks of who gives way."""
_ATTEMPTS = 20
_ATTEMPT_S = 0.001
_LOCKS_BYTES = os.name == "nt"
_HOLDERS = 32
"""Of one lease at the same time on Windows, where a lock belongs to one process alone: each has a byte of its own."""


class Lease:
    """The device of this person on this machine; ``path`` is the file of the lock."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or data_home() / "device.lock"
        self._looked_at = -LOOK_S

    @contextmanager
    def held(self) -> Iterator[None]:
        """Has the device. Where the disk keeps no locks, the work is done without, and the log says so."""
        handle = None
        try:
            handle = self._opened()
            self._take(handle)
        except OSError as error:  # the person's prediction comes first
            print(f"The device could not be reserved ({error}): learning goes on beside it.", file=sys.stderr)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def is_taken(self) -> bool:
        """Whether somebody has the device. Nobody does where the disk keeps no locks."""
        if not self._path.is_file():
            return False
        try:
            handle = self._opened()
        except OSError:
            return False
        try:
            _try_all(handle)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
        finally:
            os.close(handle)
        return False

    def wait_until_free(self, job: Job, on_wait: Callable[[], None] = lambda: None) -> None:
        """Returns when nobody has the device; ``on_wait`` is called once if that takes a while.

        May be called as often as one likes: it looks every :data:`LOOK_S` seconds.

        Raises:
            Cancelled: ``job`` was cancelled meanwhile.
        """
        job.check()
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        if self.is_taken():
            on_wait()
            while self.is_taken():
                time.sleep(LOOK_S)
                job.check()
        self._looked_at = time.monotonic()

    def _opened(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def _take(self, handle: int) -> None:
        """Whoever looks has the whole lock for a moment: hence some attempts.

        Raises:
            OSError: there are no locks here, or a process was stopped in the middle of its look.
        """
        for attempt in range(_ATTEMPTS):
            with suppress(BlockingIOError, PermissionError):
                return _try_one(handle)
            time.sleep(_ATTEMPT_S * attempt)
        raise BlockingIOError("its lock is not given back")


def _try_one(handle: int) -> None:
    """Locks a share of a file until it is closed or the process ends.

    Raises:
        BlockingIOError, PermissionError: another has the whole of it.
        OSError: there are no locks here.
    """
    if not _LOCKS_BYTES:
        fcntl: Any = importlib.import_module("fcntl")
        return fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    for place in range(_HOLDERS - 1):
        with suppress(PermissionError):
            return _lock_bytes(handle, place, 1)
    return _lock_bytes(handle, _HOLDERS - 1, 1)


def _try_all(handle: int) -> None:
    """Locks a whole file; errors as in :func:`_try_one`, where another has a share of it."""
    if not _LOCKS_BYTES:
        fcntl: Any = importlib.import_module("fcntl")
        return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return _lock_bytes(handle, 0, _HOLDERS)


def _lock_bytes(handle: int, place: int, count: int) -> None:
    msvcrt: Any = importlib.import_module("msvcrt")
    os.lseek(handle, place, os.SEEK_SET)
    msvcrt.locking(handle, msvcrt.LK_NBLCK, count)
