"""One long job: true progress over weighted stages, time left, and cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .errors import Cancelled

Advance = Callable[[float], None]
"""Is told which share (0..1) of a piece of work is done, and may raise to stop it."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: ``fraction`` of the whole in 0..1, and seconds left where they can be told."""

    stage: str
    fraction: float
    seconds_left: float | None


class Job:
    """Collects the progress of stages whose ``weights`` say what share of the time each takes.

    ``report`` receives a :class:`Progress` at every step, on the thread that does the work. ``cancel`` may be called
    from any thread; the next ``advance`` or ``check`` then raises :class:`Cancelled`.
    """

    def __init__(
        self,
        report: Callable[[Progress], None] = lambda progress: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._clock = clock
        self._cancelled = threading.Event()
        self._on_cancel: list[Callable[[], None]] = []
        self.plan({"work": 1.0})

    def plan(self, weights: Mapping[str, float]) -> None:
        """Sets the stages, in order, with the share of the time that each is expected to take."""
        total = sum(weights.values())
        self._weights = {stage: weight / total for stage, weight in weights.items()}
        self._started = self._clock()
        self._fraction = 0.0

    def report_to(self, report: Callable[[Progress], None]) -> None:
        """Sends progress to somebody else from now on."""
        self._report = report

    def cancel(self) -> None:
        """Asks the job to stop at its next step."""
        self._cancelled.set()
        for stop in self._on_cancel:
            stop()

    def renew(self) -> None:
        """Makes a job that lives as long as a model ready for the next run, also after a cancelled one."""
        self._cancelled.clear()

    def on_cancel(self, stop: Callable[[], None]) -> None:
        """Has ``stop`` called, on the thread that cancels, when the job is cancelled: to end a call that blocks."""
        self._on_cancel.append(stop)

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds, as the job counts them: in a process that may be stopped, those during which it ran."""
        return self._clock

    @property
    def is_cancelled(self) -> bool:
        """Whether ``cancel`` was called."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Stops here if the job was cancelled.

        Raises:
            Cancelled: ``cancel`` was called.
        """
        if self.is_cancelled:
            raise Cancelled

    def advance(self, stage: str, fraction: float) -> None:
        """Reports that ``fraction`` (0..1) of ``stage`` is done; progress never runs backwards.

        Raises:
            Cancelled: ``cancel`` was called.
        """
        self.check()
        stages = list(self._weights)
        before = sum(self._weights[s] for s in stages[: stages.index(stage)])
        self._fraction = max(self._fraction, before + self._weights[stage] * min(1.0, max(0.0, fraction)))
        elapsed = self._clock() - self._started
        left = elapsed * (1 - self._fraction) / self._fraction if self._fraction > 0 else None
        self._report(Progress(stage, self._fraction, left))
