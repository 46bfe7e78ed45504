"""Synthetic lesions: lumpy solids of another density, planted into the CT of a lung or an organ."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, special

from ..tissue import smooth_noise

_LARGEST_SHARE = 0.45
"""Of the shortest side of a crop, as the radius."""


def plant_lesion(
    hu: np.ndarray, host: np.ndarray, spacing: tuple[float, float, float], is_lung: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The CT with a lesion in ``host``, float32 in HU, and the voxels of the lesion, bool; all (X, Y, Z).

    In a lung: solid, part-solid or with a necrotic core, free or grown to what is beside the lung. In an organ: darker
    or brighter than it. Where ``host`` is empty in the crop, so is the lesion.
    """
    places = np.flatnonzero(host)
    if not len(places):
        return hu, np.zeros(host.shape, dtype=bool)
    centre = np.array(np.unravel_index(int(rng.choice(places)), host.shape))
    most = _LARGEST_SHARE * min(n * s for n, s in zip(host.shape, spacing, strict=True))
    least = max(2.5, 1.8 * max(spacing))
    radius = float(np.exp(rng.uniform(np.log(least), np.log(max(6.0, least, min(45.0, most))))))
    depth = _depth(host.shape, centre, spacing, radius, rng)
    lesion = (depth > 0) & host
    if not lesion.any():
        return hu, lesion
    inner = _density(hu, host, lesion, depth, radius, is_lung, rng)
    edge = ndimage.gaussian_filter(lesion.astype(np.float32), [min(0.9, rng.uniform(0.4, 1.0) / s) for s in spacing])
    if is_lung:
        inner = np.maximum(inner, hu)  # vessels and the wall show through
        edge = np.where(host, edge, 0)
    return (hu + edge * (inner - hu)).astype(np.float32), lesion


def _depth(
    shape: tuple[int, ...], centre: np.ndarray, spacing: tuple[float, ...], radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Millimetres below the surface of a union of ellipsoids with a lumpy surface; negative outside of it."""
    places = [(np.arange(n) - c) * s for n, c, s in zip(shape, centre, spacing, strict=True)]
    depth = np.full(shape, -np.inf, dtype=np.float32)
    for part in range(int(rng.integers(1, 4))):
        size = radius * rng.uniform(0.65, 1.25, 3) * (1 if part == 0 else rng.uniform(0.4, 0.8))
        shift = rng.normal(0, 0.45 * radius, 3) if part else np.zeros(3)
        far = sum(
            ((p - d) / r).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
            for axis, (p, d, r) in enumerate(zip(places, shift, size, strict=True))
        )
        depth = np.maximum(depth, radius * (1 - np.sqrt(far)))
    lumps = smooth_noise(tuple(shape), rng, max(1.0, 0.3 * radius / float(np.mean(spacing))))
    return depth + radius * rng.uniform(0.0, 0.3) * lumps


def _density(
    hu: np.ndarray,
    host: np.ndarray,
    lesion: np.ndarray,
    depth: np.ndarray,
    radius: float,
    is_lung: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """HU that the lesion has wherever it is."""
    grain = smooth_noise(hu.shape, rng, rng.uniform(0.8, 2.0))
    if is_lung:
        mean = rng.uniform(-10, 80) if rng.uniform() < 0.8 else rng.uniform(-650, -150)
    else:
        contrast = rng.uniform(20, 90) * (-1 if rng.uniform() < 0.75 else 1)
        mean = float(np.median(hu[lesion])) + contrast
    inner = mean + rng.uniform(3, 18) * grain
    if rng.uniform() < 0.25:
        core = special.expit(depth - rng.uniform(0.4, 0.8) * radius)
        inner = inner + core * (rng.uniform(-60, -15) if rng.uniform() < 0.8 or not is_lung else -600)
    return inner.astype(np.float32)
