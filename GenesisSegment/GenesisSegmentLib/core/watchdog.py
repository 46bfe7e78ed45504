"""Notices that a process has fallen silent, and tells one that is stuck from one that is too busy to speak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_STEP_S = 1.0
"""Time between two calls that counts as silence of the worker: while this side slept, nobody listened."""
_WORKING_SHARE = 0.1
"""Of one processor: a process that waits for something that does not come uses next to nothing."""


@dataclass(frozen=True)
class Limits:
    """Seconds: until the first word of a new process, of silence, and from a cancel to the kill; one pump's work.

    A long call of a native library may keep the worker's heartbeat from being sent. One that is silent but uses the
    processor gets ``busy`` seconds instead of ``silence``, and so does every one where the system does not say what it
    uses (elsewhere than on Linux): its progress stands still meanwhile, and it can be cancelled at any time.

    A person who cancels waits less than a second, whatever the worker does: ``cancel`` and one interval between two
    pumps together stay below that. A worker that obeys does so within a quarter of a second. One that is killed takes
    its warm models with it: the next run imports the libraries and opens the model again, which takes seconds.
    """

    start: float = 60.0
    silence: float = 30.0
    busy: float = 300.0
    cancel: float = 0.7
    pump: float = 0.005


class Watchdog:
    """Watches one process at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.renew()

    def renew(self) -> None:
        """There is a new process, which has not spoken yet."""
        self.has_spoken, self._silence = False, 0.0
        self._sample: tuple[float, float | None] | None = None

    def hear(self) -> None:
        """The process has said something."""
        self.has_spoken, self._silence, self._sample = True, 0.0, None

    def is_stuck(self, seconds: float, cpu_seconds: Callable[[], float | None]) -> bool:
        """Whether to give the process up, ``seconds`` after the last call; ``cpu_seconds`` says what it has used."""
        self._silence += min(seconds, _LONGEST_STEP_S)
        if not self.has_spoken:
            return self._silence >= self._limits.start
        interval = self._limits.silence / 2
        if self._silence < interval:
            return False
        if self._sample is None:
            self._sample = self._silence, cpu_seconds()
        since, before = self._sample
        if self._silence - since < interval:
            return False
        self._sample = self._silence, cpu_seconds()
        after = self._sample[1]
        is_idle = None not in (before, after) and after - before < _WORKING_SHARE * interval  # type: ignore[operator]
        return is_idle or self._silence >= self._limits.busy
