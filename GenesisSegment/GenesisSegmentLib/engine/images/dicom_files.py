"""DICOM headers from disk: quietly, and with errors that name the file."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage

from ...core.errors import InputError
from ...core.i18n import _
from .refusals import damaged

IDENTITY_TAGS = (
    *("SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "Modality"),
    *("ImageType", "NumberOfFrames", "SamplesPerPixel"),
)
HEADER_TAGS = (
    *IDENTITY_TAGS,
    *("SOPInstanceUID", "InstanceNumber", "PatientName", "PatientID", "Rows", "Columns"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
UNREADABLE = (InvalidDicomError, EOFError, ValueError, TypeError, KeyError, AttributeError, NotImplementedError)
"""What pydicom raises for content that it cannot make sense of."""
_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC_AT, _MAGIC = 128, b"DICM"


class DicomDirectoryError(InputError):
    """A DICOM directory: it lists images and holds none."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's remarks about unusual headers off the person's terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its magic word, or where that is missing, by its beginning or name and its content.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        start = stream.read(_MAGIC_AT + len(_MAGIC))
    if start[_MAGIC_AT:] == _MAGIC:
        return True
    return (_begins_as_data_set(start) or path.suffix.lower() in _SUFFIXES) and _has_identity(path)


def _begins_as_data_set(start: bytes) -> bool:
    """Whether a file without preamble begins with a tag of group 0002 or 0008, as every DICOM image does."""
    little, big = start[:2] in (b"\x02\0", b"\x08\0"), start[:2] == b"\0\x08"
    return (little and start[3:4] == b"\0") or (big and start[2:3] == b"\0")


def _has_identity(path: Path) -> bool:
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(IDENTITY_TAGS))
            return "SOPClassUID" in header and "SeriesInstanceUID" in header
    except (*UNREADABLE, OSError, struct.error):
        return False


def read_header(path: Path, tags: Sequence[str] = HEADER_TAGS) -> FileDataset:
    """The tags of a DICOM file that tell series, position and scale, or those of ``tags``.

    Raises:
        InputError: the file is truncated or damaged, or belongs to no series.
    """
    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(tags))
            header.decode()
    except (*UNREADABLE, struct.error) as error:
        raise damaged(path, _("its DICOM header cannot be read")) from error
    if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise DicomDirectoryError(
            _("{file} is a DICOM directory, not an image.").format(file=path.name),
            _("Give the folder that holds the series."),
        )
    if not header.get("SeriesInstanceUID"):
        raise damaged(path, _("its DICOM header ends too early"))
    return header
