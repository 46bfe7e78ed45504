"""Headers in text (NRRD and MetaImage) and the data files that they name."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.errors import InputError
from ...core.i18n import _
from .refusals import damaged

_HEADER_LIMIT = 1 << 20
_DETACHED = (".nrrd", ".nhdr", ".mha", ".mhd")


def header_text(path: Path) -> str:
    """The beginning of a file, one character per byte."""
    with path.open("rb") as stream:
        return stream.read(_HEADER_LIMIT).decode("latin-1")


def nrrd_fields(text: str) -> tuple[dict[str, str], int]:
    """The fields of a NRRD header by name in lower case, and where the data of the same file begin."""
    end = re.search(r"\r?\n\r?\n", text)
    header = text[: end.start()] if end else text
    fields = re.findall(r"^([^:#\r\n]+): *(.*?)\r?$", header, re.MULTILINE)
    return {name.strip().lower(): value for name, value in fields}, end.end() if end else len(text)


def metaimage_fields(text: str) -> tuple[dict[str, str], int]:
    """The fields of a MetaImage header, and where the data of the same file begin; none without a data file."""
    match = re.search(r"^ElementDataFile[ \t]*=[ \t]*(.*?)[ \t\r]*$", text, re.MULTILINE)
    if match is None:
        return {}, len(text)
    fields = re.findall(r"^(\w+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", text[: match.end()], re.MULTILINE)
    return dict(fields), match.end() + 1


def data_files(path: Path, text: str) -> tuple[Path, ...]:
    """The data files that a NRRD or MetaImage header names; none where the data follow the header.

    Raises:
        InputError: the header names them in a way that makes no sense.
    """
    if text.startswith("NRRD"):
        fields, end = nrrd_fields(text)
        named, below = fields.get("data file", fields.get("datafile", "")).strip(), text[:end].splitlines()
        below = below[1 + next((n for n, line in enumerate(below) if line.lower().startswith("data")), 0) :]
    else:
        fields, end = metaimage_fields(text)
        named, below = fields.get("ElementDataFile", "LOCAL"), text[end:].splitlines()
        named = "" if named.upper() == "LOCAL" else named
    if not named:
        return ()
    if named.split()[0] == "LIST":
        names = [line.strip() for line in below if line.strip()]
    elif "%" in named:
        names = _expanded(named, path)
    else:
        names = [named]
    return tuple(path.parent / name for name in names)


def files_of(path: Path) -> tuple[Path, ...]:
    """A volume file and the data files that belong to it.

    Raises:
        InputError: see :func:`data_files`.
        OSError: it cannot be read.
    """
    if path.suffix.lower() not in _DETACHED:
        return (path,)
    return (path, *data_files(path, header_text(path)))


def check_there(path: Path, files: tuple[Path, ...]) -> None:
    """Refuse a header whose data files are missing.

    Raises:
        InputError: names the first of them.
    """
    for file in files:
        if not file.is_file():
            raise InputError(
                _("{file} belongs to a data file that is missing: {name}.").format(file=path.name, name=file.name),
                _("Put both in one folder."),
            )


def _expanded(named: str, path: Path) -> list[str]:
    """The names that a pattern such as ``slice%03d.raw 1 20 1`` stands for."""
    pattern, *numbers = named.split()
    try:
        first, last, step = (*map(int, numbers[:2]), int(numbers[2]) if len(numbers) > 2 else 1)
        return [pattern % n for n in range(first, last + (1 if step > 0 else -1), step)]
    except (ValueError, TypeError) as error:
        raise damaged(path, _("its header names the data files as {names}").format(names=repr(named))) from error
