"""CTs for the study of lung lesions: those whose tumour was marked by a person, and others to plant lesions into.

Everything lies on RAS axes at 3 mm. The marked cases are not for commercial use: they measure here, and no weights of
this study are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...core.errors import InputError
from ..starter.cases import (
    GRID_MM,
    LUNGS,
    TrainingCase,
    held_out_cases,
    lungs_by_threshold,
    rows,
    to_grid,
    training_cases,
)

MARKED = ("lung1_001", "lung1_002", "nsclc_crop_pat2", "nsclc_crop_pat3")
"""Four patients; nsclc_crop_pat1 is the patient of lung1_002."""
SPACING = (GRID_MM, GRID_MM, GRID_MM)
LUNG_TUMOR = 30
LUNG_HU = -500
_CLOSING, _HILUM, _NEAR = 5, 2, 2
_LEAST_LUNG = 3000


@dataclass(frozen=True, eq=False)
class Scan:
    """A CT int16 (i, j, k) in HU, ``lungs`` with what lies in them, and ``lesion``, both bool.

    ``lungs`` come from the HU alone, in all scans, and ``near``, bool, is 6 mm more: nothing else is looked at.
    ``unsure``, bool, may be a tumour that nobody marked: large solid parts of the lungs of a scan without marks.
    """

    name: str
    ct: np.ndarray
    lungs: np.ndarray
    lesion: np.ndarray
    unsure: np.ndarray

    @cached_property
    def near(self) -> np.ndarray:
        """The lungs and up to 6 mm around them."""
        return np.asarray(ndimage.binary_dilation(self.lungs, iterations=_NEAR))


def marked_scans(data: Path) -> list[Scan]:
    """The patients with a marked lung tumour.

    Raises:
        InputError: one of them is not in ``data``.
    """
    table = data / "CASES.csv"
    by_name = {row["case"]: row for row in rows(table)} if table.is_file() else {}
    if not set(MARKED) <= set(by_name):
        raise InputError(f"{data} lacks the CTs with marked lung tumours.", "Give the folder with all CTs.")
    return [_marked(data / by_name[name]["path"], name) for name in MARKED]


def open_scans(data: Path) -> list[Scan]:
    """Openly licensed CTs with lungs, to plant lesions into; without the patients who judge.

    Raises:
        InputError: ``data`` is not a folder of cases, or none is there.
    """
    cts: Iterator[TrainingCase] = takewhile(lambda case: case.ct is not None, training_cases(data))
    found = [scan for case in cts if (scan := _unmarked(case)) is not None]
    if not found:
        raise InputError(f"{data} has no open CT with lungs.", "Give the folder with all CTs.")
    return found


def judging_scan(data: Path) -> Scan:
    """The open CT that is kept out of all training.

    Raises:
        InputError: it is not there.
    """
    for case in held_out_cases(data):
        if case.ct is not None and (scan := _unmarked(case)) is not None:
            return scan
    raise InputError(f"{data} lacks the CT to judge by.", "Give the folder with all CTs.")


def _marked(folder: Path, name: str) -> Scan:
    facts = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    ct = to_grid(sitk.ReadImage(str(folder / "ct.nii.gz")), sitk.sitkLinear, -1024).astype(np.int16)
    raw = to_grid(sitk.ReadImage(str(folder / "labels.nii.gz")), sitk.sitkNearestNeighbor, 0)
    values = [int(value) for value, index in facts["universal_model"].items() if int(index) == LUNG_TUMOR]
    lesion = np.isin(raw, values)
    aerated = ct < LUNG_HU if "crop" in name else lungs_by_threshold(ct) > 0
    return Scan(name, ct, _closed(aerated), lesion, np.zeros(ct.shape, bool))


def _unmarked(case: TrainingCase) -> Scan | None:
    """A scan with the lungs that are known in it, or None."""
    known = [c for c in LUNGS if c in case.annotated]
    aerated = np.isin(case.labels, known)
    if np.count_nonzero(aerated) < _LEAST_LUNG:
        return None
    ct = np.asarray(case.ct)
    lungs = _closed(aerated)
    unsure = ndimage.binary_opening(lungs & (ct > LUNG_HU), iterations=_HILUM)
    return Scan(case.name, ct, lungs, np.zeros(ct.shape, bool), ndimage.binary_dilation(unsure) & (ct > LUNG_HU))


def _closed(aerated: np.ndarray) -> np.ndarray:
    """The lungs with their vessels."""
    padded = np.pad(aerated, _CLOSING)
    inside = tuple(slice(_CLOSING, -_CLOSING) for _axis in range(3))
    return ndimage.binary_closing(padded, iterations=_CLOSING)[inside]
