"""The loop of the worker: a thread that reads, one long-lived thread that works, and one that says that both live.

There is one thread for all inference because cuDNN keeps its plans per thread.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from ..core.errors import Cancelled, GenesisError
from ..core.files import discard_unfinished
from ..core.jobs import Job
from ..core.protocol import (
    COMMANDS,
    EXIT_DEVICE_LOST,
    EXIT_DONE,
    EXIT_FATAL,
    HEARTBEAT_SECONDS,
    Cancel,
    Command,
    Done,
    Event,
    Failure,
    Heartbeat,
    Shutdown,
    decode,
)
from ..core.wire import LineSplitter
from .faults import explained, is_device_lost
from .pipes import Outlet
from .progress import Reporter

_READ_BYTES = 1 << 16
_GRACE_S = 0.7


class Handler(Protocol):
    """Does what commands ask for."""

    def run(self, command: Command, job: Job, send: Callable[[Event], None]) -> Event:
        """The final event of ``command``; events on the way go to ``send``. Errors are raised."""

    def rest(self) -> None:
        """Is called now and then while there is nothing to do, on the thread that runs commands."""


@dataclass(frozen=True, eq=False)
class _Task:
    command: Command
    job: Job


class Server:
    """Takes commands one after the other. ``log`` is named in errors; ``rest_s`` are seconds between two rests."""

    def __init__(self, outlet: Outlet, handler: Handler, log: str = "", rest_s: float = 20.0) -> None:
        self._outlet, self._handler, self._log, self._rest_s = outlet, handler, log, rest_s
        self._tasks: deque[_Task] = deque()
        """Not finished; the first is being worked on."""
        self._changed = threading.Condition()
        self._is_ending = False

    def serve(self, handle: int) -> int:
        """Reads commands from ``handle`` until it ends or :class:`.Shutdown` comes; returns the exit code."""
        for work, name in ((self._work, "inference"), (self._beat, "heartbeat")):
            threading.Thread(target=work, name=name, daemon=True).start()
        splitter = LineSplitter()
        while data := os.read(handle, _READ_BYTES):
            for line in splitter.feed(data):
                if not self._take(line):
                    return self._end()
        return self._end()

    def _take(self, line: bytes) -> bool:
        """Whether to go on after this line."""
        message = decode(line)
        if message is None:
            if line.strip():
                print(f"Not understood: {line[:200]!r}", file=sys.stderr, flush=True)
        elif isinstance(message, Failure):
            self._outlet.send(message)
        elif isinstance(message, Cancel):
            self._cancel(message)
        elif isinstance(message, Shutdown):
            self._outlet.send(Done(message.id))
            return False
        elif message.type in COMMANDS:
            with self._changed:
                self._tasks.append(_Task(message, Job()))  # type: ignore[arg-type]
                self._changed.notify()
        else:
            self._outlet.send(Failure(message.id, "protocol", f"{message.type} is not a command.", ""))
        return True

    def _cancel(self, cancel: Cancel) -> None:
        with self._changed:  # so that a task that is cancelled cannot end, and the next one begin, meanwhile
            found = next((task for task in self._tasks if task.command.id == cancel.target), None)
            is_waiting = found is not None and found is not self._tasks[0]
            if found is not None:
                found.job.cancel()
                if is_waiting:
                    self._tasks.remove(found)
        if is_waiting:
            self._outlet.send(Failure.of(cancel.target, Cancelled()))
        self._outlet.send(Done(cancel.id))

    def _end(self) -> int:
        """Cancels everything, waits a moment for the work to stop, and tidies up."""
        with self._changed:
            self._is_ending = True
            running = self._tasks[0] if self._tasks else None
            while len(self._tasks) > 1:
                self._tasks.pop()
            self._changed.notify_all()
        if running is not None:
            running.job.cancel()
        with self._changed:
            self._changed.wait_for(lambda: not self._tasks, _GRACE_S)
        discard_unfinished()
        return EXIT_DONE

    def _beat(self) -> None:
        while True:
            with self._changed:
                jobs = tuple(task.command.id for task in self._tasks)
                state = "ending" if self._is_ending else "busy" if jobs else "idle"
            self._outlet.send(Heartbeat("", state, jobs, os.getpid()))  # type: ignore[arg-type]
            time.sleep(HEARTBEAT_SECONDS)

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    has_task = self._changed.wait_for(lambda: bool(self._tasks), self._rest_s)
                    task = self._tasks[0] if has_task else None
                if task is None:
                    self._handler.rest()
                else:
                    self._perform(task)
        except BaseException:  # a fault of this loop itself: without it the process would hear but never answer
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            _exit(EXIT_FATAL)

    def _perform(self, task: _Task) -> None:
        command, job = task.command, task.job
        job.report_to(Reporter(command.id, self._outlet.send))
        is_lost = False
        try:
            event = self._handler.run(command, job, self._outlet.send)
        except GenesisError as error:
            event = Failure.of(command.id, error, self._log)
        except Exception as error:  # the last line of defence: the process lives on, the person is told
            sys.excepthook(type(error), error, error.__traceback__)
            is_lost = is_device_lost(error)
            event = explained(command.id, error, self._log)
        self._outlet.send(event)
        if is_lost:
            _exit(EXIT_DEVICE_LOST)
        with self._changed:
            self._tasks.popleft()
            self._changed.notify_all()


def _exit(code: int) -> None:
    discard_unfinished()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)
