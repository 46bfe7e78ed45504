"""A part of the labels: some axial slabs of every case are annotated, the others are not known.

Patients as the unit would be coarse with so few cases, and an annotator who is short of time draws some of the slices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from ..starter.cases import GRID_MM, TrainingCase

SLAB_MM = 15.0
_SLAB = round(SLAB_MM / GRID_MM)


def annotated_slices(cases: Sequence[TrainingCase], share: float, seed: int) -> Mapping[str, np.ndarray]:
    """By name of the case, which of its axial slices are annotated: bool (k).

    A case is cut into slabs of :data:`SLAB_MM`; ``share`` of them, at least one, are annotated, in an order that the
    seed and the name decide. So a smaller share is a part of a larger one.
    """
    return {case.name: _slices(case, share, seed) for case in cases}


def _slices(case: TrainingCase, share: float, seed: int) -> np.ndarray:
    height = case.labels.shape[2]
    slab_of = np.arange(height) // _SLAB
    slabs = int(slab_of[-1]) + 1
    name = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:4], "big")
    order = np.random.default_rng([seed, name]).permutation(slabs)
    return np.isin(slab_of, order[: max(1, round(share * slabs))])


def annotated_share(cases: Sequence[TrainingCase], slices: Mapping[str, np.ndarray]) -> float:
    """The share of all slices that is annotated, over all cases."""
    return float(np.concatenate([slices[case.name] for case in cases]).mean())
