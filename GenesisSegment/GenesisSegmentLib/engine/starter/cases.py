"""Training material of the starter: openly licensed CTs and label maps, on a common grid."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...core.errors import InputError

OPEN_LICENCES = ("CC BY 4.0", "CC BY 3.0", "Apache-2.0", "3D Slicer License")
HELD_OUT = ("C3N-00249",)
"""Patient groups that are never trained on: the model card is measured on them."""
GRID_MM = 3.0
LUNGS = (16, 17)
_LUNG_HU = -500
_ABOVE_THIGH = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 16, 17, 25)


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """Labels uint8 (i, j, k) on RAS axes at :data:`GRID_MM`, and the CT int16 HU on the same grid, or None.

    ``labels`` hold universal classes 1-32 and further tissues from 40 on; ``annotated`` are the classes that were
    really looked for: all others are unknown.
    """

    name: str
    licence: str
    labels: np.ndarray
    annotated: tuple[int, ...]
    ct: np.ndarray | None
    is_body_outlined: bool = True


def training_cases(data: Path, kept_out: Set[str] = frozenset()) -> Iterator[TrainingCase]:
    """Every case of ``data`` (CASES.csv, labelmaps/LABELMAPS.csv) whose licence is open and that is not held out.

    ``kept_out`` are further patient groups that are not trained on this time.

    Raises:
        InputError: ``data`` is not such a folder.
    """
    for row in rows(_table(data)):
        if is_trained_on(row, kept_out):
            case = _ct_case(data / row["path"], row)
            if case is not None:
                yield case
    for row in rows(data / "labelmaps" / "LABELMAPS.csv"):
        if row["ship"] == "yes" and is_open(row["licence"]) and row["patient_group"] not in {*HELD_OUT, *kept_out}:
            yield _label_map_case(data / row["path"], row)


def held_out_cases(data: Path, spacing_mm: float = GRID_MM) -> Iterator[TrainingCase]:
    """The openly licensed CTs of the patients who are never trained on, on a grid of ``spacing_mm``: to measure with.

    Raises:
        InputError: ``data`` is not such a folder.
    """
    for row in rows(_table(data)):
        if is_open(row["licence"]) and row["patient_group"] in HELD_OUT and row["modality"] == "CT":
            case = _ct_case(data / row["path"], row, spacing_mm)
            if case is not None:
                yield case


def _table(data: Path) -> Path:
    table = data / "CASES.csv"
    if not table.is_file():
        raise InputError(f"{data} has no CASES.csv.", "Give the folder that holds the table of cases.")
    return table


def is_trained_on(row: dict[str, str], kept_out: Set[str] = frozenset()) -> bool:
    """Whether a row of CASES.csv is an openly licensed CT of a patient who is not held out."""
    return is_open(row["licence"]) and row["patient_group"] not in {*HELD_OUT, *kept_out} and row["modality"] == "CT"


def is_open(licence: str) -> bool:
    """Whether a licence, in the words of the tables, lets what is made from the case be used by everybody."""
    text = licence.upper()
    barred = any(word in text for word in ("-NC", "NON-COMMERCIAL", "UNCLEAR"))
    return not barred and any(name.upper() in text for name in OPEN_LICENCES)


def rows(table: Path) -> list[dict[str, str]]:
    """The rows of CASES.csv or LABELMAPS.csv."""
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _ct_case(folder: Path, row: dict[str, str], spacing_mm: float = GRID_MM) -> TrainingCase | None:
    """A labelled CT; a chest CT without labels gets its lungs by threshold; others without labels are left out."""
    image = sitk.ReadImage(str(folder / "ct.nii.gz"))
    ct = to_grid(image, sitk.sitkLinear, -1024, spacing_mm)
    document = folder / "labels.json"
    if document.is_file():
        facts = json.loads(document.read_text(encoding="utf-8"))
        to_class = {int(k): int(v) for k, v in facts["universal_model"].items()}
        annotated = tuple(int(c) for c in facts["universal_model_annotated"])
        raw = to_grid(sitk.ReadImage(str(folder / "labels.nii.gz")), sitk.sitkNearestNeighbor, 0, spacing_mm)
        table = np.zeros(int(raw.max()) + 1, dtype=np.uint8)
        for value, index in to_class.items():
            if value < len(table):
                table[value] = index
        labels = table[raw]
    elif row["region"].startswith("chest") and min(ct.shape) >= 60:
        labels, annotated = lungs_by_threshold(ct), aerated_lungs(row["region"])
    else:
        return None
    if "thigh" in row["region"]:
        annotated = _ABOVE_THIGH  # none of these can lie in a thigh: empty masks that are known to be empty
        labels = np.zeros_like(labels)
    return TrainingCase(row["case"], row["licence"], labels, annotated, ct.astype(np.int16))


def _label_map_case(path: Path, row: dict[str, str]) -> TrainingCase:
    labels = to_grid(sitk.ReadImage(str(path)), sitk.sitkNearestNeighbor, 0).astype(np.uint8)
    annotated = tuple(int(c) for c in row["um_annotated"].split(";"))
    if "visible_human" in row["case"]:
        # The source has neither lungs nor ribs: above the liver the map is no likeness of a chest.
        top = int(np.nonzero((labels == 6).any(axis=(0, 1)))[0].max())
        labels = labels[:, :, : top + 1]
    return TrainingCase(row["case"], row["licence"], labels, annotated, None, bool((labels == 60).any()))


def to_grid(image: sitk.Image, interpolator: int, outside: float, spacing_mm: float = GRID_MM) -> np.ndarray:
    """The image on RAS axes with isotropic ``spacing_mm``, as an array (i, j, k); linear images are smoothed first."""
    image = sitk.DICOMOrient(image, "LPS")
    if interpolator == sitk.sitkLinear:
        image = sitk.Cast(image, sitk.sitkFloat32)
        for axis, spacing in enumerate(image.GetSpacing()):
            if spacing < 0.8 * spacing_mm:
                sigma = 0.4 * float(np.sqrt(spacing_mm**2 - spacing**2))
                image = sitk.RecursiveGaussian(image, sigma, direction=axis)
    size = [max(1, round(n * s / spacing_mm)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    shift = [(spacing_mm - s) / 2 for s in image.GetSpacing()]
    origin = image.TransformContinuousIndexToPhysicalPoint(
        [d / s for d, s in zip(shift, image.GetSpacing(), strict=True)]
    )
    out = sitk.Resample(
        image, size, sitk.Transform(), interpolator, origin, [spacing_mm] * 3, image.GetDirection(), outside
    )
    # From LPS to RAS: both in-plane axes run the other way.
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(out).transpose(2, 1, 0)[::-1, ::-1])


def aerated_lungs(region: str) -> tuple[int, ...]:
    """The lungs that a threshold can outline: a side with an effusion is left unknown, both where no side is named."""
    if "effusion" not in region:
        return LUNGS
    return (17,) if "right" in region else (16,) if "left" in region else ()


def lungs_by_threshold(ct: np.ndarray) -> np.ndarray:
    """Label map of both lungs of a chest CT at :data:`GRID_MM` (i, j, k) on RAS axes: air inside the body.

    The air that touches the sides of the grid is outside, the rest must be large; the left lung is the part on the
    left of the middle between both.
    """
    air = ct < _LUNG_HU
    parts, count = ndimage.label(air)
    border = np.unique(np.concatenate([parts[side].ravel() for side in (0, -1)] + [parts[:, [0, -1]].ravel()]))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    keep = (sizes > 2000) & (np.arange(count + 1) > 0)
    keep[border] = False
    lungs = ndimage.binary_opening(keep[parts], iterations=2)
    lungs = ndimage.binary_closing(lungs, iterations=2) & keep[parts]
    halves, count = ndimage.label(lungs)
    sizes = np.bincount(halves.ravel(), minlength=count + 1)[1:]
    labels = np.zeros(ct.shape, dtype=np.uint8)
    if count >= 2 and sizes.max() < 4 * np.sort(sizes)[-2]:
        first, second = (int(n) + 1 for n in np.argsort(sizes)[-2:])
        pair = sorted((first, second), key=lambda n: float(np.nonzero(halves == n)[0].mean()))
        for index, part in zip((17, 16), pair, strict=True):
            labels[halves == part] = index
        return labels
    middle = int(np.median(np.nonzero(lungs)[0]))
    labels[:middle][lungs[:middle]] = 17
    labels[middle:][lungs[middle:]] = 16
    return labels
