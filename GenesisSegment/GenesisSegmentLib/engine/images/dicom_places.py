"""Where the files of a DICOM series may lie: in a folder tree, or around one file of it."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

NEIGHBOURS = 5000
"""So many files around a file are looked at, besides those of its own folder."""


def files_below(folder: Path, leave_out: Path | None = None) -> tuple[tuple[Path, ...], tuple[OSError, ...]]:
    """Every file in a folder and below it, a folder before the folders in it, by name; and what could not be listed.

    Hidden files and folders, DICOMDIR, and the folder ``leave_out`` are left out.

    Raises:
        OSError: the folder itself cannot be listed.
    """
    found, folders = _listed(folder)
    waiting, problems = deque(folders), []
    while waiting:
        below = waiting.popleft()
        if leave_out is not None and below.resolve() == leave_out:
            continue
        try:
            files, folders = _listed(below)
        except OSError as error:
            problems.append(error)
            continue
        found += files
        waiting.extend(folders)
    return tuple(found), tuple(problems)


def files_around(file: Path) -> tuple[tuple[Path, ...], bool]:
    """The files among which the rest of a file's series is looked for, and whether there were too many to see all.

    They are all files of its folder, then those of the folders below and of the folder above with everything below
    it, the nearest first and :data:`NEIGHBOURS` at most: exports spread one series over sister folders. Other disks,
    folders that cannot be listed, and the folder above where that is the root or the person's home are left out.
    """
    own = file.absolute().parent
    found, folders = _listed(own)
    waiting, disk = deque(folders), own.stat().st_dev
    above = own.parent
    if own not in (above, Path.home()) and above not in (above.parent, Path.home()):
        waiting.append(above)
    here = len(found)
    while waiting:
        folder = waiting.popleft()
        try:
            if folder.stat().st_dev != disk:
                continue
            files, folders = _listed(folder)
        except OSError:  # not the person's, who did not name it
            continue
        found += files
        waiting.extend(below for below in folders if below != own)
        if len(found) > here + NEIGHBOURS:
            return tuple(found[: here + NEIGHBOURS]), True
    return tuple(found), False


def _listed(folder: Path) -> tuple[list[Path], list[Path]]:
    """Files and folders in a folder, by name."""
    with os.scandir(folder) as entries:
        seen = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    files = [folder / e.name for e in seen if e.is_file() and e.name.upper() != "DICOMDIR"]
    return files, [folder / e.name for e in seen if e.is_dir(follow_symlinks=False)]
