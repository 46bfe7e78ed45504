"""``python -m GenesisSegmentLib.worker.learner.training``: one round. Its supervisor starts it; see :mod:`.child`.

The first line on stdin is the command; a Cancel may follow. When stdin ends, so does this process at once: a round
that was killed can be gone on with from where it was last written down.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from ...core.files import discard_unfinished
from ...core.jobs import Job
from ...core.protocol import EXIT_DONE, Cancel, Command, Event, Message, decode
from ...core.wire import LineSplitter
from ..pipes import Outlet
from ..start import run
from .clock import RunningClock

_READ_BYTES = 1 << 16
_LOWEST = 19
_PR_SET_PDEATHSIG = 1


class Orders:
    """What the supervisor says, heard by a thread of its own."""

    def __init__(self, handle: int) -> None:
        self._handle, self._splitter = handle, LineSplitter()
        self._waiting: list[Message] = []

    def first(self) -> Command:
        """The command of this process.

        Raises:
            SystemExit: none came.
        """
        while not self._waiting:
            data = os.read(self._handle, _READ_BYTES)
            if not data:
                raise SystemExit(EXIT_DONE)
            self._waiting += [m for m in map(decode, self._splitter.feed(data)) if m is not None]
        return self._waiting.pop(0)  # type: ignore[return-value]

    def obey(self, job: Job) -> None:
        """From now on the job is cancelled, and this process ended, as the supervisor wants it."""
        threading.Thread(target=self._listen, args=(job,), name="orders", daemon=True).start()

    def _listen(self, job: Job) -> None:
        self._take(self._waiting, job)
        with suppress(OSError):
            while data := os.read(self._handle, _READ_BYTES):
                self._take([m for m in map(decode, self._splitter.feed(data)) if m is not None], job)
        discard_unfinished()
        os._exit(EXIT_DONE)

    @staticmethod
    def _take(messages: list[Message], job: Job) -> None:
        if any(isinstance(message, Cancel) for message in messages):
            job.cancel()


Learner = Callable[[Command, Job, Callable[[Event], None]], Event]
"""What a round does: (command, job, send) -> final event."""


def learn_with(learner: Learner) -> Callable[[int, Outlet], int]:
    """The work of this process, with what does the learning."""

    def work(handle: int, outlet: Outlet) -> int:
        from ..server import outcome

        orders = Orders(handle)
        command, job = orders.first(), Job(clock=RunningClock().start())
        orders.obey(job)
        event, _is_lost = outcome(learner, command, job, outlet.send, "")
        outlet.send(event)
        return EXIT_DONE

    return work


def be_modest() -> None:
    """Everybody else goes first. Called before other threads are there: on Linux, each has a priority of its own.

    It ends with its supervisor, too: one that runs notices the end of its stdin, and one that is stopped is ended by
    the system, being in a group of its own (POSIX: orphaned process groups). Linux forgets that where not all of its
    threads stand still yet, so there it is asked for a signal besides.
    """
    import psutil

    if os.name == "posix":
        os.setpgid(0, 0)
    if sys.platform == "linux":
        with suppress(OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    process = psutil.Process()
    with suppress(psutil.Error, OSError):
        process.nice(psutil.IDLE_PRIORITY_CLASS if os.name == "nt" else _LOWEST)
    if hasattr(psutil, "IOPRIO_CLASS_IDLE"):
        with suppress(psutil.Error, OSError):
            process.ionice(psutil.IOPRIO_CLASS_IDLE)


def main() -> None:
    """Runs one round; does not return."""
    be_modest()
    from .round import learned

    run(None, learn_with(learned))


if __name__ == "__main__":
    main()
