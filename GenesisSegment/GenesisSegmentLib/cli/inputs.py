"""What ``segment`` was given: one CT, or a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """The CTs to segment. ``found`` are those that were found in a folder, not named by the person."""

    paths: tuple[Path, ...]
    found: frozenset[Path]

    @property
    def is_batch(self) -> bool:
        """Whether results go into a folder, one after the other."""
        return len(self.paths) > 1 or bool(self.found)


def gather(given: Sequence[Path], out: Path) -> Inputs:
    """The inputs among the files and folders that the person named; results in the folder ``out`` are none.

    Raises:
        InputError: a path does not exist, or there is nothing in it.
    """
    from ..engine.images.reading import find_inputs

    paths: list[Path] = []
    found: set[Path] = set()
    for path in given:
        listed = find_inputs(path)
        if listed != (path,):
            if not _is_inside(path, out):
                listed = tuple(p for p in listed if not _is_inside(p, out))
            found |= {*listed}
        if not listed:
            raise InputError(f"There is nothing in {path} but results.", "Give the CTs themselves.")
        paths += listed
    unique = {path.resolve(): path for path in reversed(paths)}
    return Inputs(tuple(unique[place] for place in dict.fromkeys(path.resolve() for path in paths)), frozenset(found))


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a folder is ``folder`` or lies in it."""
    return path.is_dir() and path.resolve().is_relative_to(folder.resolve())
