"""The loop of a worker: a thread that reads, one long-lived thread that works, and one that says that both live.

There is one thread for all inference because cuDNN keeps its plans per thread. The learner answers while a round runs:
there, some commands have a thread of their own.
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
from ..core.i18n import _
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
    Refine,
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


_Lane = deque[_Task]
"""What is not finished; the first is being worked on."""


class Server:
    """Takes commands one after the other; those of a type in ``apart`` wait for those of the same type alone.

    ``log`` is named in errors; ``rest_s`` are seconds between two rests; ``on_end`` is called before the commands that
    run are cancelled because the process ends.
    """

    def __init__(
        self,
        outlet: Outlet,
        handler: Handler,
        log: str = "",
        rest_s: float = 20.0,
        apart: tuple[type, ...] = (),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._outlet, self._handler, self._log, self._rest_s = outlet, handler, log, rest_s
        self._on_end = on_end
        self._main: _Lane = deque()
        self._apart: dict[type, _Lane] = {kind: deque() for kind in apart}
        self._changed = threading.Condition()
        self._is_ending = False

    def serve(self, handle: int) -> int:
        """Reads commands from ``handle`` until it ends or :class:`.Shutdown` comes; returns the exit code."""
        for lane in self._lanes:
            threading.Thread(target=self._work, args=(lane,), name="work", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()
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
            self._queue(message)  # type: ignore[arg-type]
        else:
            self._outlet.send(
                Failure(message.id, "protocol", _("{name} is not a command.").format(name=message.type), "")
            )
        return True

    def _queue(self, command: Command) -> None:
        with self._changed:
            lane = self._apart.get(type(command), self._main)
            late = [task for n, task in enumerate(lane) if n and _is_outdated(task.command, command)]
            for task in late:
                lane.remove(task)
            lane.append(_Task(command, Job()))
            self._changed.notify_all()
        for task in late:
            self._outlet.send(Failure.of(task.command.id, Cancelled()))

    def _cancel(self, cancel: Cancel) -> None:
        with self._changed:  # so that a task that is cancelled cannot end, and the next one begin, meanwhile
            found = [(lane, task) for lane in self._lanes for task in lane if task.command.id == cancel.target]
            is_waiting = False
            for lane, task in found:
                task.job.cancel()
                is_waiting = task is not lane[0]
                if is_waiting:
                    lane.remove(task)
        if is_waiting:
            self._outlet.send(Failure.of(cancel.target, Cancelled()))
        self._outlet.send(Done(cancel.id))

    def _end(self) -> int:
        """Cancels everything, waits a moment for the work to stop, and tidies up."""
        self._on_end()
        with self._changed:
            self._is_ending = True
            running = [lane[0] for lane in self._lanes if lane]
            for lane in self._lanes:
                while len(lane) > 1:
                    lane.pop()
            self._changed.notify_all()
        for task in running:
            task.job.cancel()
        with self._changed:
            self._changed.wait_for(lambda: not any(self._lanes), _GRACE_S)
        discard_unfinished()
        return EXIT_DONE

    def _beat(self) -> None:
        while True:
            with self._changed:
                tasks = sorted((n, task.command.id) for lane in self._lanes for n, task in enumerate(lane))
                jobs = tuple(name for _place, name in tasks)
                state = "ending" if self._is_ending else "busy" if jobs else "idle"
            self._outlet.send(Heartbeat("", state, jobs, os.getpid()))  # type: ignore[arg-type]
            time.sleep(HEARTBEAT_SECONDS)

    def _work(self, lane: _Lane) -> None:
        try:
            while True:
                with self._changed:
                    has_task = self._changed.wait_for(lambda: bool(lane), self._rest_s)
                if has_task:
                    self._perform(lane)
                elif lane is self._main:
                    self._handler.rest()
        except BaseException:  # a fault of this loop itself: without it the process would hear but never answer
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            _exit(EXIT_FATAL)

    def _perform(self, lane: _Lane) -> None:
        task = lane[0]
        event, is_lost = outcome(self._handler.run, task.command, task.job, self._outlet.send, self._log)
        self._outlet.send(event)
        if is_lost:
            _exit(EXIT_DEVICE_LOST)
        with self._changed:
            lane.popleft()
            self._changed.notify_all()

    @property
    def _lanes(self) -> tuple[_Lane, ...]:
        return (self._main, *self._apart.values())


def _is_outdated(waiting: Command, newer: Command) -> bool:
    """Whether a command that waits need not be done any more: a preview, where the next stroke is there already."""
    return isinstance(waiting, Refine) and waiting.step == "preview" and isinstance(newer, Refine)


def outcome(
    run: Callable[[Command, Job, Callable[[Event], None]], Event],
    command: Command,
    job: Job,
    send: Callable[[Event], None],
    log: str,
) -> tuple[Event, bool]:
    """The final event of a command, whatever happens, and whether a GPU is lost to this process with it."""
    job.report_to(Reporter(command.id, send))
    try:
        return run(command, job, send), False
    except GenesisError as error:
        return Failure.of(command.id, error, log), False
    except Exception as error:  # the last line of defence: the process lives on, the person is told
        sys.excepthook(type(error), error, error.__traceback__)
        return explained(command.id, error, log), is_device_lost(error)


def _exit(code: int) -> None:
    discard_unfinished()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)
