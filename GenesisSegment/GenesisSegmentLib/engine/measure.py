"""Measurements of a segmentation: volumes, Hounsfield units, and the size of every lesion."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import GeometryError
from ..core.files import atomic_file
from ..core.geometry import Box, Geometry
from ..core.i18n import _
from ..core.jobs import Advance
from ..core.segmentation import Segmentation, class_boxes
from ..core.volume import Volume
from .alignment import cropped
from .components import components
from .diameters import axial_diameters


@dataclass(frozen=True)
class Lesion:
    """One 26-connected lesion, numbered from 1 by falling volume.

    ``longest_mm`` and ``perpendicular_mm`` are its axial diameters (:mod:`GenesisSegmentLib.engine.diameters`),
    ``centroid_ras`` its centre of mass in RAS millimetres.
    """

    number: int
    voxels: int
    volume_ml: float
    mean_hu: float
    sd_hu: float
    touches_border: bool
    longest_mm: float
    perpendicular_mm: float
    centroid_ras: tuple[float, float, float]


@dataclass(frozen=True)
class Measurement:
    """One class of a segmentation.

    ``mean_hu`` and ``sd_hu`` (over the voxels of the mask, not a sample estimate) are None where the class was not
    found. ``touches_border`` means that the mask reaches the edge of the scan: the volume is a lower bound.
    ``lesions`` is None for organs.
    """

    index: int
    name: str
    voxels: int
    volume_ml: float
    mean_hu: float | None
    sd_hu: float | None
    touches_border: bool
    lesions: tuple[Lesion, ...] | None


def measure(
    segmentation: Segmentation, volume: Volume, advance: Advance = lambda fraction: None
) -> tuple[Measurement, ...]:
    """Measures every class that was looked for, found or not, in ascending order; ``advance`` is told after each.

    Raises:
        GeometryError: the segmentation and the scan lie on different grids.
    """
    if not segmentation.geometry.matches(volume.geometry):
        raise GeometryError(
            _("The segmentation and the image lie on different grids, so Hounsfield units cannot be read."),
            _("Measure a segmentation on the image that it was made from."),
        )
    boxes = class_boxes(segmentation.bits)
    found = []
    for count, index in enumerate(sorted(segmentation.classes), 1):
        found.append(_measurement(index, boxes.get(index), segmentation, volume))
        advance(count / len(segmentation.classes))
    return tuple(found)


def _measurement(index: int, box: Box | None, segmentation: Segmentation, volume: Volume) -> Measurement:
    structure = segmentation.structures[index]
    if box is None:
        return Measurement(index, structure.slug, 0, 0.0, None, None, False, () if structure.is_lesion else None)
    mask = cropped(segmentation, box).mask(index)
    lesions = tuple(_lesions(mask, box, volume)) if structure.is_lesion else None
    return Measurement(index, structure.slug, **_basics(mask, box, volume), lesions=lesions)


def _basics(mask: np.ndarray, box: Box, volume: Volume) -> dict[str, Any]:
    """What organs and lesions have in common, for the tight mask inside ``box``."""
    values = volume.voxels[box.slices][mask]
    return {
        "voxels": int(values.size),
        "volume_ml": values.size * volume.geometry.voxel_ml,
        "mean_hu": float(values.mean(dtype=np.float64)),
        "sd_hu": float(values.std(dtype=np.float64)),
        "touches_border": 0 in box.start or any(s == n for s, n in zip(box.stop, volume.geometry.shape, strict=True)),
    }


def _lesions(mask: np.ndarray, box: Box, volume: Volume) -> Iterator[Lesion]:
    found = components(mask)
    for rank, inner in enumerate(found.boxes):
        lesion = found.labels[inner.slices] == found.order[rank]
        start = tuple(a + b for a, b in zip(box.start, inner.start, strict=True))
        stop = tuple(a + b for a, b in zip(box.start, inner.stop, strict=True))
        geometry = volume.geometry
        longest, across = axial_diameters(lesion, geometry.spacing, axial=geometry.to_ras.axes[2])
        yield Lesion(
            rank + 1,
            **_basics(lesion, Box(start, stop), volume),  # type: ignore[arg-type]
            longest_mm=longest,
            perpendicular_mm=across,
            centroid_ras=_position(geometry, found.centroids[rank] + box.start),
        )


def _position(geometry: Geometry, index: np.ndarray) -> tuple[float, float, float]:
    r, a, s = (geometry.ijk_to_ras @ np.array([*index, 1.0]))[:3]
    return float(r), float(a), float(s)


COLUMNS = (
    *("class", "name", "lesion", "voxels", "volume_ml", "mean_hu", "sd_hu", "touches_border", "lesion_count"),
    *("longest_axial_mm", "perpendicular_mm", "centroid_right_mm", "centroid_anterior_mm", "centroid_superior_mm"),
)


def write_csv(path: Path, measurements: Sequence[Measurement]) -> None:
    """Writes one row per class, each followed by one row per lesion, whose column ``lesion`` is its number.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        writer.writeheader()
        for measurement in measurements:
            writer.writerows(_rows(measurement))


def write_json(path: Path, measurements: Sequence[Measurement]) -> None:
    """Writes all measurements with their units.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    document = {
        "version": 1,
        "units": {"volume_ml": "ml", "mean_hu": "HU", "sd_hu": "HU", "*_mm": "mm", "centroid_ras": "mm, RAS"},
        "classes": [asdict(m) for m in measurements],
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _rows(measurement: Measurement) -> Iterator[dict[str, Any]]:
    head = {"class": measurement.index, "name": measurement.name}
    lesions = measurement.lesions
    yield {**head, **_common(measurement), "lesion_count": "" if lesions is None else len(lesions)}
    for lesion in lesions or ():
        right, anterior, superior = (f"{x:.1f}" for x in lesion.centroid_ras)
        yield {
            **head,
            **_common(lesion),
            "lesion": lesion.number,
            "longest_axial_mm": f"{lesion.longest_mm:.1f}",
            "perpendicular_mm": f"{lesion.perpendicular_mm:.1f}",
            "centroid_right_mm": right,
            "centroid_anterior_mm": anterior,
            "centroid_superior_mm": superior,
        }


def _common(measured: Measurement | Lesion) -> dict[str, Any]:
    return {
        "voxels": measured.voxels,
        "volume_ml": f"{measured.volume_ml:.3f}",
        "mean_hu": "" if measured.mean_hu is None else f"{measured.mean_hu:.1f}",
        "sd_hu": "" if measured.sd_hu is None else f"{measured.sd_hu:.1f}",
        "touches_border": int(measured.touches_border),
    }
