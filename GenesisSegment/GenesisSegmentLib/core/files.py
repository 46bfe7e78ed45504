"""Files that are either whole or absent: written to a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from .errors import OutputError
from .i18n import _
from .leftovers import new_folder, release, sweep

_BLOCK_BYTES = 1024 * 1024
_unfinished: set[Path] = set()


def safe_name(text: str, otherwise: str) -> str:
    """A file name that every system takes, made of a name; Windows keeps some for devices, whatever follows a dot."""
    name = re.sub(r"[^\w.()+-]+", "_", text).strip("._") or otherwise
    return f"_{name}" if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name) else name


def _cause(error: OSError) -> tuple[str, str]:
    """Why a file could not be written, and what to do."""
    another, permitted = _("Choose another target."), _("Choose a folder that you may write to.")
    room, folder = _("Free some space or choose another folder."), _("Choose another folder.")
    causes = {
        errno.ENOSPC: (_("the disk is full"), room),
        errno.EDQUOT: (_("the disk quota is used up"), room),
        errno.EFBIG: (_("the file would be larger than this disk or account allows"), folder),
        errno.EROFS: (_("the target is read-only"), permitted),
        errno.EACCES: (_("you have no permission to write there"), permitted),
        errno.EPERM: (_("you have no permission to write there"), permitted),
        errno.ENOENT: (_("this folder takes no new files, or it is gone"), folder),
        errno.ENAMETOOLONG: (_("the name is too long"), _("Choose a shorter one.")),
        errno.ENOTDIR: (_("a part of the path is a file, not a folder"), another),
        errno.EEXIST: (_("a part of the path is a file, not a folder"), another),
        errno.EISDIR: (_("the target is a folder"), another),
    }
    return causes.get(error.errno or 0, (error.strerror or str(error), another))


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turns operating system errors while writing ``target`` into one that says why and what to do."""
    try:
        yield
    except OSError as error:
        cause, remedy = _cause(error)
        what = _("{target} could not be written: {cause}.").format(target=target, cause=cause)
        raise OutputError(what, remedy) from error


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``target`` with its suffixes; on success it becomes ``target``, else it goes.

    Raises:
        OutputError: disk full, read-only or not permitted; the previous ``target``, if any, is untouched.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _temporary_folder(target.parent) as folder:
            temporary = folder / target.name
            yield temporary
            fsync(temporary)
            temporary.replace(target)
            fsync_folder(target.parent)


@contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder on the disk of the folder ``target``; it goes at the end, whatever happened.

    It lies inside ``target`` where that exists, else beside it.

    Raises:
        OutputError: disk full, read-only or not permitted.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)  # where it would lie if its writer was killed while ``target`` did not exist yet
        with _temporary_folder(target if target.is_dir() else target.parent) as folder:
            yield folder


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder as :func:`work_folder`; on success its files move into ``target``, which may exist.

    Files of the same name are replaced, one by one and each whole; other files in ``target`` stay.

    Raises:
        OutputError: disk full, read-only or not permitted.
    """
    with work_folder(target) as folder:
        yield folder
        files = sorted(p for p in folder.rglob("*") if p.is_file())
        for path in files:
            fsync(path)
        target.mkdir(exist_ok=True)
        for path in files:
            final = target / path.relative_to(folder)
            final.parent.mkdir(parents=True, exist_ok=True)
            path.replace(final)
        fsync_folder(target)


def move_new(folder: Path, target: Path, stem: str) -> tuple[Path, ...]:
    """Moves what a :func:`work_folder` holds into its ``target``, all or nothing; nothing there is replaced.

    Where one of the names is taken, all get the same number behind ``stem``, with which each of them begins. A folder
    moves as a whole, so that it never mixes with another.

    Returns:
        The files, also those in folders.

    Raises:
        OSError: it cannot be done.
    """
    target.mkdir(exist_ok=True)
    entries = sorted(folder.iterdir())
    renamed = ([target / (new + entry.name.removeprefix(stem)) for entry in entries] for new in numbered(stem))
    places = next(places for places in renamed if not any(os.path.lexists(place) for place in places))
    moved: list[Path] = []
    try:
        for entry, place in zip(entries, places, strict=True):
            moved.append(entry.rename(place))
        fsync_folder(target)
    except OSError:
        for entry, place in zip(entries, moved, strict=False):
            place.rename(entry)
        raise
    return tuple(file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*"))))


def numbered(stem: str) -> Iterator[str]:
    """``stem``, then that with 2, 3, ... behind it, without end."""
    yield stem
    yield from (f"{stem}_{number}" for number in count(2))


def private_folder(folder: Path) -> None:
    """Makes a folder, and those above it, for this person alone, on disk when this returns; one that is there stays.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        private_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    fsync_folder(folder.parent)


def discard_unfinished() -> None:
    """Deletes what writers of this process have begun: for a process that must end without unwinding them."""
    for folder in tuple(_unfinished):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _temporary_folder(place: Path) -> Iterator[Path]:
    sweep(place)
    folder, lock = new_folder(place)
    _unfinished.add(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)
        release(lock)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """Waits until the content of a file is on disk."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def fsync_folder(path: Path) -> None:
    """Waits until the names in a folder are on disk, where the system can do that (not on Windows)."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
