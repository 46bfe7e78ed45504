"""Keeps the pipes for the protocol alone: whatever prints in this process, C libraries included, goes to the log."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from ..core.protocol import Event, encode


class Outlet:
    """Writes events to the parent, from any thread; when the parent is gone, they go nowhere."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Writes one line, whole."""
        rest = memoryview(encode(event))
        with self._lock:
            try:
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
            except OSError:  # the parent is gone: stdin says so too, and ends this process
                return


def claim_pipes(log: Path | None) -> tuple[int, Outlet]:
    """The handle that commands are read from, and the outlet for events; stdin and stdout are something else then."""
    commands, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(handle, 2)
        os.close(handle)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return commands, Outlet(events)
