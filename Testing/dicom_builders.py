"""A small oblique CT as DICOM series, and what reading it back must give."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from builders import a_ct_volume, write_dicom_series
from GenesisSegmentLib.core.volume import Volume

VOLUME = a_ct_volume()
COUNT = VOLUME.geometry.shape[2]


def series(folder: Path, voxels: np.ndarray = VOLUME.voxels, **options: object) -> Path:
    """The folder, with a series of these voxels on the grid of ``VOLUME``; options of ``write_dicom_series``."""
    write_dicom_series(folder, voxels, VOLUME.geometry, **options)  # type: ignore[arg-type]
    return folder


def assert_same(read: Volume, voxels: np.ndarray = VOLUME.voxels) -> None:
    """Asserts that a volume has the grid of ``VOLUME`` and these voxels."""
    assert read.geometry.matches(VOLUME.geometry, tolerance_mm=1e-3)
    np.testing.assert_array_equal(read.voxels, voxels)


def contours(folder: Path) -> None:
    """A series of contours that were drawn on a CT."""
    series(folder, Modality="RTSTRUCT", SeriesNumber=9, SeriesDescription="Contours", PixelData=None, Rows=None)


def localizer(folder: Path) -> None:
    """A series of localizers."""
    series(folder, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesNumber=9)


def mr(folder: Path) -> None:
    """A series of MR images."""
    series(folder, Modality="MR", SeriesNumber=9)
