"""Compressed voxels, unpacked in full: checksum and size are compared before anybody sees a value."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ...core.i18n import _
from .refusals import damaged, truncated

CHUNK = 1 << 22
LARGEST_RATIO = {"gzip": 1040, "zlib": 1040, "bzip2": 1 << 21}
"""What compression can gain at most: deflate 1032:1, bzip2 a block of 900 kB from some 40 bytes."""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns what the unpackers raise into errors that name the file."""
    try:
        yield
    except EOFError as error:
        raise truncated(path) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, _("its compressed content cannot be unpacked")) from error
    except OSError as error:
        if error.errno is None:  # bz2, and gzip's checksum in some versions
            raise damaged(path, _("its compressed content cannot be unpacked")) from error
        raise


def fill(raw: np.ndarray, stream: BinaryIO, path: Path) -> None:
    """Reads ``raw`` (bytes, 1-D) full from ``stream``.

    Raises:
        InputError: the stream ends too early.
    """
    filled = 0
    while filled < raw.size:
        chunk = stream.read(min(CHUNK, raw.size - filled))
        if not chunk:
            raise truncated(path)
        raw[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)


def skip(stream: BinaryIO, count: int, path: Path) -> None:
    """Passes over ``count`` bytes.

    Raises:
        InputError: the stream ends too early.
    """
    while count > 0:
        passed = len(stream.read(min(count, CHUNK)))
        if not passed:
            raise truncated(path)
        count -= passed


def check_end(stream: BinaryIO, path: Path) -> None:
    """Refuse a packed stream that goes on; only its end tells whether the checksum of all before is right.

    Raises:
        InputError: there is more than the header states, so either of them is damaged.
    """
    if stream.read(1):
        raise damaged(path, _("it holds more than its header states"))


def unpack(path: Path, start: int, kind: str, byte_skip: int, raw: np.ndarray) -> None:
    """Fills ``raw`` (bytes, 1-D) from a gzip or bzip2 stream that begins at byte ``start`` of a file.

    Raises:
        InputError: it is damaged, or holds another number of bytes.
    """
    with path.open("rb") as file, damage_named(path):
        file.seek(start)
        stream = bz2.BZ2File(file) if kind == "bzip2" else gzip.GzipFile(fileobj=file)
        skip(stream, byte_skip, path)  # type: ignore[arg-type]
        fill(raw, stream, path)  # type: ignore[arg-type]
        check_end(stream, path)  # type: ignore[arg-type]
