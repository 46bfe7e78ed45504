"""One entry for every kind of input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core.errors import InputError
from ...core.geometry import Geometry
from ...core.i18n import _
from ...core.volume import Source, Volume
from .ct_check import check_ct
from .detached import files_of
from .dicom_files import is_dicom
from .dicom_folder import SeriesInfo, matching, no_ct, not_chosen, refusal_of, survey_of
from .dicom_series import read_series, series_around, series_in
from .itk_files import read_metaimage, read_nrrd
from .nifti import read_nifti
from .refusals import system_errors

_READERS: dict[str, Callable[[Path], tuple[np.ndarray, Geometry]]] = {
    ".nii.gz": read_nifti,
    ".nii": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}
VOLUME_SUFFIXES = tuple(_READERS)


@dataclass(frozen=True)
class CtInput:
    """Something to segment: a volume file, or a DICOM series, whose files may lie in several folders.

    ``path`` is what the person named, or for what was ``is_found`` in a named folder, the file or the folder of the
    series. ``refusal`` says why something that was found is no CT to segment.
    """

    path: Path
    series: SeriesInfo | None = None
    is_found: bool = False
    refusal: InputError | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that :func:`read_input` reads.

        Raises:
            InputError: they cannot be told.
        """
        if self.series is not None:
            return self.series.files
        with system_errors(self.path):
            return files_of(self.path) if self.path.is_file() else ()


def read_volume(path: Path | str, series: str | None = None) -> Volume:
    """A CT from a NIfTI, NRRD or MetaImage file, a DICOM folder, or one file of a DICOM series.

    A series is read whole, in whichever folders below the given one its files lie; for one file, the folders around
    it are searched (see :func:`.dicom_places.files_around`). ``series`` chooses among several DICOM series:
    SeriesInstanceUID, a unique ending of it, or the number in the list of :func:`list_series`; it means nothing for
    other files. Voxels are int16 Hounsfield units (i, j, k), clipped to -1024..32767.

    Raises:
        InputError: missing, damaged, not a volume, not a CT in Hounsfield units, or several series to choose from.
        GeometryError: the image cannot be placed exactly in the patient.
    """
    return read_input(locate(CtInput(Path(path)), series))


def locate(given: CtInput, series: str | None = None) -> CtInput:
    """The input with the DICOM series that it stands for, if it is not a volume file.

    Raises:
        InputError: it does not exist or is no image, or there are several series to choose from.
    """
    path = given.path
    if given.refusal:
        raise given.refusal
    if given.series is not None:
        return given
    _check_exists(path)
    with system_errors(path):
        if path.is_dir():
            return replace(given, series=_in_folder(path, series))
        if path.stat().st_size == 0:
            raise InputError(_("{file} is empty.").format(file=path.name), _("Copy or export the file again."))
        if _suffix(path):
            return given
        if is_dicom(path):
            return replace(given, series=series_around(path, series))
        raise InputError(
            _("{file} is not an image that can be read.").format(file=path.name),
            _give(),
        )


def read_input(located: CtInput) -> Volume:
    """The CT of an input that was located; raises what :func:`read_volume` raises."""
    path = located.path
    with system_errors(path):
        if located.series is not None:
            return read_series(located.series, path)
        suffix = _suffix(path)
        if suffix is None:
            raise InputError(
                _("{file} is not an image that can be read.").format(file=path.name),
                _give(),
            )
        voxels, geometry = _READERS[suffix](path)
        return check_ct(Volume(voxels, geometry, Source(path, path.name[: -len(suffix)], files_of(path))))


def is_volume_file(path: Path) -> bool:
    """Whether a path is a file that is read as NIfTI, NRRD or MetaImage, by its suffix."""
    return path.is_file() and _suffix(path) is not None


def find_inputs(path: Path | str, series: str | None = None, leave_out: Path | None = None) -> tuple[CtInput, ...]:
    """The inputs of a batch: a file itself; what a folder holds.

    In a folder those are its volume files and every CT series in it and below it, whichever folders the files of a
    series lie in; ``series`` chooses among these as in :func:`read_volume`, by its number in every study. Series that
    are no CT volumes (contours, segmentations, localizers, MR), and damaged DICOM files, come with a refusal. A folder
    that holds one CT series and nothing else to segment is that series. Slicer segmentations are left out, so are
    volume files deeper down, as results and label maps often lie there, and so is the folder ``leave_out``.

    Raises:
        InputError: the path does not exist, there is no CT in it, or not the wanted one.
    """
    path = Path(path)
    _check_exists(path)
    if path.is_file():
        return (CtInput(path),)
    leave_out = leave_out.resolve() if leave_out else None
    with system_errors(path):
        volumes = [CtInput(p, is_found=True) for p in sorted(path.iterdir()) if p.is_file() and _is_volume(p)]
        found = survey_of(path, leave_out)
        if not volumes and not found.series and not found.damaged:
            raise _nothing_below(path, leave_out)
    cts = _wanted(found.series, series, path) if found.series else []
    if not volumes and not cts:
        raise no_ct(found.series, path) if found.series else found.damaged[0][1]
    if not volumes and len(cts) == 1 and cts[0].folder == path:
        return (CtInput(path, series_in(found, path, cts[0].uid)),)
    others = [] if series else [s for s in found.series if not s.is_ct_volume]
    cts.sort(key=lambda s: (s.folder, s.number))
    return (
        *volumes,
        *(CtInput(s.folder, s, is_found=True) for s in cts),
        *(CtInput(_place(s), s, is_found=True, refusal=refusal_of(s)) for s in others),
        *(CtInput(file, is_found=True, refusal=error) for file, error in found.damaged),
    )


def _wanted(series: tuple[SeriesInfo, ...], wanted: str | None, place: Path) -> list[SeriesInfo]:
    if wanted is None:
        return [s for s in series if s.is_ct_volume]
    found = matching(series, wanted)
    if not found or (len(found) > 1 and any(str(s.number) != wanted for s in found)):
        raise not_chosen(series, found, wanted, place)
    cts = [s for s in found if s.is_ct_volume]
    if not cts:
        raise refusal_of(found[0])
    return cts


def _place(series: SeriesInfo) -> Path:
    return series.files[0] if len(series.files) == 1 else series.folder


def _in_folder(folder: Path, series: str | None) -> SeriesInfo:
    found = survey_of(folder)
    if found.series or found.damaged:
        return series_in(found, folder, series)
    volumes = [p for p in folder.iterdir() if _suffix(p)]
    if volumes:
        raise InputError(
            _("{folder} holds no DICOM images but {count} volume files.").format(folder=folder, count=len(volumes)),
            _("Give one of the files."),
        )
    raise _nothing_in(folder)


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(_("{path} does not exist.").format(path=path), _("Check the path."))


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def _is_volume(path: Path) -> bool:
    name = path.name.lower()
    return _suffix(path) is not None and not name.startswith(".") and not name.endswith(".seg.nrrd")


def _nothing_below(folder: Path, leave_out: Path | None) -> InputError:
    if leave_out is not None and survey_of(folder).series:
        return InputError(
            _("There is nothing in {folder} but results.").format(folder=folder), _("Give the CTs themselves.")
        )
    if any(_is_volume(p) for p in folder.rglob("*")):
        return InputError(
            _("There is no image in {folder} itself, only in folders below it.").format(folder=folder),
            _("Name the CTs, for example {pattern}.").format(pattern=folder / "*" / "ct.nii.gz"),
        )
    return _nothing_in(folder)


def _nothing_in(folder: Path) -> InputError:
    return InputError(_("There is no image in {folder}.").format(folder=folder), _give())


def _give() -> str:
    return _("Give a CT as {suffixes}, a folder with a DICOM series, or one of its files.").format(
        suffixes=", ".join(VOLUME_SUFFIXES)
    )
