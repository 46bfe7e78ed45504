"""One round in a process of its own, as the supervisor sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue

from ...core.protocol import Cancel, Command, Message, decode, encode, new_id
from ...core.wire import LineSplitter
from ...core.worker_process import Ended

TRAINING = (sys.executable, "-m", "GenesisSegmentLib.worker.learner.training")
"""How the process of a round is started."""
_READ_BYTES = 1 << 16
_LAST_LINES = 4096


class Child:
    """Starts the process at once and tells it ``command``; its stderr goes where that of this process goes.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, argv: tuple[str, ...], command: Command) -> None:
        self._inbox: SimpleQueue[Message | None] = SimpleQueue()
        self._popen = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_modest_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._words = b""
        self._readers = [threading.Thread(target=work, daemon=True) for work in (self._read, self._pass_on)]
        for reader in self._readers:
            reader.start()
        self._write(command)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def next(self, seconds: float) -> Message | None:
        """What it says next, None if that is nothing within ``seconds``.

        Raises:
            EOFError: it will not say anything any more.
        """
        try:
            message = self._inbox.get(timeout=seconds)
        except Empty:
            return None
        if message is None:
            self._inbox.put(None)
            raise EOFError
        return message

    def cancel(self, target: str) -> None:
        """Asks it to end the command ``target`` for good."""
        self._write(Cancel(new_id(), target))

    def leave(self) -> None:
        """Asks it to end and to leave the round so that another can go on with it."""
        assert self._popen.stdin is not None
        with suppress(OSError):
            self._popen.stdin.close()

    def wait(self, seconds: float | None = None) -> Ended | None:
        """How it ended; None where it still runs after ``seconds``."""
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        for reader in self._readers:
            reader.join(1.0)
        lines = self._words.decode("utf-8", "replace").strip().splitlines()
        return Ended(code, lines[-1].strip()[:300] if lines else "")

    def _write(self, message: Message) -> None:
        assert self._popen.stdin is not None
        with suppress(OSError, ValueError):  # it is gone, as the end of its output says too, or it was left
            self._popen.stdin.write(encode(message))
            self._popen.stdin.flush()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        splitter = LineSplitter()
        with self._popen.stdout as pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                for line in splitter.feed(data):
                    message = decode(line)
                    if message is not None:
                        self._inbox.put(message)
        self._inbox.put(None)

    def _pass_on(self) -> None:
        """To the log; the last lines are kept, as they say why it died."""
        assert self._popen.stderr is not None
        with self._popen.stderr as pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                self._words = (self._words + data)[-_LAST_LINES:]
                sys.stderr.write(data.decode("utf-8", "replace"))
                sys.stderr.flush()


def _modest_environment() -> dict[str, str]:
    """The environment of this process, with one processor left to the person, and threads that do not spin."""
    threads = str(max(1, _processors() - 1))
    return {"OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE", **os.environ}


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
