"""The series in a folder of DICOM files, and the choice of the one to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import FileDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from ...core.errors import InputError
from .dicom_files import dicom_files, quiet, read_header
from .refusals import system_errors

_CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
_PERFUSION_MAPS = {"PERFUSION", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "TMAX"}
_OBJECTS = {
    **{"SEG": "a segmentation (DICOM SEG)", "RTSTRUCT": "a set of contours (RTSTRUCT)", "RTDOSE": "a dose (RTDOSE)"},
    **{"SR": "a report", "PR": "a presentation state", "DOC": "a document", "MR": "MR", "PT": "PET", "NM": "NM"},
}


@dataclass(frozen=True)
class SeriesInfo:
    """One DICOM series in a folder.

    ``number`` is what the person chooses it by: its SeriesNumber, or its place in the list where those are missing or
    not unique. ``images`` counts slices or frames. ``why_not`` says why it is no CT volume; empty where it is one.
    """

    number: int
    uid: str
    description: str
    modality: str
    images: int
    why_not: str
    headers: tuple[tuple[Path, FileDataset], ...] = field(repr=False, compare=False)

    @property
    def is_ct_volume(self) -> bool:
        """Whether the series can be a CT volume."""
        return not self.why_not

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the series, by name."""
        return tuple(path for path, _ in self.headers)

    def __str__(self) -> str:
        """One line for lists: number, description, slices, UID and what keeps it from being a CT volume."""
        slices = f"{self.images} slice{'s' if self.images != 1 else ''}"
        not_ct = f" ({self.why_not})" if self.why_not else ""
        return f"{self.number}: {self.description or 'no description'}, {slices}{not_ct}, UID {self.uid}"


def list_series(folder: Path) -> tuple[SeriesInfo, ...]:
    """The DICOM series in a folder and below it, by number.

    Raises:
        InputError: a DICOM file is damaged, or the folder cannot be read.
    """
    with system_errors(folder):
        return series_of(dicom_files(folder))


def series_of(files: Iterable[Path]) -> tuple[SeriesInfo, ...]:
    """The series that the given DICOM files make up, by number.

    Raises:
        InputError: a DICOM file is damaged.
    """
    groups: defaultdict[str, list[tuple[Path, FileDataset]]] = defaultdict(list)
    for path in files:
        header = read_header(path)
        groups[str(header.SeriesInstanceUID)].append((path, header))
    stated = {uid: _series_number(headers[0][1]) for uid, headers in groups.items()}
    order = sorted(groups, key=lambda uid: (stated[uid] is None, stated[uid] or 0, uid))
    unique = None not in stated.values() and len(set(stated.values())) == len(stated)
    return tuple(
        _info(stated[uid] if unique else place, uid, tuple(groups[uid]))  # type: ignore[arg-type]
        for place, uid in enumerate(order, start=1)
    )


def choose(series: Sequence[SeriesInfo], wanted: str | None, place: Path) -> SeriesInfo:
    """The series that ``wanted`` names by UID, unique ending of the UID or number; without it, the only CT volume.

    Raises:
        InputError: no series, none that is a CT volume, several, or not the wanted one; the message lists them.
    """
    if not series:
        raise InputError(f"There are no DICOM images in {place}.", "Give a folder that holds a CT series.")
    if wanted is not None:
        found = _matching(series, wanted)
        if len(found) == 1:
            return found[0]
        problem = "No series matches" if not found else f"{len(found)} series match"
        raise InputError(f'{problem} "{wanted}". {place} holds:\n{_lines(series)}', _CHOOSE)
    volumes = [s for s in series if s.is_ct_volume]
    if len(volumes) == 1:
        return volumes[0]
    if volumes:
        raise InputError(f"{place} holds {len(volumes)} CT series:\n{_lines(volumes)}", _CHOOSE)
    if len(series) == 1:
        raise refusal_of(series[0])
    raise InputError(f"None of the series in {place} is a CT volume:\n{_lines(series)}", _GIVE_CT)


def refusal_of(series: SeriesInfo) -> InputError:
    """The error for a series that is no CT volume."""
    name = f'"{series.description}"' if series.description else str(series.number)
    return InputError(f"The DICOM series {name} is {series.why_not}.", _GIVE_CT)


_CHOOSE = "Choose one with --series and its number, its UID or the end of its UID."
_GIVE_CT = "Give the CT series that it belongs to, with all its slices."


def _matching(series: Sequence[SeriesInfo], wanted: str) -> list[SeriesInfo]:
    for rule in (
        lambda s: s.uid == wanted,
        lambda s: str(s.number) == wanted,
        lambda s: s.uid.endswith(wanted),
    ):
        if found := [s for s in series if rule(s)]:
            return found
    return []


def _lines(series: Sequence[SeriesInfo]) -> str:
    return "\n".join(f"  {s}" for s in series)


def _series_number(header: FileDataset) -> int | None:
    try:
        with quiet():
            return int(header.get("SeriesNumber"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _info(number: int, uid: str, headers: tuple[tuple[Path, FileDataset], ...]) -> SeriesInfo:
    first = headers[0][1]
    images = sum(int(header.get("NumberOfFrames") or 1) for _, header in headers)
    return SeriesInfo(
        number=number,
        uid=uid,
        description=str(first.get("SeriesDescription") or "").strip(),
        modality=str(first.get("Modality") or ""),
        images=images,
        why_not=_why_not([header for _, header in headers], images),
        headers=headers,
    )


def _why_not(headers: Sequence[FileDataset], images: int) -> str:
    reasons = [_no_ct(header) for header in headers]
    if all(reasons):
        return reasons[0]
    return "a single slice (2-D), not a volume" if images < 2 else ""


def _no_ct(header: FileDataset) -> str:
    modality = str(header.get("Modality") or "")
    if modality != "CT":
        return f"{_OBJECTS.get(modality, f'of modality {modality}' if modality else 'of no modality')}, not a CT"
    if header.get("SOPClassUID") not in _CT_CLASSES:
        return "not of CT images but of captures or other objects"
    kinds = set(header.get("ImageType") or ())
    if "LOCALIZER" in kinds:
        return "a localizer, not a volume"
    if kinds & _PERFUSION_MAPS:
        return "a perfusion map, not in Hounsfield units"
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return "in colours, not in Hounsfield units"
    return ""
