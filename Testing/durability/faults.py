"""Disks that are full or read-only: what was accepted before is safe, and what cannot be kept is refused with a reason.

Full and read-only disks are small file systems of their own, which root may mount on Linux. Everywhere else a limit on
the size of files, and folders without permission to write, stand for them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from GenesisSegmentLib.core.errors import OutputError

from .kills import Child
from .world import World, acceptance, problems

_DISK_MIB = 4
_LARGEST_FILE = 1024


class UnavailableError(Exception):
    """This machine cannot have the fault."""


def fault_runs(folder: Path) -> Iterator[tuple[str, list[str] | None]]:
    """The name of each fault with what went wrong; None where this machine cannot have it."""
    for name, fault in FAULTS.items():
        world = World(folder / name.replace(", ", "-").replace(" ", "-"))
        world.folder.mkdir(parents=True)
        try:
            yield name, list(fault(world))
        except UnavailableError:
            yield name, None


def _accept_too_large(world: World) -> Iterator[str]:
    _run(world, lambda: world.accept(range(2)))
    yield from _refused(world, lambda: world.accept(range(2, 3)), _limit_files)
    yield from _sound(world)


def _ingest_too_large(world: World) -> Iterator[str]:
    _run(world, lambda: world.accept(range(2)))
    yield from _refused(world, world.ingest, _limit_files)
    yield from _sound(world)


def _accept_on(spoilt: Callable[[Path], AbstractContextManager[None]], world: World) -> Iterator[str]:
    with _small_disk(world):
        _run(world, lambda: world.accept(range(2)))
        with spoilt(world.folder):
            yield from _refused(world, lambda: world.outbox.put(acceptance(2)))
        yield from _sound(world)


def _ingest_on(spoilt: Callable[[Path], AbstractContextManager[None]], world: World) -> Iterator[str]:
    with _small_disk(world):
        _run(world, lambda: _keep_one_of(world, 3))
        with spoilt(world.folder):
            yield from _refused(world, world.ingest)
        yield from _sound(world)


FAULTS: dict[str, Callable[[World], Iterator[str]]] = {
    "file too large, accept": _accept_too_large,
    "file too large, ingest": _ingest_too_large,
    "disk full, accept": lambda world: _accept_on(_filled, world),
    "disk full, ingest": lambda world: _ingest_on(_filled, world),
    "disk read-only, accept": lambda world: _accept_on(_read_only, world),
    "disk read-only, ingest": lambda world: _ingest_on(_read_only, world),
}


def _keep_one_of(world: World, count: int) -> None:
    """One acceptance in the store, the others in the outbox."""
    world.accept(range(1))
    world.ingest()
    world.accept(range(1, count))


def _refused(world: World, work: Callable[[], object], before: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Wrong unless the work ends in an error that says why."""

    def refused() -> None:
        before()
        try:
            work()
        except OutputError as error:
            if not error.remedy:
                raise AssertionError(f"no remedy: {error}") from error
        else:
            raise AssertionError("it was not refused")

    outcome = Child(refused, world.folder.with_suffix(".txt")).wait()
    if outcome.code != 0:
        yield f"not refused as it should be: {outcome.words}"


def _sound(world: World) -> Iterator[str]:
    """Wrong unless all that was accepted before is there, and the next one is accepted and kept."""
    yield from problems(world, is_ingested=False)
    _run(world, lambda: (world.accept(world.next_numbers(1)), world.ingest()))
    yield from problems(world, is_ingested=True)


def _run(world: World, work: Callable[[], object]) -> None:
    outcome = Child(work, world.folder.with_suffix(".txt")).wait()
    if outcome.code != 0:
        raise AssertionError(outcome.words)


def _limit_files() -> None:
    """As a quota does; Python ignores the signal that comes with it."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))


@contextmanager
def _small_disk(world: World) -> Iterator[None]:
    """The world's folder is a disk of its own.

    Raises:
        UnavailableError: mounting is not permitted, or the system is none that has this.
    """
    folder = str(world.folder)
    if not _succeeds("mount", "-t", "tmpfs", "-o", f"size={_DISK_MIB}m", "tmpfs", folder):
        raise UnavailableError
    try:
        yield
    finally:
        _succeeds("umount", folder)


@contextmanager
def _filled(folder: Path) -> Iterator[None]:
    """There is not one free byte on the disk."""
    ballast = folder / "ballast"
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    size = 1 << 20
    while size:
        try:
            os.write(handle, bytes(size))
        except OSError:
            size //= 2
    os.close(handle)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    if not _succeeds("mount", "-o", "remount,ro", str(folder)):
        raise UnavailableError
    try:
        yield
    finally:
        _succeeds("mount", "-o", "remount,rw", str(folder))


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
