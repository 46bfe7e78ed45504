"""One entry for every kind of input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...core.errors import InputError
from ...core.geometry import Geometry
from ...core.volume import Source, Volume
from .ct_check import check_ct
from .dicom_files import dicom_files, is_dicom
from .dicom_series import read_dicom
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


def read_volume(path: Path | str, series: str | None = None) -> Volume:
    """A CT from a NIfTI, NRRD or MetaImage file, a DICOM folder, or one file of a DICOM series.

    ``series`` chooses among several DICOM series in the folder: SeriesInstanceUID, a unique ending of it, or the
    number in the list of :func:`list_series`. Voxels are int16 Hounsfield units (i, j, k), clipped to -1024..32767.

    Raises:
        InputError: missing, damaged, not a volume, not a CT in Hounsfield units, or several series to choose from.
        GeometryError: the image cannot be placed exactly in the patient.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path.")
    with system_errors(path):
        if path.is_dir():
            return _read_folder(path, series)
        if path.stat().st_size == 0:
            raise InputError(f"{path.name} is empty.", "Copy or export the file again.")
        if suffix := _suffix(path):
            voxels, geometry = _READERS[suffix](path)
            return check_ct(Volume(voxels, geometry, Source(path, path.name[: -len(suffix)], (path,))))
        if is_dicom(path):
            return read_dicom(path, series)
        raise InputError(f"{path.name} is not an image that can be read.", f"Give {_KINDS}.")


def find_inputs(path: Path | str) -> tuple[Path, ...]:
    """The inputs of a batch: the path itself if it is a file or holds DICOM, else what a folder holds.

    In a folder those are its volume files and every folder below it that holds DICOM files. Slicer segmentations are
    left out, and so are volume files deeper down, as results and label maps often lie there.

    Raises:
        InputError: the path does not exist, or there is nothing in it.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.", "Check the path.")
    if path.is_file():
        return (path,)
    with system_errors(path):
        files = [p for p in sorted(path.iterdir()) if p.is_file() and _is_volume(p)]
        folders = sorted({p.parent for p in dicom_files(path)})
        deeper = not files and not folders and any(_is_volume(p) for p in path.rglob("*"))
    if deeper:
        raise InputError(
            f"There is no image in {path} itself, only in folders below it.",
            f"Name the CTs, for example {path / '*' / 'ct.nii.gz'}.",
        )
    if not files and not folders:
        raise _nothing_in(path)
    return (*files, *folders)


def _read_folder(folder: Path, series: str | None) -> Volume:
    if next(dicom_files(folder), None) is not None:
        return read_dicom(folder, series)
    volumes = [p for p in folder.iterdir() if _suffix(p)]
    if volumes:
        raise InputError(f"{folder} holds no DICOM images but {len(volumes)} volume files.", "Give one of the files.")
    raise _nothing_in(folder)


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    return next((suffix for suffix in VOLUME_SUFFIXES if name.endswith(suffix)), None)


def _is_volume(path: Path) -> bool:
    name = path.name.lower()
    return _suffix(path) is not None and not name.startswith(".") and not name.endswith(".seg.nrrd")


def _nothing_in(folder: Path) -> InputError:
    return InputError(f"There is no image in {folder}.", f"Give {_KINDS}.")


_KINDS = f"a CT as {', '.join(VOLUME_SUFFIXES)}, a folder with a DICOM series, or one of its files"
