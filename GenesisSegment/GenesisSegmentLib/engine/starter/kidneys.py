"""Kidneys as other patients have them: in thick or thin fat, displaced, with a bright cortex, or removed.

The few CTs with labelled kidneys show lean patients. Without this, whatever lies where their kidneys lie, bare fat
included, is taken for a kidney.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..tissue import TISSUES, smooth_noise

KIDNEYS = (2, 3)
_PELVIS, _BODY = 54, 60
_NOT_LABELLED = (0, _BODY)
_SOFT_HU = (-300, 200)
"""What fat may replace: neither gas and lung nor bone."""
_SHIFT_MM = ((-8.0, -4.0, -20.0), (8.0, 20.0, 20.0))
"""To the left and right, back and front, down and up."""
_CORTEX_MM = 6.0
_MARGIN_MM = 48.0


@dataclass(frozen=True)
class KidneyRecipe:
    """Shares of the kidneys that are removed and that are bedded in fat anew, and of the samples in which the cortex
    is brighter than the medulla."""

    removed: float = 0.12
    bedded: float = 0.4
    early_phase: float = 0.35


def vary_kidneys(
    hu: np.ndarray, labels: np.ndarray, spacing_mm: float, recipe: KidneyRecipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The CT in HU and its labels (i, j, k) on RAS axes with other kidneys; the arrays given stay as they are."""
    hu, labels = hu.copy(), labels.copy()
    lift = rng.uniform(20, 110) if rng.uniform() < recipe.early_phase else 0.0
    for kidney in KIDNEYS:
        places = np.nonzero(labels == kidney)
        if not places[0].size:
            continue
        margin = round(_MARGIN_MM / spacing_mm)
        box = tuple(slice(max(0, int(p.min()) - margin), int(p.max()) + margin + 1) for p in places)
        if lift:
            hu[box] += lift * cortex(labels[box] == kidney, spacing_mm)
        fate = rng.uniform()
        if fate < recipe.removed + recipe.bedded:
            bed_in_fat(hu[box], labels[box], kidney, spacing_mm, rng, is_removed=fate < recipe.removed)
    return hu, labels


def cortex(kidney: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Weight 0-1 (i, j, k) of the outer layer of a kidney given as a mask; the sides of the grid are no surface."""
    closed = ndimage.binary_closing(np.pad(kidney, 4, mode="edge"), iterations=2)
    depth = ndimage.distance_transform_edt(closed, sampling=spacing_mm)[4:-4, 4:-4, 4:-4]
    rim = (kidney & (depth <= _CORTEX_MM)).astype(np.float32)
    return ndimage.gaussian_filter(rim, 0.4) * kidney


def bed_in_fat(
    hu: np.ndarray, labels: np.ndarray, kidney: int, spacing_mm: float, rng: np.random.Generator, is_removed: bool
) -> None:
    """Moves the kidney a little, or removes it, and fills its old place and a layer around both with fat, in place.

    Other labelled organs, gas and bone stay as they are.
    """
    own = ndimage.binary_closing(labels == kidney, iterations=2) | (labels == kidney)
    own &= np.isin(labels, (*_NOT_LABELLED, kidney, _PELVIS))
    free = own | (np.isin(labels, _NOT_LABELLED) & (hu > _SOFT_HU[0]) & (hu < _SOFT_HU[1]))
    low, high = _SHIFT_MM
    shift = np.rint(rng.uniform(low, high) / spacing_mm).astype(int)
    moved = np.zeros_like(own) if is_removed else _moved(own, shift) & free
    distance = ndimage.distance_transform_edt(~(own | moved), sampling=spacing_mm)
    layer = distance + 4 * smooth_noise(hu.shape, rng, 2) < rng.uniform(2, 20)
    fat = (own | (layer & free)).astype(np.float32)
    moved_hu, moved_labels = _moved(hu, shift), _moved(labels, shift)
    _blend(hu, fat, _fat_like(hu, rng))
    hu[moved] = moved_hu[moved]
    labels[own] = 0
    labels[moved] = np.where(moved_labels[moved] == kidney, kidney, 0)


def _fat_like(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    tissue = TISSUES[_BODY]
    return rng.uniform(tissue.low, tissue.high) + rng.uniform(4, 14) * smooth_noise(hu.shape, rng, rng.uniform(0.4, 1))


def _blend(hu: np.ndarray, share: np.ndarray, other: np.ndarray) -> None:
    """Puts ``other`` into ``hu`` with partial volume at the border of ``share``."""
    share = ndimage.gaussian_filter(share, 0.5)
    hu += share * (other - hu)


def _moved(array: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """The array shifted by whole voxels; its outermost layer goes on at the sides."""
    places = [np.clip(np.arange(n) - s, 0, n - 1) for n, s in zip(array.shape, shift, strict=True)]
    return array[np.ix_(*places)]
