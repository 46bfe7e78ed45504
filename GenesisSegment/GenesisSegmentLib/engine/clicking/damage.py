"""Proposals as networks get them wrong: a structure that is shifted, too thin, too fat, cut off, leaking or missing."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy import ndimage

from ..tissue import smooth_noise

Damage = Literal["shifted", "eroded", "dilated", "cut", "leaked", "lumpy", "holed", "empty"]
DAMAGES: tuple[Damage, ...] = get_args(Damage)


def damaged(
    truth: np.ndarray,
    spacing: tuple[float, float, float],
    kind: Damage,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> np.ndarray:
    """A proposal for the structure ``truth``, bool (X, Y, Z), that is wrong in one way.

    Lengths are shares of the radius of a ball of the same volume; ``strength`` 1 costs a compact organ about 0.2 to
    0.4 of Dice. ``empty`` is nothing at all. Spacing in millimetres.
    """
    if kind == "empty" or not truth.any():
        return np.zeros_like(truth)
    radius = (np.count_nonzero(truth) * float(np.prod(spacing)) * 0.75 / np.pi) ** (1 / 3)
    if kind == "shifted":
        way = _direction(rng) * 0.45 * strength * radius
        return _shifted(truth, np.rint(way / np.array(spacing)).astype(int))
    if kind == "cut":
        return truth & ~_beyond_a_plane(truth, spacing, min(0.8, 0.4 * strength), rng)
    depth = _depth(truth, spacing)
    if kind == "eroded":
        return depth > min(0.3 * strength * radius, 0.6 * float(depth.max()))
    if kind == "dilated":
        return depth > -0.3 * strength * radius
    if kind == "lumpy":
        noise = smooth_noise(truth.shape, rng, max(1.0, 0.35 * radius / float(np.mean(spacing))))
        return depth > 0.3 * strength * radius * noise
    ball = _lumpy_ball(truth.shape, _voxel_near_surface(depth, spacing, rng), spacing, 0.7 * strength * radius, rng)
    return truth | ball if kind == "leaked" else truth & ~ball


def any_damage(truth: np.ndarray, spacing: tuple[float, float, float], rng: np.random.Generator) -> np.ndarray:
    """A proposal that is wrong in one way, in two, or altogether missing."""
    if rng.uniform() < 0.25:
        return np.zeros_like(truth)
    kinds = [kind for kind in DAMAGES if kind != "empty"]
    mask = truth
    for _ in range(1 if rng.uniform() < 0.6 else 2):
        mask = damaged(mask, spacing, kinds[int(rng.integers(len(kinds)))], rng, float(rng.uniform(0.3, 1.8)))
    return mask


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Agreement of two masks, 0 to 1; 1 where both are empty."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0


def _depth(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Millimetres below the surface of the mask; negative outside of it."""
    within = ndimage.distance_transform_edt(mask, sampling=spacing)
    return (within - ndimage.distance_transform_edt(~mask, sampling=spacing)).astype(np.float32)


def _direction(rng: np.random.Generator) -> np.ndarray:
    way = rng.normal(size=3)
    return way / np.linalg.norm(way)


def _shifted(mask: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    moved = np.zeros_like(mask)
    source = tuple(slice(max(0, -v), max(0, n - max(0, v))) for v, n in zip(voxels, mask.shape, strict=True))
    target = tuple(slice(max(0, v), max(0, n + min(0, v))) for v, n in zip(voxels, mask.shape, strict=True))
    moved[target] = mask[source]
    return moved


def _beyond_a_plane(mask: np.ndarray, spacing: tuple[float, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    """The far side of a plane in a random direction that has ``share`` of the mask behind it."""
    along = sum(
        (np.arange(n, dtype=np.float32) * s * d).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s, d) in enumerate(zip(mask.shape, spacing, _direction(rng), strict=True))
    )
    return along > np.quantile(along[mask], 1 - share)


def _voxel_near_surface(depth: np.ndarray, spacing: tuple[float, ...], rng: np.random.Generator) -> np.ndarray:
    """Index (3,) of a random voxel just inside the structure."""
    shell = np.flatnonzero((depth > 0) & (depth <= max(1.5 * max(spacing), 0.25 * float(depth.max()))))
    return np.array(np.unravel_index(int(rng.choice(shell)), depth.shape))


def _lumpy_ball(
    shape: tuple[int, ...], centre: np.ndarray, spacing: tuple[float, ...], radius: float, rng: np.random.Generator
) -> np.ndarray:
    far = sum(
        ((np.arange(n, dtype=np.float32) - c) * s).reshape([-1 if a == axis else 1 for a in range(3)]) ** 2
        for axis, (n, c, s) in enumerate(zip(shape, centre, spacing, strict=True))
    )
    noise = smooth_noise(tuple(shape), rng, max(1.0, 0.3 * radius / float(np.mean(spacing))))
    return np.sqrt(far) < radius * (1 + 0.2 * noise)
