"""Voxel work beside the network: masks back to the CT's own grid, and the largest piece of every organ."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...core.geometry import Geometry
from ...core.jobs import Job
from ...core.segmentation import bit_of, pack
from .figures import Figure
from .measure import race
from .setting import Setting, Sides

ORGANS = tuple(range(1, 26))
ISLANDS_PER_VOXEL = 3000 / 300**3


@dataclass(frozen=True, eq=False)
class CoarseMasks:
    """Organs that overlap, on a grid of half the resolution of ``native``, with their logits float16 (25, X, Y, Z)."""

    bits: np.ndarray
    logits: np.ndarray
    grid: Geometry
    native: Geometry


def coarse_masks(shape: Sides) -> CoarseMasks:
    """Made for a CT of ``shape``, whose sides are odd, so that its first and last voxels are those of the coarse grid.

    torch interpolates between such grids, and between few others, exactly; and logits in steps of 1/64 add up to the
    same number in any order.
    """
    rng = np.random.default_rng(0)
    i, j, k = coarse = tuple((n + 1) // 2 for n in shape)
    spacing = np.array([380 / i, 380 / j, 300 / k])
    x, y, z = (axis.astype(np.float32) for axis in np.ogrid[:i, :j, :k])
    logits = np.empty((len(ORGANS), *coarse), np.float16)
    for n in range(len(ORGANS)):
        middle, radius = rng.uniform(0.2, 0.8, 3) * coarse, rng.uniform(0.08, 0.24, 3) * coarse
        distance = sum(((a - b) / c) ** 2 for a, b, c in zip((x, y, z), middle, radius, strict=True))
        folds = np.sin(12 * x / i + n) * np.sin(14 * y / j) * np.sin(16 * z / k)
        logits[n] = np.round(64 * np.clip(8 - 8 * distance - 3 * folds, -20, 20)) / 64
    bits = pack(((c, values > 0) for c, values in zip(ORGANS, logits, strict=True)), coarse)  # type: ignore[arg-type]
    grid, native = (np.diag([*(spacing * scale), 1.0]) for scale in (1.0, 0.5))
    return CoarseMasks(bits, logits, Geometry(coarse, grid), Geometry(shape, native))  # type: ignore[arg-type]


def masks_by_torch(masks: CoarseMasks) -> np.ndarray:
    """Bits (i, j, k) on the CT's grid: every class interpolated on all of it, then thresholded."""
    import torch
    from torch.nn import functional as F

    bits = np.zeros(masks.native.shape, masks.bits.dtype)
    for index, values in zip(ORGANS, masks.logits, strict=True):
        coarse = torch.from_numpy(values.astype(np.float32))[None, None]
        fine = F.interpolate(coarse, masks.native.shape, mode="trilinear", align_corners=True)[0, 0]
        np.bitwise_or(bits, bit_of(index), out=bits, where=(fine > 0).numpy())
    return bits


def masks_by_bands(masks: CoarseMasks) -> np.ndarray:
    """The same, interpolated only where neighbours differ."""
    from ..inference.restore import restore_linear

    return restore_linear(masks.bits, masks.logits, ORGANS, masks.grid, masks.native)


def organs_with_islands(side: int) -> np.ndarray:
    """Labels uint8 of 25 organs in a cube, as many as in 300^3 with 3000 small islands of them all over it."""
    rng = np.random.default_rng(0)
    labels = np.zeros((side,) * 3, np.uint8)
    axes = np.ogrid[:side, :side, :side]
    for index in ORGANS:
        middle, radius = rng.uniform(0.15, 0.85, 3) * side, rng.uniform(0.06, 0.16, 3) * side
        inside = sum(((a - b) / c) ** 2 for a, b, c in zip(axes, middle, radius, strict=True)) < 1
        labels[inside] = index
    for _ in range(round(ISLANDS_PER_VOXEL * side**3)):
        start, sides = rng.integers(0, side - 3, 3), rng.integers(1, 4, 3)
        labels[tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))] = rng.choice(ORGANS)
    return labels


def largest_by_monai(labels: np.ndarray) -> np.ndarray:
    """The largest component of each organ; MONAI writes into the array that it is given."""
    from monai.transforms import KeepLargestConnectedComponent

    return np.asarray(KeepLargestConnectedComponent(is_onehot=False, independent=True)(labels[None].copy()))[0]


def largest_in_one_pass(labels: np.ndarray) -> np.ndarray:
    """The same, with the components of all organs found together."""
    from ..pieces import keep_largest

    return keep_largest(labels)


def masks_back(setting: Setting, job: Job) -> Iterable[Figure]:
    """From logits on a coarse grid to masks on the CT's own."""
    masks = coarse_masks(setting.native_shape)
    found = race(lambda: masks_by_torch(masks), lambda: masks_by_bands(masks), setting.rounds, job.check)
    same = float(np.mean(found.plain_result == found.our_result))
    metric = f"Masks back to {' x '.join(map(str, setting.native_shape))}, {len(ORGANS)} classes"
    note = "plain: every class interpolated on the whole grid by torch, then thresholded; identical"
    return found.figures(metric, same, 1.0, note, 40.0)


def islands(setting: Setting, job: Job) -> Iterable[Figure]:
    """The largest piece of every organ."""
    metric = f"Largest piece of {len(ORGANS)} organs, {setting.islands_side}^3"
    if importlib.util.find_spec("skimage") is None:
        return [Figure.not_measured(metric, "scikit-image is not installed, which MONAI needs for it")]
    labels = organs_with_islands(setting.islands_side)
    found = race(lambda: largest_by_monai(labels), lambda: largest_in_one_pass(labels), setting.rounds, job.check)
    same = float(np.mean(found.plain_result == found.our_result))
    return found.figures(metric, same, 1.0, "plain: MONAI's KeepLargestConnectedComponent; identical", 100.0)
