"""A CT in memory: Hounsfield units on a grid, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .errors import GeometryError
from .geometry import Geometry
from .i18n import _


@dataclass(frozen=True)
class Source:
    """Where a volume came from.

    ``name`` is short and for people; ``files`` are the files read, for DICOM one per slice in the order of axis k;
    ``series_uid`` is the DICOM SeriesInstanceUID or empty; ``notes`` are sentences the person should read, such as a
    unit that had to be assumed.
    """

    path: Path
    name: str
    files: tuple[Path, ...] = ()
    series_uid: str = ""
    series_description: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def is_dicom(self) -> bool:
        """Whether the volume was read from a DICOM series."""
        return bool(self.series_uid)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT: int16 ``voxels`` (i, j, k) in Hounsfield units on ``geometry``."""

    voxels: np.ndarray
    geometry: Geometry
    source: Source

    def __post_init__(self) -> None:
        if self.voxels.shape != self.geometry.shape:
            raise GeometryError(
                _("Voxels of shape {shape} do not fit a grid of {grid}.").format(
                    shape=str(self.voxels.shape), grid=str(self.geometry.shape)
                )
            )
