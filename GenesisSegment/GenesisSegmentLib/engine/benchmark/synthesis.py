"""Synthetic lesions of a liver, and their texture, beside the straightforward SciPy version of the same steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

from ...core.jobs import Job
from ..synthesis.drawing import Plan, draw_plan
from ..synthesis.lattice import Lattice
from ..synthesis.planting import planted
from ..synthesis.shapes import PLANES
from ..synthesis.textures import GRAINS, chances_from, scaled, texture
from .figures import Figure
from .measure import race
from .setting import Setting

SIZES = ("tiny", "small", "medium", "large", "mix")
_WHOLE_MM = (220, 200, 170)
"""Box of a liver."""
_GRAIN = 3
"""The texture that is raced: its sigmas are in the middle of the ranges."""


def a_liver(share: float) -> tuple[np.ndarray, np.ndarray]:
    """A CT float32 (X, Y, Z) at 1 mm, cut to an organ, and the organ, bool; ``share`` of the length of a liver."""
    shape = tuple(round(share * n) for n in _WHOLE_MM)
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    organ = x[:, None, None] ** 2 + y[:, None] ** 2 + z**2 + 0.5 * x[:, None, None] * y[:, None] <= 1
    noise = np.random.default_rng(0).normal(0, 15, shape).astype(np.float32)
    return np.where(organ, 110, -100).astype(np.float32) + noise, organ


def plans(organ: np.ndarray) -> list[Plan]:
    """One case of each size."""
    return [draw_plan("liver", organ, np.random.default_rng(n), size) for n, size in enumerate(SIZES)]


def by_scipy(hu: np.ndarray, organ: np.ndarray, plan: Plan, grains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CT and lesions as they are made plainly: shapes resampled three times, then all filters on the whole box.

    ``grains`` is the texture at 1 mm where the organ is.
    """
    lesion = np.zeros(organ.shape, bool)
    for each in plan.lesions:
        shape = _ellipsoid(each.radii)
        for plane, nodes in zip(PLANES, each.nodes, strict=True):
            shape = _deformed(shape, plane, nodes)
        _paste(lesion, shape, each.centre, each.radii)
    lesion &= organ
    soft = ndimage.gaussian_filter(lesion.astype(np.float32), plan.edge_mm, mode="constant")
    return hu - grains * soft * plan.difference_hu * organ, lesion


def _ellipsoid(radii: tuple[int, int, int]) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(-2 * r, 2 * r + 1) for r in radii), indexing="ij")
    squares = np.array([(a / r) ** 2 for a, r in zip(axes, radii, strict=True)])
    return (squares.sum(axis=0) <= 1 + 1e-9).astype(np.float32)


def _deformed(shape: np.ndarray, plane: tuple[int, int], nodes: np.ndarray) -> np.ndarray:
    """One elastic deformation: moved in the plane by a cubic spline, then the nearest neighbour of the shape."""
    at = list(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape.shape), indexing="ij"))
    on_nodes = np.meshgrid(*(np.linspace(0, 2, shape.shape[axis]) for axis in plane), indexing="ij")
    across = ({0, 1, 2} - set(plane)).pop()
    for axis, part in zip(plane, nodes, strict=True):
        moved = ndimage.map_coordinates(part, on_nodes, order=3, mode="mirror")
        at[axis] = at[axis] + np.expand_dims(moved, across)
    return ndimage.map_coordinates(shape, at, order=0, mode="constant")


def _paste(lesion: np.ndarray, shape: np.ndarray, centre: tuple[int, int, int], radii: tuple[int, int, int]) -> None:
    first = [c - 2 * r for c, r in zip(centre, radii, strict=True)]
    low = [max(0, f) for f in first]
    high = [min(n, f + m) for n, f, m in zip(lesion.shape, first, shape.shape, strict=True)]
    inside = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
    lesion[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= shape[inside] > 0


def texture_by_scipy(number: int, shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """A texture float32 as described, every voxel of it."""
    sigma_a, sigma_b = GRAINS[number]
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random(shape, dtype=np.float32), sigma_a, mode="wrap")
    sample = (rng.random(shape, dtype=np.float32) < chances_from(noise, rng)).astype(np.float32)
    return scaled(ndimage.gaussian_filter(sample, sigma_b, mode="wrap"), rng)


def spread_agreement(plain: np.ndarray, ours: np.ndarray) -> float:
    """How alike two textures vary: 1 less the largest relative difference of spread and of steepness."""
    pairs = [(a.std(), b.std()) for a, b in [(plain, ours), *zip(np.gradient(plain), np.gradient(ours), strict=True)]]
    return float(1 - max(abs(b - a) / a for a, b in pairs))


def synthesis(setting: Setting, job: Job) -> Iterable[Figure]:
    """Lesions of every size in one organ, and the texture that they are cut from."""
    hu, organ = a_liver(setting.liver_share)
    drawn = plans(organ)
    lattice = Lattice.whole(organ.shape)
    pairs = [(plan, texture(plan.texture).crop(plan.start, organ.shape)) for plan in drawn]
    found = race(
        lambda: [by_scipy(hu, organ, plan, grains) for plan, grains in pairs],
        lambda: [planted(hu, organ, plan, lattice) for plan in drawn],
        setting.rounds,
        job.check,
    )
    results = list(zip(found.plain_result, found.our_result, strict=True))
    masks = np.mean([np.mean(lesion == ours.lesion) for (_hu, lesion), ours in results])
    close = np.mean([np.mean(np.abs(values - ours.hu) < 0.01) for (values, _l), ours in results])
    by = " x ".join(map(str, organ.shape))
    note = "plain: SciPy, the same drawn numbers; agreement: voxels of equal label and within 0.01 HU"
    lesions = sum(len(plan.lesions) for plan in drawn)
    metric = f"Synthetic lesions, 5 CTs with {lesions}, liver in {by}"
    yield from found.figures(metric, float(min(masks, close)), 1.0, note, 10.0)
    shape = setting.texture_shape
    made = race(
        lambda: texture_by_scipy(_GRAIN, shape),
        lambda: texture.__wrapped__(_GRAIN, 0, shape),
        setting.rounds,
        job.check,
    )
    ours = made.our_result.crop((0, 0, 0), shape)
    metric = f"Texture of lesions, {' x '.join(map(str, shape))} mm"
    note = "plain: every voxel; agreement: of spread and steepness, as both are random"
    yield from made.figures(metric, spread_agreement(made.plain_result, ours), 0.75, note, 10.0)
