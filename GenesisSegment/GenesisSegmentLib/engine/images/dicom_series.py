"""A DICOM CT series as a volume."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import FileDataset

from ...core.i18n import _
from ...core.volume import Source, Volume
from .ct_check import check_ct
from .dicom_files import quiet, read_header
from .dicom_folder import SeriesInfo, Survey, choose, refusal_of, survey
from .dicom_pixels import read_pixels
from .dicom_places import NEIGHBOURS, files_around
from .dicom_slices import ordered, slices_of


def series_in(found: Survey, folder: Path, wanted: str | None = None) -> SeriesInfo:
    """The wanted series, or the only CT, of those found in a folder.

    Raises:
        InputError: no CT series, several to choose from, or nothing but damaged files.
    """
    if found.damaged and not found.series:
        raise found.damaged[0][1]
    chosen = choose(found.series, wanted, folder)
    elsewhere = (error.what for _file, error in found.damaged if error is not chosen.obstacle)
    return replace(chosen, notes=(*chosen.notes, *elsewhere))


def series_around(file: Path, wanted: str | None = None) -> SeriesInfo:
    """The series that a file belongs to, with all files of it that lie in the folders around (or the wanted one).

    Raises:
        InputError: the file is damaged, or there is no such series.
    """
    own = str(read_header(file).SeriesInstanceUID)
    files, were_too_many = files_around(file)
    chosen = choose(survey(files).series, wanted or own, file.parent)
    if not were_too_many:
        return chosen
    note = _(
        "Further slices of the series were looked for in {folder} and among {count} files around it; if there are "
        "more, give the folder that holds the whole series."
    )
    return replace(chosen, notes=(*chosen.notes, note.format(folder=file.parent, count=NEIGHBOURS)))


def read_series(series: SeriesInfo, path: Path) -> Volume:
    """The volume of a series that was found in ``path``.

    Raises:
        InputError: it is no CT, incomplete, damaged or not in Hounsfield units.
        GeometryError: the slices do not make up a straight, even grid.
    """
    if not series.is_ct_volume:
        raise refusal_of(series)
    if series.obstacle:
        raise series.obstacle
    headers = [read_header(file) for file in series.files]
    slices, geometry, notes = ordered(
        [one for file, header in zip(series.files, headers, strict=True) for one in slices_of(file, header)]
    )
    source = Source(
        path=path,
        name=_name(series, headers[0]),
        files=tuple(dict.fromkeys(one.file for one in slices)),
        series_uid=series.uid,
        series_description=series.description,
        notes=(*series.notes, *notes, *_gaps(headers, series.left_out)),
    )
    volume = Volume(read_pixels(slices), geometry, source)
    return check_ct(volume, units_stated=all(one.states_hu for one in slices))


def _gaps(headers: Sequence[FileDataset], left_out: int) -> tuple[str, ...]:
    """A note where the numbers of the images tell of others that their positions say nothing of."""
    try:
        with quiet():
            numbers = {int(header.get("InstanceNumber")) for header in headers}  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ()
    first, last = min(numbers), max(numbers)
    if len(numbers) < len(headers) or (first <= 1 + left_out and last - first < len(numbers) + left_out):
        return ()
    note = _("The {count} images of the series are numbered from {first} to {last}: others may be missing.")
    return (note.format(count=len(numbers), first=first, last=last),)


def _name(series: SeriesInfo, header: FileDataset) -> str:
    """A short name for people that does not give away who the patient is: the description, or the number."""
    identity = f"{header.get('PatientName', '')} {header.get('PatientID', '')}"
    words = [word.lower() for word in re.split(r"[\s^=,_-]+", identity) if len(word) > 2]
    description = series.description
    if not description or any(word in description.lower() for word in words):
        return f"CT series {series.number}"
    return description
