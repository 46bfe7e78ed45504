"""Training material of the click network: every structure that is marked in an openly licensed CT or label map."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ...core.errors import InputError
from ..starter.cases import GRID_MM, HELD_OUT, LUNGS, aerated_lungs, is_open, lungs_by_threshold, rows, to_grid

BODY = 60
"""Value of label maps for whatever of the body has no label of its own."""
_FEWEST_VOXELS = 150
_LESION_ORGANS = (1, 2, 3, 6)


@dataclass(frozen=True, eq=False)
class Structure:
    """Label values that make up one thing that a person might outline: a lobe, both lobes of a lung, a vertebra."""

    values: tuple[int, ...]
    weight: float
    extent_mm: float
    """Longest side of the box around it."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One CT, or a label map alone, on its own grid; axes and sides are as in the file: the network is told neither.

    ``hu`` int16 and ``labels`` uint8 (i, j, k); ``hosts`` are the values that lesions are planted into.
    """

    name: str
    licence: str
    labels: np.ndarray
    hu: np.ndarray | None
    spacing: tuple[float, float, float]
    structures: tuple[Structure, ...]
    lungs: tuple[int, ...] = ()
    hosts: tuple[int, ...] = ()

    @cached_property
    def is_body_outlined(self) -> bool:
        """Whether voxels without a label lie outside the body."""
        return bool((self.labels == BODY).any())


def training_scans(data: Path) -> Iterator[Scan]:
    """Every scan of ``data`` (CASES.csv, labelmaps/LABELMAPS.csv) whose licence is open and that is not held out.

    Those that may not be used commercially are never trained on, whatever else is known about them: they and the
    patient groups :data:`..starter.cases.HELD_OUT` are what the network is measured on.

    Raises:
        InputError: ``data`` is not such a folder.
    """
    table = data / "CASES.csv"
    if not table.is_file():
        raise InputError(f"{data} has no CASES.csv.", "Give the folder that holds the table of cases.")
    for row in rows(table):
        if _is_wanted(row) and row["modality"] == "CT":
            scan = _ct(data / row["path"], row)
            if scan is not None:
                yield scan
    for row in rows(data / "labelmaps" / "LABELMAPS.csv"):
        if row["ship"] == "yes" and _is_wanted(row):
            yield _label_map(data / row["path"], row)


def _is_wanted(row: dict[str, str]) -> bool:
    return is_open(row["licence"]) and row["patient_group"] not in HELD_OUT


def _ct(folder: Path, row: dict[str, str]) -> Scan | None:
    """A labelled CT; a chest CT without labels gets its lungs by threshold; others without labels are left out."""
    image = sitk.ReadImage(str(folder / "ct.nii.gz"))
    document = folder / "labels.json"
    if document.is_file():
        facts = json.loads(document.read_text(encoding="utf-8"))
        classes = {int(value): int(index) for value, index in facts["universal_model"].items()}
        labels = _voxels(sitk.ReadImage(str(folder / "labels.nii.gz"))).astype(np.uint8)
        spacing = image.GetSpacing()
        lungs = tuple(value for value, index in classes.items() if index in LUNGS)
        organs = tuple(value for value, index in classes.items() if index in (1, 2, 3, 6))
        hu = _voxels(image).astype(np.int16)
        return Scan(
            row["case"], row["licence"], labels, hu, spacing, structures(labels, spacing, classes), lungs, organs
        )
    hu = to_grid(image, sitk.sitkLinear, -1024)
    if not row["region"].startswith("chest") or min(hu.shape) < 60:
        return None
    lungs = aerated_lungs(row["region"])
    labels = lungs_by_threshold(hu)
    labels[~np.isin(labels, lungs)] = 0
    spacing = (GRID_MM,) * 3
    found = structures(labels, spacing, {value: value for value in lungs})
    return Scan(row["case"], row["licence"], labels, hu.astype(np.int16), spacing, found, lungs)


def _label_map(path: Path, row: dict[str, str]) -> Scan:
    image = sitk.ReadImage(str(path))
    labels = _voxels(image).astype(np.uint8)
    classes = {value: value for value in range(1, 33)}
    return Scan(
        row["case"], row["licence"], labels, None, image.GetSpacing(), structures(labels, image.GetSpacing(), classes)
    )


def _voxels(image: sitk.Image) -> np.ndarray:
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))


def structures(labels: np.ndarray, spacing: tuple[float, ...], classes: dict[int, int]) -> tuple[Structure, ...]:
    """What is marked in ``labels``: every value, and every class that several values make up.

    Classes of the table count three times as much as muscles and bones, of which a scan has many.
    """
    sizes = np.bincount(labels.ravel(), minlength=256)
    present = [int(v) for v in np.nonzero(sizes >= _FEWEST_VOXELS)[0] if v not in (0, BODY)]
    groups: dict[tuple[int, ...], float] = {(value,): 3.0 if value in classes else 1.0 for value in present}
    for index in set(classes.values()):
        parts = tuple(value for value in present if classes.get(value) == index)
        if len(parts) > 1:
            groups[parts] = 3.0
    return tuple(Structure(v, weight, _extent_mm(labels, v, spacing)) for v, weight in groups.items())


def _extent_mm(labels: np.ndarray, values: tuple[int, ...], spacing: tuple[float, ...]) -> float:
    mask = np.isin(labels, values)
    sides = []
    for axis in range(3):
        (hit,) = np.nonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        sides.append((hit[-1] - hit[0] + 1) * spacing[axis])
    return float(max(sides))
