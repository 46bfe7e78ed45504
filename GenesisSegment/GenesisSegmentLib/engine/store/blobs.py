"""Files named after the SHA-256 of what they hold: the same content is kept once, and damage never goes unseen.

``ab/ab12....z`` is the content, deflated. It is written to a temporary name, flushed to disk, renamed, and its folder
flushed. Reading always compares the hash of the whole content with the name.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ...core.errors import InputError
from ...core.files import atomic_file, output_errors, private_folder
from ...core.i18n import _
from ...core.leftovers import TEMPORARY_PREFIX, sweep
from .voxels import Content

_SUFFIX = ".z"
_NAME = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 20
_LEVEL = 1
"""Higher levels take CTs three times as long and save a few per cent."""


class BlobStore:
    """The blobs in ``folder``, which is made when the first one is put in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where the blob of this name lies, if it is there."""
        return self._folder / name[:2] / f"{name}{_SUFFIX}"

    def has(self, name: str) -> bool:
        """Whether there is a file for it, damaged or not."""
        return self.path(name).is_file()

    def put(self, content: Content) -> str:
        """Keeps content; its name. What is there already and whole is not written again; what is damaged is mended.

        Raises:
            OutputError: disk full, read-only or not permitted; nothing half-written is left.
        """
        digest = hashlib.sha256(content.header)
        digest.update(content.payload)
        name = digest.hexdigest()
        if self.has(name) and self.is_sound(name):
            return name
        with self._new(name) as temporary, temporary.open("wb") as stream:
            compressor = zlib.compressobj(_LEVEL)
            stream.write(compressor.compress(content.header))
            for start in range(0, len(content.payload), _BLOCK):
                stream.write(compressor.compress(content.payload[start : start + _BLOCK]))
            stream.write(compressor.flush())
        return name

    def adopt(self, name: str, compressed: IO[bytes]) -> None:
        """Keeps a blob as another store had it.

        Raises:
            InputError: it does not hold what its name says.
            OutputError: disk full, read-only or not permitted.
        """
        with self._new(name) as temporary:
            with temporary.open("wb") as stream:
                shutil.copyfileobj(compressed, stream, _BLOCK)
            if not _holds(temporary, name):
                raise _damaged(self.path(name))

    def read(self, name: str) -> bytes:
        """The content of a blob.

        Raises:
            InputError: it is missing or damaged.
        """
        try:
            content = b"".join(_blocks(self.path(name)))
        except FileNotFoundError as error:
            raise InputError(
                _("The case store lacks the file {path}.").format(path=self.path(name)), _mend()
            ) from error
        except (OSError, zlib.error, EOFError) as error:
            raise _damaged(self.path(name)) from error
        if hashlib.sha256(content).hexdigest() != name:
            raise _damaged(self.path(name))
        return content

    def is_sound(self, name: str) -> bool:
        """Whether a blob can be read and holds what its name says."""
        return _holds(self.path(name), name)

    def remove(self, name: str) -> None:
        """Deletes a blob; nothing happens where it is gone.

        Raises:
            OutputError: not permitted.
        """
        with output_errors(self.path(name)):
            self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """The names of all blobs that there are files for, in order."""
        for path in self._files():
            if self._is_blob(path):
                yield path.name.removesuffix(_SUFFIX)

    def foreign(self) -> Iterator[Path]:
        """Files that are none of ours, relative to the folder; what killed writers left is cleared away first."""
        for folder in sorted(self._folder.glob("*/")):
            sweep(folder)
        for path in self._files():
            parts = path.relative_to(self._folder).parts
            if not self._is_blob(path) and not any(part.startswith(TEMPORARY_PREFIX) for part in parts):
                yield path.relative_to(self._folder)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.rglob("*") if not path.is_dir())

    def _is_blob(self, path: Path) -> bool:
        name = path.name.removesuffix(_SUFFIX)
        return bool(_NAME.fullmatch(name)) and path == self.path(name)

    @contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """Yields a temporary path for a blob, which becomes it on success."""
        path = self.path(name)
        with output_errors(path):
            private_folder(path.parent)
        with atomic_file(path) as temporary:
            yield temporary


def _mend() -> str:
    return _("Run `genesis-segment cases verify` to see what is affected, and bring the file back from a backup.")


def _damaged(path: Path) -> InputError:
    return InputError(_("The file {path} of the case store is damaged.").format(path=path), _mend())


def _holds(path: Path, name: str) -> bool:
    digest = hashlib.sha256()
    try:
        for block in _blocks(path):
            digest.update(block)
    except (OSError, zlib.error, EOFError):
        return False
    return digest.hexdigest() == name


def _blocks(path: Path) -> Iterator[bytes]:
    """The content of a file in pieces.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        zlib.error: it is damaged.
        EOFError: it is too short or too long.
    """
    decompressor = zlib.decompressobj()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if decompressor.eof:
                raise EOFError("something follows the end")
            yield decompressor.decompress(block)
    yield decompressor.flush()
    if not decompressor.eof or decompressor.unused_data:
        raise EOFError("it does not end where it should")
