"""Zip archives that say what they hold in a JSON document, whose SHA-256 is the comment of the archive."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import Any


class SealError(ValueError):
    """The document is not the one that was written."""


def seal(archive: zipfile.ZipFile, name: str, document: dict[str, Any]) -> None:
    """Writes the document as the member ``name``; to be called last."""
    content = json.dumps(document, indent=1, allow_nan=False).encode("utf-8")
    info = zipfile.ZipInfo(name)
    archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    archive.comment = hashlib.sha256(content).hexdigest().encode("ascii")


def sealed(archive: zipfile.ZipFile, name: str, most_bytes: int) -> dict[str, Any]:
    """The document of an archive; one of more than ``most_bytes`` is not unpacked.

    Raises:
        SealError: it is too large, was changed, or is no JSON object.
        KeyError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error: the archive is damaged.
    """
    if archive.getinfo(name).file_size > most_bytes:
        raise SealError(f"{name} is too large")
    content = archive.read(name)
    if hashlib.sha256(content).hexdigest().encode("ascii") != archive.comment:
        raise SealError(f"{name} has another checksum")
    document = json.loads(content)
    if not isinstance(document, dict):
        raise SealError(f"{name} is no object")
    return document
