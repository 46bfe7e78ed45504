"""Kills what keeps corrections, hundreds of times, and looks whether anything was lost or is half there."""

from __future__ import annotations

import gc
import platform
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .faults import fault_runs
from .kills import Length, rehearsed
from .rounds import ROUND
from .scenarios import SCENARIOS, Scenario, killed
from .world import World

ALL = {scenario.name: scenario for scenario in (*SCENARIOS, ROUND)}
SHARES = {"accept": 27, "ingest": 25, "two writers": 15, "promote, use, go back": 25, "round": 8}
"""Of the runs, in per cent."""
_RUNS_PER_WORLD = 8


@dataclass
class Tally:
    """One scenario: how often it ran, and how often the kill came before the work was done."""

    runs: int = 0
    killed: int = 0
    problems: int = 0
    lines: int = 0
    seconds: float = 0.0


@dataclass
class Proof:
    """What came out. ``faults`` says of each fault of a disk what went wrong, None where it could not be had here."""

    planned: int
    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    faults: dict[str, list[str] | None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def runs(self) -> int:
        """So far."""
        return sum(tally.runs for tally in self.tallies.values())

    def document(self) -> dict:
        """Plain types, with what they depend on."""
        return {
            **asdict(self),
            "runs": self.runs,
            "killed": sum(tally.killed for tally in self.tallies.values()),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.release()}",
            "machine": platform.machine(),
        }


def prove(folder: Path, runs: int, seed: int, only: str | None, say: Callable[[Proof], None]) -> Proof:
    """Kills ``runs`` times, spread over the scenarios, in an order that the seed decides."""
    started, chance = time.monotonic(), random.Random(seed)
    plan = [only] * runs if only else _plan(runs)
    chance.shuffle(plan)
    proof = Proof(len(plan), seed, {name: Tally() for name in dict.fromkeys(sorted(plan, key=list(ALL).index))})
    gc.freeze()  # copies of this process need not look through what it has imported
    lengths = {name: _length(ALL[name], folder / f"rehearsal-{n}") for n, name in enumerate(proof.tallies)}
    worlds: dict[str, World] = {}
    for name in plan:
        tally = proof.tallies[name]
        if tally.runs % _RUNS_PER_WORLD == 0:
            worlds[name] = _world(folder / f"{list(ALL).index(name)}-{tally.runs}")
        tally.lines, tally.seconds = lengths[name].lines, lengths[name].seconds
        kill = lengths[name].draw(chance)
        was_killed, found = killed(ALL[name], worlds[name], kill, random.Random(chance.randrange(2**32)))
        tally.runs += 1
        tally.killed += was_killed
        tally.problems += len(found)
        proof.problems += [f"{name}, run {tally.runs}, kill at {kill}: {problem}" for problem in found]
        proof.seconds = time.monotonic() - started
        say(proof)
    if not only:
        proof.faults = dict(fault_runs(folder / "faults"))
        proof.problems += [f"{name}: {problem}" for name, found in proof.faults.items() for problem in found or ()]
    proof.seconds = time.monotonic() - started
    return proof


def table(proof: Proof) -> str:
    """The figures, for people."""
    lines = [f"{'killed during':<24}{'runs':>6}{'killed':>8}{'lines':>9}{'seconds':>9}{'problems':>10}"]
    for name, t in proof.tallies.items():
        lines.append(f"{name:<24}{t.runs:>6}{t.killed:>8}{t.lines:>9}{t.seconds:>9.2f}{t.problems:>10}")
    for name, found in proof.faults.items():
        verdict = "not on this machine" if found is None else f"{len(found)} problems"
        lines.append(f"{name:<47}{verdict:>19}")
    killed_count = sum(t.killed for t in proof.tallies.values())
    lines.append(f"{proof.runs} runs, {killed_count} killed before the end, {len(proof.problems)} problems, ")
    lines[-1] += f"seed {proof.seed}, {proof.seconds:.0f} s."
    return "\n".join([*lines, *proof.problems])


def _plan(runs: int) -> list[str]:
    names = [name for name, share in SHARES.items() for _ in range(max(1, runs * share // 100))]
    while len(names) < runs:
        names.append(list(SHARES)[len(names) % len(SHARES)])
    return names


def _length(scenario: Scenario, folder: Path) -> Length:
    world = _world(folder)
    return rehearsed(lambda: scenario.prepare(world, random.Random(0)), world.log, folder / "count")


def _world(folder: Path) -> World:
    folder.mkdir(parents=True)
    return World(folder)
