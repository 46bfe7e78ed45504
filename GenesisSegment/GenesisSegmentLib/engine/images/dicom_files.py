"""DICOM headers from disk: quietly, and with errors that name the file."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from ...core.errors import InputError
from .refusals import damaged

HEADER_TAGS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("ImageType", "PatientName", "PatientID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
UNREADABLE = (InvalidDicomError, EOFError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError)
"""What pydicom raises for content that it cannot make sense of."""
_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC_AT, _MAGIC = 128, b"DICM"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's remarks about unusual headers off the person's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its magic word, or where that is missing, by name and content."""
    with path.open("rb") as stream:
        stream.seek(_MAGIC_AT)
        if stream.read(len(_MAGIC)) == _MAGIC:
            return True
    return path.suffix.lower() in _SUFFIXES and _has_identity(path)


def _has_identity(path: Path) -> bool:
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(HEADER_TAGS))
            return "SOPClassUID" in header and "SeriesInstanceUID" in header
    except (*UNREADABLE, OSError, struct.error):
        return False


def read_header(path: Path) -> FileDataset:
    """The tags of a DICOM file that tell series, position and scale.

    Raises:
        InputError: the file is truncated or damaged, or belongs to no series.
    """
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(HEADER_TAGS))
            header.decode()
    except (*UNREADABLE, struct.error) as error:
        raise damaged(path, "its DICOM header cannot be read") from error
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise InputError(f"{path.name} is a DICOM directory, not an image.", "Give the folder that holds the series.")
    if not header.get("SeriesInstanceUID"):
        raise damaged(path, "its DICOM header ends too early")
    return header


def dicom_files(folder: Path, deep: bool = True) -> Iterator[Path]:
    """Every DICOM file in a folder, and below it if ``deep``, by name; hidden files and DICOMDIR are left out."""
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path):
            yield path
