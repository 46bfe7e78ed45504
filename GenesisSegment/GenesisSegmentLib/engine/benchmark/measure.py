"""Time and memory: two ways raced against each other in one process, and peak memory in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ...core.errors import GenesisError
from .figures import Figure
from .setting import Setting

P = TypeVar("P")
Q = TypeVar("Q")
MIB = 1024**2


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of all processors together."""

    wall: float
    cpu: float


@dataclass(frozen=True, eq=False)
class Race(Generic[P, Q]):
    """The least cost of both ways, and their last results."""

    plain: Cost
    ours: Cost
    plain_result: P
    our_result: Q

    def figures(
        self, metric: str, agreement: float | None, least: float, note: str = "", target: float | None = None
    ) -> list[Figure]:
        """Two rows: processor seconds, which other work on the machine disturbs less, and seconds on the clock.

        The ``target`` is one of processor seconds.
        """
        rows = (("CPU s", self.plain.cpu, self.ours.cpu, target), ("wall s", self.plain.wall, self.ours.wall, None))
        return [
            Figure(metric, plain, ours, unit, plain / ours, agreement, note, least, asked)
            for unit, plain, ours, asked in rows
        ]


def race(plain: Callable[[], P], ours: Callable[[], Q], rounds: int, check: Callable[[], None]) -> Race[P, Q]:
    """Runs both in turn, A-B-A-B, so that a change of the machine's load hits both; the least cost of each counts."""
    plain_costs, our_costs = [], []
    for _ in range(rounds):
        plain_cost, plain_result = timed(plain, check)
        our_cost, our_result = timed(ours, check)
        plain_costs.append(plain_cost)
        our_costs.append(our_cost)
    return Race(_least(plain_costs), _least(our_costs), plain_result, our_result)


def in_turn(
    ways: Sequence[Callable[[], object]], rounds: int, check: Callable[[], None], is_warmed: bool = True
) -> list[Cost]:
    """The least cost of each of several ways, run in turn, A-B-C-A-B-C, after one run of each that does not count."""
    for way in ways if is_warmed else ways[:1]:
        check()
        way()
    costs: list[list[Cost]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, found in zip(ways, costs, strict=True):
            found.append(timed(way, check)[0])
    return [_least(found) for found in costs]


def timed(way: Callable[[], P], check: Callable[[], None]) -> tuple[Cost, P]:
    """What one run costs, and its result; ``check`` is called before and may raise to stop."""
    check()
    wall, cpu = time.perf_counter(), time.process_time()
    result = way()
    return Cost(max(time.perf_counter() - wall, 1e-6), max(time.process_time() - cpu, 1e-6)), result


def _least(costs: list[Cost]) -> Cost:
    return Cost(min(c.wall for c in costs), min(c.cpu for c in costs))


def peak_of(task: str, setting: Setting) -> float:
    """MB that a task of :mod:`.child` takes beyond what its process held before, in a process of its own.

    Raises:
        GenesisError: the process failed.
    """
    return run_child(task, setting)["peak_bytes"] / MIB


def run_child(task: str, setting: Setting) -> dict[str, float]:
    """What a process of its own tells of a task of :mod:`.child`: bytes at its peak, and what the task measured.

    Raises:
        GenesisError: the process failed.
    """
    library = Path(__file__).resolve().parents[3]
    path = os.pathsep.join(filter(None, (str(library), os.environ.get("PYTHONPATH"))))
    arguments = json.dumps({**asdict(setting), "ct": str(setting.ct) if setting.ct else None})
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.child", task, arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise GenesisError(f"The memory of {task} could not be measured: {lines[-1]}", "Run the benchmark again.")
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def memory_figure(
    metric: str, tasks: tuple[str, str], setting: Setting, check: Callable[[], None], target: float | None = None
) -> Figure:
    """Peak memory of the plain and of our task."""
    found = []
    for task in tasks:
        check()
        found.append(max(peak_of(task, setting), 0.1))
    return Figure(
        metric, found[0], found[1], "MB", found[0] / found[1], None, "peak beyond the idle process", target=target
    )
