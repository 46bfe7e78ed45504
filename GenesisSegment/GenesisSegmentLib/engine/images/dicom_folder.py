"""The DICOM series among files, and the choice of the one to read.

Files belong together by their SeriesInstanceUID and by nothing else: exports spread a series over folders, and put
several into one.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import FileDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from ...core.errors import InputError
from ...core.i18n import _, together
from .dicom_files import IDENTITY_TAGS, DicomDirectoryError, is_dicom, quiet, read_header
from .dicom_places import files_below
from .refusals import damaged, system_errors, unreadable

_CT_CLASSES = {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
_PERFUSION_MAPS = {"PERFUSION", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "TMAX"}
_OBJECTS = {
    **{"SEG": "a segmentation (DICOM SEG)", "RTSTRUCT": "a set of contours (RTSTRUCT)", "RTDOSE": "a dose (RTDOSE)"},
    **{"SR": "a report", "PR": "a presentation state", "DOC": "a document", "MR": "MR", "PT": "PET", "NM": "NM"},
}


@dataclass(frozen=True)
class SeriesInfo:
    """One DICOM series, wherever its files lie.

    ``number`` is what the person chooses it by: its SeriesNumber, or its place in the list of its study where those
    are missing or not unique. ``images`` counts slices or frames. ``why_not`` says why it is no CT volume; empty where
    it is one. ``files`` are the CT images, or all where there are none; ``left_out`` counts the others. ``notes`` are
    sentences for the person, and ``obstacle`` is a damaged file beside the others, which may be one of theirs.
    """

    number: int
    uid: str
    description: str
    modality: str
    images: int
    why_not: str
    files: tuple[Path, ...] = field(repr=False)
    left_out: int = 0
    notes: tuple[str, ...] = ()
    obstacle: InputError | None = field(default=None, compare=False)

    @property
    def is_ct_volume(self) -> bool:
        """Whether the series can be a CT volume."""
        return not self.why_not

    @property
    def folder(self) -> Path:
        """The deepest folder that holds all files."""
        folders = {path.parent for path in self.files}
        return folders.pop() if len(folders) == 1 else Path(os.path.commonpath(folders))

    def __str__(self) -> str:
        """One line for lists: number, description, slices, UID and what keeps it from being a CT volume."""
        slices = f"{self.images} slice{'s' if self.images != 1 else ''}"
        not_ct = f" ({self.why_not})" if self.why_not else ""
        return f"{self.number}: {self.description or 'no description'}, {slices}{not_ct}, UID {self.uid}"


@dataclass(frozen=True)
class Survey:
    """What a set of files holds: DICOM series in the order of their numbers, and the errors of damaged files."""

    series: tuple[SeriesInfo, ...]
    damaged: tuple[tuple[Path, InputError], ...]


@dataclass(frozen=True)
class _Image:
    """What is kept of one file: a tree may hold very many."""

    path: Path
    study: str
    uid: str
    number: int | None
    description: str
    modality: str
    frames: int
    why_not: str


def list_series(folder: Path) -> tuple[SeriesInfo, ...]:
    """The DICOM series in a folder and below it, by number; a series may be spread over several folders.

    Raises:
        InputError: a DICOM file is damaged, or the folder cannot be read.
    """
    found = survey_of(folder)
    for _path, error in found.damaged:
        raise error
    return found.series


def survey_of(folder: Path, leave_out: Path | None = None) -> Survey:
    """What a folder and those below it hold; the folder ``leave_out`` (an absolute path) does not count.

    Raises:
        InputError: the folder cannot be read.
    """
    with system_errors(folder):
        files, problems = files_below(folder, leave_out)
        found = survey(files)
    unlisted = tuple(
        (Path(str(problem.filename)), unreadable(Path(str(problem.filename)), problem)) for problem in problems
    )
    return Survey(found.series, (*found.damaged, *unlisted))


def survey(files: Iterable[Path]) -> Survey:
    """The series that the DICOM files among ``files`` make up, by number, and the damaged ones."""
    groups: defaultdict[str, list[_Image]] = defaultdict(list)
    broken: list[tuple[Path, InputError]] = []
    others: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in files:
        try:
            with system_errors(path):
                image = _image(path) if is_dicom(path) else None
        except DicomDirectoryError:
            continue
        except InputError as error:
            broken.append((path, error))
            continue
        if image is None:
            others[path.parent].append(path)
        else:
            groups[image.uid].append(image)
    numbers = _numbers({uid: images[0] for uid, images in groups.items()})
    order = sorted(groups, key=lambda uid: (groups[uid][0].study, numbers[uid]))
    series = (_info(numbers[uid], groups[uid], broken, others) for uid in order)
    return Survey(tuple(sorted(series, key=lambda s: s.number)), tuple(broken))


def choose(series: Sequence[SeriesInfo], wanted: str | None, place: Path) -> SeriesInfo:
    """The series that ``wanted`` names by UID, unique ending of the UID or number; without it, the only CT volume.

    Raises:
        InputError: no series, none that is a CT volume, several, or not the wanted one; the message lists them.
    """
    if not series:
        raise InputError(
            _("There are no DICOM images in {place}.").format(place=place), _("Give a folder that holds a CT series.")
        )
    if wanted is not None:
        found = matching(series, wanted)
        if len(found) == 1:
            return found[0]
        raise not_chosen(series, found, wanted, place)
    volumes = [s for s in series if s.is_ct_volume]
    if len(volumes) == 1:
        return volumes[0]
    if volumes:
        raise InputError(
            _("{place} holds {count} CT series:\n{series}").format(
                place=place, count=len(volumes), series=_lines(volumes)
            ),
            _choose(),
        )
    raise no_ct(series, place)


def no_ct(series: Sequence[SeriesInfo], place: Path) -> InputError:
    """The error for series of which none is a CT volume."""
    if len(series) == 1:
        return refusal_of(series[0])
    return InputError(
        _("None of the series in {place} is a CT volume:\n{series}").format(place=place, series=_lines(series)),
        _give_ct(),
    )


def not_chosen(series: Sequence[SeriesInfo], found: Sequence[SeriesInfo], wanted: str, place: Path) -> InputError:
    """The error for a wish that no series meets, or several (``found``)."""
    problem = _("No series matches") if not found else _("{count} series match").format(count=len(found))
    return InputError(
        _('{problem} "{wanted}". {place} holds:\n{series}').format(
            problem=problem, wanted=wanted, place=place, series=_lines(series)
        ),
        _choose(),
    )


def refusal_of(series: SeriesInfo) -> InputError:
    """The error for a series that is no CT volume."""
    name = f'"{series.description}"' if series.description else str(series.number)
    return InputError(_("The DICOM series {name} is {why}.").format(name=name, why=series.why_not), _give_ct())


def _choose() -> str:
    return _("Choose one with --series and its number, its UID or the end of its UID.")


def _give_ct() -> str:
    return _("Give the CT series that it belongs to, with all its slices.")


def matching(series: Sequence[SeriesInfo], wanted: str) -> list[SeriesInfo]:
    """The series whose UID, else whose number, else the end of whose UID is ``wanted``.

    A number may match in each of several studies, an ending several series.
    """
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


def _image(path: Path) -> _Image:
    header = read_header(path, IDENTITY_TAGS)
    try:
        frames = int(header.get("NumberOfFrames") or 1)
    except (TypeError, ValueError) as error:
        raise damaged(path, _("its header does not state how many images it holds")) from error
    return _Image(
        path=path,
        study=str(header.get("StudyInstanceUID") or ""),
        uid=str(header.SeriesInstanceUID),
        number=_series_number(header),
        description=str(header.get("SeriesDescription") or "").strip(),
        modality=str(header.get("Modality") or ""),
        frames=frames,
        why_not=_no_ct(header),
    )


def _numbers(firsts: dict[str, _Image]) -> dict[str, int]:
    """The number of each series, unique in its study; ``firsts`` are the first images by SeriesInstanceUID."""
    numbers: dict[str, int] = {}
    for study in {image.study for image in firsts.values()}:
        stated = {uid: image.number for uid, image in firsts.items() if image.study == study}
        order = sorted(stated, key=lambda uid: (stated[uid] is None, stated[uid] or 0, uid))
        unique = None not in stated.values() and len(set(stated.values())) == len(stated)
        numbers |= {uid: stated[uid] if unique else place for place, uid in enumerate(order, start=1)}  # type: ignore[misc]
    return numbers


def _info(
    number: int,
    images: Sequence[_Image],
    broken: Sequence[tuple[Path, InputError]],
    others: Mapping[Path, Sequence[Path]],
) -> SeriesInfo:
    volume = [image for image in images if not image.why_not] or images
    count = sum(image.frames for image in volume)
    folders = {image.path.parent for image in images}
    return SeriesInfo(
        number=number,
        uid=images[0].uid,
        description=images[0].description,
        modality=images[0].modality,
        images=count,
        why_not=volume[0].why_not or (_("a single slice (2-D), not a volume") if count < 2 else ""),
        files=tuple(image.path for image in volume),
        left_out=len(images) - len(volume),
        notes=(*_left_out(images, volume), *_no_dicom(volume, others)),
        obstacle=next((error for path, error in broken if path.parent in folders), None),
    )


def _left_out(images: Sequence[_Image], volume: Sequence[_Image]) -> tuple[str, ...]:
    """A note on the images of a CT series that do not belong to the volume, such as its localizer."""
    if len(images) == len(volume):
        return ()
    why = Counter(image.why_not for image in images if image.why_not)
    one = _("{count}, {reason}")
    kinds = together(*(one.format(count=count, reason=reason) for reason, count in why.items()), between="; ")
    return (_("Images of the series were left out: {kinds}.").format(kinds=kinds),)


def _no_dicom(volume: Sequence[_Image], others: Mapping[Path, Sequence[Path]]) -> tuple[str, ...]:
    """A note on files that are named as the slices beside them are, and yet are no DICOM."""
    kinds = {(image.path.parent, _kind(image.path)) for image in volume}
    folders = dict.fromkeys(image.path.parent for image in volume)
    alike = [path for folder in folders for path in others.get(folder, ()) if (folder, _kind(path)) in kinds]
    if not alike:
        return ()
    names = ", ".join((*(path.name for path in alike[:3]), *["..."] * (len(alike) > 3)))
    if len(alike) == 1:
        note = _(
            "{count} file beside the slices could not be read as DICOM, so slices may be missing at an end of the "
            "CT: {names}."
        )
    else:
        note = _(
            "{count} files beside the slices could not be read as DICOM, so slices may be missing at an end of the "
            "CT: {names}."
        )
    return (note.format(count=len(alike), names=names),)


def _kind(path: Path) -> str:
    """The suffix; a number, as at the end of a UID, is none."""
    return "" if path.suffix[1:].isdigit() else path.suffix.lower()


def _no_ct(header: FileDataset) -> str:
    modality = str(header.get("Modality") or "")
    if modality != "CT":
        return f"{_OBJECTS.get(modality, f'of modality {modality}' if modality else 'of no modality')}, not a CT"
    if header.get("SOPClassUID") not in _CT_CLASSES:
        return _("not of CT images but of captures or other objects")
    kinds = set(header.get("ImageType") or ())
    if "LOCALIZER" in kinds:
        return _("a localizer, not a volume")
    if kinds & _PERFUSION_MAPS:
        return _("a perfusion map, not in Hounsfield units")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        return _("in colours, not in Hounsfield units")
    return ""
