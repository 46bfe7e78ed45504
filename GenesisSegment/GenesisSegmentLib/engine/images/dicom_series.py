"""A DICOM CT series as a volume."""

from __future__ import annotations

import re
from pathlib import Path

from ...core.volume import Source, Volume
from .ct_check import check_ct
from .dicom_files import dicom_files, read_header
from .dicom_folder import SeriesInfo, choose, list_series, refusal_of, series_of
from .dicom_pixels import read_pixels
from .dicom_slices import ordered, slices_of


def read_dicom(path: Path, series: str | None = None) -> Volume:
    """The CT series in a folder, or the whole series that one file belongs to.

    Raises:
        InputError: no CT series, several, or one that is incomplete, damaged or not in Hounsfield units.
        GeometryError: the slices do not make up a straight, even grid.
    """
    if path.is_dir():
        chosen = choose(list_series(path), series, path)
    else:
        own = str(read_header(path).SeriesInstanceUID)
        chosen = choose(series_of(dicom_files(path.parent, deep=False)), series or own, path.parent)
    if not chosen.is_ct_volume:
        raise refusal_of(chosen)
    return _read(chosen, path)


def _read(series: SeriesInfo, path: Path) -> Volume:
    slices, geometry, notes = ordered([one for file, header in series.headers for one in slices_of(file, header)])
    source = Source(
        path=path,
        name=_name(series),
        files=tuple(dict.fromkeys(one.file for one in slices)),
        series_uid=series.uid,
        series_description=series.description,
        notes=notes,
    )
    volume = Volume(read_pixels(slices), geometry, source)
    return check_ct(volume, units_stated=all(one.states_hu for one in slices))


def _name(series: SeriesInfo) -> str:
    """A short name for people that does not give away who the patient is: the description, or the number."""
    header = series.headers[0][1]
    identity = f"{header.get('PatientName', '')} {header.get('PatientID', '')}"
    words = [word.lower() for word in re.split(r"[\s^=,_-]+", identity) if len(word) > 2]
    description = series.description
    if not description or any(word in description.lower() for word in words):
        return f"CT series {series.number}"
    return description
