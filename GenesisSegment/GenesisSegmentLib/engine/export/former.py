"""What lies at the place of a result already: replaced where an earlier run wrote it, else kept under another name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ...core.files import sha256_of
from ...core.i18n import _


def make_room(
    folder: Path, names: Iterable[str], stale: Iterable[str], earlier: Mapping[str, str], suffixes: Iterable[str]
) -> tuple[str, ...]:
    """Clears the places ``names`` in ``folder``, and ``stale`` ones that get no new file; says what was kept.

    A file that an earlier run wrote and nobody changed (its SHA-256 is the one in ``earlier``) may be replaced, and
    goes where it is stale, as it would pass for a result. Any other file may be somebody's work: it gets another name,
    with the one of ``suffixes`` that it has.

    Raises:
        OSError: a file cannot be renamed or deleted.
    """
    stale, notes = sorted(stale), []
    for path in (folder / name for name in (*names, *stale)):
        if not path.is_file():
            continue
        if not is_as_left(path, earlier.get(path.name)):
            other = _free_name(path, suffixes)
            path.rename(other)
            what = _("{file} was not as an earlier run had left it; it was kept as {other}.")
            notes.append(what.format(file=path.name, other=other.name))
        elif path.name in stale:
            path.unlink()
    return tuple(notes)


def is_as_left(path: Path, digest: str | None) -> bool:
    """Whether a file is there with this SHA-256."""
    try:
        return digest is not None and path.is_file() and sha256_of(path) == digest
    except OSError:  # what cannot be read is not known to be what an earlier run left
        return False


def _free_name(path: Path, suffixes: Iterable[str]) -> Path:
    suffix = next((s for s in suffixes if path.name.lower().endswith(s)), path.suffix)
    stem = path.name[: len(path.name) - len(suffix)]
    number = 1
    while (other := path.with_name(f"{stem}.kept-{number}{path.name[len(stem) :]}")).exists():
        number += 1
    return other
