"""Runs work in a child process and kills it: after so many lines of our code, or after a time.

A kill at a line comes back at the same place with the same seed; a kill after a time also hits the inside of long calls
of the system, of SQLite and of PyTorch. Both are SIGKILL: nothing is tidied up.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

TRACED = (f"{os.sep}GenesisSegmentLib{os.sep}", f"{os.sep}zipfile")
"""Parts of the paths of the code whose lines count."""
_PATIENCE_S = 300.0
_LOOK_S = 0.0005


@dataclass(frozen=True)
class Kill:
    """When to kill: at a ``line``, counted from 1, or ``after_s`` seconds; never where both are None."""

    line: int | None = None
    after_s: float | None = None

    def __str__(self) -> str:
        if self.line is not None:
            return f"line {self.line}"
        return "never" if self.after_s is None else f"{self.after_s:.4f} s"


@dataclass(frozen=True)
class Outcome:
    """How a child ended: whether it was killed, with which exit code otherwise, and the end of what it printed."""

    is_killed: bool
    code: int
    seconds: float
    words: str


@dataclass(frozen=True)
class Length:
    """How long unharmed work takes, in lines and seconds: what kills are drawn from."""

    lines: int
    seconds: float

    def draw(self, chance: random.Random) -> Kill:
        """A point in it; now and then one after its end."""
        if chance.random() < 0.6:
            return Kill(line=chance.randint(1, self.lines + 1))
        return Kill(after_s=chance.uniform(0.0, self.seconds))


class Child:
    """Starts ``work`` in a copy of this process; what it prints goes to ``log``."""

    def __init__(self, work: Callable[[], Any], log: Path, kill: Kill | None = None) -> None:
        self._kill, self._log, self._started = kill or Kill(), log, time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            _be_child(work, log, self._kill.line)

    def wait(self) -> Outcome:
        """Kills it when it is time, and waits for its end."""
        deadline = _PATIENCE_S if self._kill.after_s is None else self._kill.after_s
        while True:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            seconds = time.monotonic() - self._started
            if pid:
                break
            if seconds >= deadline:
                os.kill(self._pid, signal.SIGKILL)
                _pid, status = os.waitpid(self._pid, 0)
                break
            time.sleep(_LOOK_S)
        is_killed = os.WIFSIGNALED(status) and self._kill != Kill()
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        words = self._log.read_text(encoding="utf-8", errors="replace")[-2000:] if self._log.exists() else ""
        return Outcome(is_killed, code, seconds, words)


def rehearsed(prepare: Callable[[], Callable[[], Any]], log: Path, counter: Path) -> Length:
    """The length of work that nobody disturbs, once what is made only once is there.

    Raises:
        RuntimeError: it fails by itself.
    """

    def counted(work: Callable[[], Any]) -> None:
        counter.write_text(str(_traced(work, None)))

    for kind in ("fresh", "timed", "counted"):
        work = prepare()
        outcome = Child((lambda work=work: counted(work)) if kind == "counted" else work, log).wait()
        if outcome.code != 0:
            raise RuntimeError(f"The work fails also without a kill:\n{outcome.words}")
        if kind == "timed":
            seconds = outcome.seconds
    return Length(int(counter.read_text()), seconds)


def _be_child(work: Callable[[], Any], log: Path, line: int | None) -> None:
    """Does not return."""
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if line is None:
            work()
        else:
            _traced(work, line)
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _traced(work: Callable[[], Any], kill_at: int | None) -> int:
    """Does the work and counts the lines of our code; dies at one of them."""
    count = 0

    def at_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        return at_line if any(part in frame.f_code.co_filename for part in TRACED) else None

    sys.settrace(at_call)
    try:
        work()
    finally:
        sys.settrace(None)
    return count
