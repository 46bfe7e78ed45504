"""What lies around the organs in other scans: the table, arms beside the body, and the edge of the field of view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..tissue import AIR_HU, smooth_noise

_BODY_HU = -300


@dataclass(frozen=True)
class SurroundingsRecipe:
    """Shares of the samples that get each of them."""

    table: float = 0.4
    arms: float = 0.25
    cut_field: float = 0.2


def surround(
    hu: np.ndarray, labels: np.ndarray, spacing_mm: float, recipe: SurroundingsRecipe, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The CT in HU and its labels (i, j, k) on RAS axes as another scanner would show them; the arrays given stay.

    What the field of view cuts off has no label.
    """
    hu, labels = hu.copy(), labels.copy()
    fates = rng.uniform(size=3)
    body = hu > _BODY_HU
    if body.any():
        if fates[0] < recipe.arms:
            _put_arms(hu, body, spacing_mm, rng)
        if fates[1] < recipe.table:
            _put_table(hu, body, spacing_mm, rng)
        if fates[2] < recipe.cut_field:
            _cut_field(hu, labels, body, rng)
    return hu, labels


def _put_table(hu: np.ndarray, body: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> None:
    """A curved plate with a shell and a light core, behind the body; nothing where there is no room."""
    left, right, back, _front = _extent(body)
    half = rng.uniform(200, 270)
    across = (np.arange(hu.shape[0]) - (left + right) / 2) * spacing_mm
    top = back * spacing_mm - rng.uniform(2, 10) + rng.uniform(0, 60) * (across / half) ** 2
    depth = top[:, None] - np.arange(hu.shape[1])[None] * spacing_mm
    thickness = rng.uniform(8, 45)
    plate = (depth > 0) & (depth < thickness) & (np.abs(across) < half)[:, None]
    shell = plate & ((depth < 6) | (depth > thickness - 6))
    section = np.where(shell, rng.uniform(-450, 150), rng.uniform(-980, -850))
    section = ndimage.gaussian_filter(np.where(plate, section, AIR_HU), 0.5)[:, :, None]
    _show(hu, section, plate[:, :, None] & ~body)


def _put_arms(hu: np.ndarray, body: np.ndarray, spacing_mm: float, rng: np.random.Generator) -> None:
    """One or two cylinders of muscle in fat around a bone, beside the body; nothing where there is no room."""
    left, right, back, front = _extent(body)
    i, j = (np.arange(n)[shape] for n, shape in zip(hu.shape[:2], (np.s_[:, None], np.s_[None]), strict=True))
    grain = 12 * smooth_noise(hu.shape, rng, 1.0)
    sides = [(left, -1), (right, 1)] if rng.uniform() < 0.8 else [((left, -1), (right, 1))[int(rng.integers(2))]]
    for edge, way in sides:
        radius = rng.uniform(35, 60)
        centre = edge + way * (radius + rng.uniform(2, 25)) / spacing_mm
        level = rng.uniform(back + 0.25 * (front - back), front)
        away = np.hypot((i - centre) * spacing_mm, (j - level) * spacing_mm)
        bone, muscle = rng.uniform(8, 13), radius - rng.uniform(4, 15)
        section = np.select([away < bone, away < muscle, away < radius], [rng.uniform(350, 800), 55, -100], AIR_HU)
        smooth = ndimage.gaussian_filter(section.astype(np.float32), 0.5)[:, :, None]
        _show(hu, smooth + grain, np.broadcast_to((away < radius + spacing_mm)[:, :, None], hu.shape) & ~body)


def _cut_field(hu: np.ndarray, labels: np.ndarray, body: np.ndarray, rng: np.random.Generator) -> None:
    """A field of view that is a circle too small for the body."""
    left, right, back, front = _extent(body)
    middle = (left + right) / 2 + rng.normal(0, 3), (back + front) / 2 + rng.normal(0, 3)
    radius = rng.uniform(0.75, 1.0) * max(right - left, front - back) / 2
    i, j = np.indices(hu.shape[:2])
    beyond = np.hypot(i - middle[0], j - middle[1]) > radius
    hu[beyond], labels[beyond] = AIR_HU, 0


def _show(hu: np.ndarray, other: np.ndarray, where: np.ndarray) -> None:
    np.copyto(hu, np.maximum(hu, other).astype(hu.dtype), where=where)


def _extent(body: np.ndarray) -> tuple[int, int, int, int]:
    """First and last index along i, then along j."""
    (across,), (along,) = np.nonzero(body.any(axis=(1, 2))), np.nonzero(body.any(axis=(0, 2)))
    return int(across[0]), int(across[-1]), int(along[0]), int(along[-1])
