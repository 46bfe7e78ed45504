"""One row of the table, and what something costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """A figure beside its target, which it must not exceed; None where there is nothing to reach.

    ``value`` is of the unit, from processor time where it is a time: other programs on the machine hardly change it.
    ``wall_s`` is the same by the clock. ``plain`` and ``ours`` are the seconds that a ratio is made of. Without a
    value, ``note`` says why there is none.
    """

    name: str
    value: float | None
    unit: str
    target: float | None = None
    wall_s: float | None = None
    plain: float | None = None
    ours: float | None = None
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return self.target is None or (self.value is not None and self.value <= self.target)


@dataclass(frozen=True)
class Seconds:
    """By the clock, and of the processor: of all threads, and of the calling thread alone."""

    wall: float
    cpu: float
    thread: float


def timed(work: Callable[[], T]) -> tuple[T, Seconds]:
    """What the work returns, and what it cost."""
    wall, cpu, thread = time.perf_counter(), time.process_time(), time.thread_time()
    result = work()
    return result, Seconds(time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - thread)


def least(work: Callable[[], T], times: int = 3) -> tuple[T, Seconds]:
    """What the work returns, and the least that it cost: the first time it meets new memory, later other programs."""
    result, cost = timed(work)
    for _n in range(times - 1):
        del result
        result, another = timed(work)
        cost = min(cost, another, key=lambda seconds: seconds.cpu)
    return result, cost


def ratio(name: str, plain: Seconds, ours: Seconds, target: float, note: str = "") -> Row:
    """The processor time of ours as a share of the plain way's."""
    return Row(name, ours.cpu / plain.cpu, "of plain", target, ours.wall, plain.cpu, ours.cpu, note)
