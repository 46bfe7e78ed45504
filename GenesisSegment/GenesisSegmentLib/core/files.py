"""Files that are either whole or absent: written to a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError
from .leftovers import new_folder, release, sweep

_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space or choose another folder."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or choose another folder."),
    errno.EFBIG: ("the file would be larger than this disk or account allows", "Choose another folder."),
    errno.EROFS: ("the target is read-only", "Choose a folder that you may write to."),
    errno.EACCES: ("you have no permission to write there", "Choose a folder that you may write to."),
    errno.EPERM: ("you have no permission to write there", "Choose a folder that you may write to."),
    errno.ENOENT: ("this folder takes no new files, or it is gone", "Choose another folder."),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter one."),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Choose another target."),
    errno.EEXIST: ("a part of the path is a file, not a folder", "Choose another target."),
    errno.EISDIR: ("the target is a folder", "Choose another target."),
}
_BLOCK_BYTES = 1024 * 1024
_unfinished: set[Path] = set()


def safe_name(text: str, otherwise: str) -> str:
    """A file name that every system takes, made of a name; Windows keeps some for devices, whatever follows a dot."""
    name = re.sub(r"[^\w.()+-]+", "_", text).strip("._") or otherwise
    return f"_{name}" if re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name) else name


@contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turns operating system errors while writing ``target`` into one that says why and what to do."""
    try:
        yield
    except OSError as error:
        cause, remedy = _CAUSES.get(error.errno or 0, (error.strerror or str(error), "Choose another target."))
        raise OutputError(f"{target} could not be written: {cause}.", remedy) from error


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
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder; on success its files move into ``target``, which may exist.

    Files of the same name are replaced, one by one and each whole; other files in ``target`` stay. The temporary
    folder lies inside ``target`` where that exists, else beside it, so that both are on one disk.

    Raises:
        OutputError: disk full, read-only or not permitted.
    """
    with output_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)  # where it would lie if its writer was killed while ``target`` did not exist yet
        with _temporary_folder(target if target.is_dir() else target.parent) as folder:
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
