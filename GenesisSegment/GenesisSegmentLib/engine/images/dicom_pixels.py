"""Hounsfield units from the pixels of DICOM slices, compressed or not."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.pixels import get_decoder
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ...core.errors import InputError
from ...core.i18n import _
from .dicom_files import UNREADABLE, quiet
from .dicom_slices import Slice
from .refusals import damaged
from .rescale import rescaled, to_int16


def read_pixels(slices: Sequence[Slice]) -> np.ndarray:
    """int16 voxels (i, j, k) of slices in the order of axis k, each with its own rescaling; i varies fastest.

    Raises:
        InputError: a file is truncated or damaged, or its compression cannot be decoded here.
    """
    columns, rows = slices[0].shape
    voxels = np.empty((len(slices), rows, columns), dtype=np.int16).transpose(2, 1, 0)
    k = 0
    for file, group in groupby(slices, key=lambda one: one.file):
        stored, padding = _stored(file)
        for one in group:
            plane = stored[one.frame or 0].T[:, :, None]
            values = rescaled(plane, one.slope, one.intercept)
            if padding is not None and padding == plane.min():
                values = np.where(plane == padding, np.minimum(values, -1024), values)
            voxels[:, :, k] = to_int16(values)[:, :, 0]
            k += 1
    return voxels


def _stored(file: Path) -> tuple[np.ndarray, int | None]:
    """Stored values of a file (frames, rows, columns), and the value that marks padding."""
    try:
        with quiet():
            dataset = pydicom.dcmread(file, force=True)
            _check_decodable(dataset, file)
            stored = dataset.pixel_array
            padding = _padding(dataset, stored.dtype)
    except (*UNREADABLE, RuntimeError, struct.error) as error:
        raise damaged(file, _("its pixels are missing, truncated or cannot be decoded")) from error
    if stored.ndim == 2:
        stored = stored[None]
    return stored, padding


def _check_decodable(dataset: FileDataset, file: Path) -> None:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # an old file without a preamble: pydicom found out how it is encoded, but does not note it
        implicit, _encoding = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise InputError(
            _("{name} is compressed ({syntax}), which cannot be decoded here.").format(
                name=file.name, syntax=syntax.name
            ),
            _("Install a decoder for it (pip install python-gdcm), or export the series uncompressed."),
        )


def _padding(dataset: FileDataset, dtype: np.dtype) -> int | None:
    """The stored value outside the scanner's field of view; some headers state it as if unsigned."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    return int(np.array(value).astype(dtype))
