"""What is killed: accepting, keeping, both at once, and switching between model versions."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from GenesisSegmentLib.core.errors import GenesisError, ModelError
from GenesisSegmentLib.engine.learning.versions import Version
from version_builders import a_version, fill

from .kills import Child, Kill
from .world import World, problems

Prepared = Callable[[], None]
"""Work that is ready to be killed."""


@dataclass(frozen=True)
class Scenario:
    """``prepare`` brings a world to where the killed work begins and returns that work; ``check`` says what is wrong
    after a kill, and after all was done to the end."""

    name: str
    prepare: Callable[[World, random.Random], Prepared]
    check: Callable[[World], Iterator[str]]
    others: Callable[[World], tuple[Prepared, ...]] = lambda world: ()
    """Work that goes on in other processes at the same time, and is not killed."""


def _prepare_accept(world: World, chance: random.Random) -> Prepared:
    numbers = world.next_numbers(2)
    return lambda: world.accept(numbers)


def _prepare_ingest(world: World, chance: random.Random) -> Prepared:
    unharmed(world, lambda: world.accept(world.next_numbers(2)))
    return world.ingest


def _prepare_writers(world: World, chance: random.Random) -> Prepared:
    unharmed(world, lambda: world.accept(world.next_numbers(2)))
    return world.ingest


def _other_writers(world: World) -> tuple[Prepared, ...]:
    numbers = world.next_numbers(1)
    return world.ingest, lambda: world.accept(numbers)


def check_cases(world: World) -> Iterator[str]:
    """Right after the kill, and after everything was taken into the store."""
    yield from problems(world, is_ingested=False)
    unharmed(world, world.ingest)
    yield from problems(world, is_ingested=True)
    left = [path.name for path in world.outbox.folder.glob("*") if not path.name.startswith(".writing-genesis-")]
    if left:
        yield f"left in the outbox: {left}"


# --- Versions ---------------------------------------------------------------------------------------------------------


def _prepare_versions(world: World, chance: random.Random) -> Prepared:
    seed = chance.randrange(2**32)
    return lambda: _change_versions(world, random.Random(seed))


def _change_versions(world: World, chance: random.Random) -> None:
    """Four changes; what may be current after each stands in the ledger before it is made."""
    store = world.versions
    for _change in range(4):
        names = [v.name for v in store.versions() if v.is_offered]
        before = _current(world)
        kind = chance.choice(("add", "add", "use", "rollback")) if names else "add"
        if kind == "add":
            state = chance.choice(("promoted", "unproven", "rejected"))
            content = chance.randbytes(chance.randint(1000, 50_000))
            world.note("may be current", [before])
            added = store.add(_version(content, state), fill(content))
            if state == "promoted":
                world.note("may be current", [before, added.name])
                store.promote(added.name, f"round-{added.name}", before)
        elif kind == "use":
            name = chance.choice(names)
            world.note("may be current", [before, name])
            store.use(name)
        else:
            use = json.loads((store.folder / "current.json").read_text()) if before else {"before": []}
            world.note("may be current", [before, *use["before"]])
            try:
                store.rollback()
            except ModelError as error:
                if "go back to" not in error.what:
                    raise


def check_versions(world: World) -> Iterator[str]:
    """The current version is one that it may be, opens, and is whole; so is every other."""
    store = world.versions
    try:
        name = _current(world)
        allowed = world.noted("may be current")
        if allowed and name not in allowed[-1]:
            yield f'"{name}" is current, where {allowed[-1]} was expected'
        for version in store.versions():
            store.resolve(version.name)
        unharmed(world, lambda: _change_versions(world, random.Random(len(allowed))))
    except GenesisError as error:
        yield f"{type(error).__name__}: {error}"
        return
    left = [path.name for path in store.folder.glob(".writing-genesis-*")]
    if left:
        yield f"left among the versions: {left}"


def _current(world: World) -> str:
    version = world.versions.current()
    return version.name if version is not None else ""


def _version(content: bytes, state: str) -> Version:
    return a_version(content, title="made", state=state, round=hashlib.sha256(content).hexdigest())


SCENARIOS = (
    Scenario("accept", _prepare_accept, check_cases),
    Scenario("ingest", _prepare_ingest, check_cases),
    Scenario("two writers", _prepare_writers, check_cases, _other_writers),
    Scenario("promote, use, go back", _prepare_versions, check_versions),
)


def unharmed(world: World, work: Prepared) -> None:
    """Does something in a process of its own, so that this one stays fit to be copied.

    Raises:
        AssertionError: it fails.
    """
    outcome = Child(work, world.log).wait()
    if outcome.code != 0:
        raise AssertionError(outcome.words)


def killed(scenario: Scenario, world: World, kill: Kill, chance: random.Random) -> tuple[bool, list[str]]:
    """One run: whether the kill came before the end of the work, and what is wrong then."""
    work = scenario.prepare(world, chance)
    others = [Child(other, replace_suffix(world.log, n)) for n, other in enumerate(scenario.others(world))]
    victim = Child(work, world.log, kill).wait()
    found = [] if victim.is_killed or victim.code == 0 else [f"failed by itself: {victim.words}"]
    for other in others:
        outcome = other.wait()
        if outcome.code != 0:
            found.append(f"another process failed: {outcome.words}")
    try:
        found += scenario.check(world)
    except AssertionError as error:
        found.append(f"cannot go on after it: {error}")
    return victim.is_killed, found


def replace_suffix(log: Path, number: int) -> Path:
    """A log for another process."""
    return log.with_suffix(f".{number}.txt")
