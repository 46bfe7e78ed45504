"""The texture of lesions: smooth grains in 0..1, made once per process and cut at random (models.md 7.1).

The published texture is made voxel by voxel at 1 mm, 420 x 300 x 320: uniform noise, a gaussian of ``sigma_a``, scaled
to a range of probabilities, a Bernoulli sample, and a gaussian of ``sigma_b``. What comes out is smooth, and what goes
in is smooth but for the Bernoulli sample. So the first noise is made in steps of its sigma, and of the sample only the
sum over blocks of 2 x 2 x 2 is kept, of which the second gaussian is taken: the same field in distribution for a
fraction of the work. All filters go around the borders, so that a crop may lie, and end, anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy import ndimage

SHAPE = (420, 300, 320)
STEP = 2
"""Millimetres between the samples that are kept."""
SIGMAS_A, SIGMAS_B = (3.0, 6.0, 9.0, 12.0, 15.0), (4.0, 7.0)
GRAINS = tuple(product(SIGMAS_A, SIGMAS_B))
"""Both sigmas of each of the ten textures."""
RANGE, BASE, MEAN, FLOOR = (0.19, 0.21), (0.04, 0.06), (0.5, 0.55), 0.12
_COARSE = 2 / 3
"""Step of the first noise in its own sigmas."""


@dataclass(frozen=True, eq=False)
class Texture:
    """Grains uint8, 255 being 1, in steps of 2 mm; periodic."""

    values: np.ndarray

    def crop(self, start: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
        """float32 (X, Y, Z) in 0..1 at 1 mm from the position ``start`` on, in mm, which may be anywhere."""
        index = [np.arange(a // STEP, -(-(a + n) // STEP) + 1) % m for a, n, m in self._sides(start, shape)]
        values = self.values[np.ix_(*index)].astype(np.float32) / 255
        for axis, (a, n, _m) in enumerate(self._sides(start, shape)):
            values = _doubled(values, axis, a % STEP, n)
        return values

    def _sides(self, start: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
        return list(zip(start, shape, self.values.shape, strict=True))


def _doubled(values: np.ndarray, axis: int, first: int, count: int) -> np.ndarray:
    """Linear interpolation to half the step along an axis: ``count`` samples from the one numbered ``first`` on."""
    values = np.moveaxis(values, axis, 0)
    fine = np.empty((STEP * len(values) - 1, *values.shape[1:]), np.float32)
    fine[::STEP] = values
    np.add(values[:-1], values[1:], out=fine[1::STEP])
    fine[1::STEP] *= 0.5
    return np.moveaxis(fine[first : first + count], 0, axis)


@cache
def texture(number: int, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Texture:
    """One of the ten textures of a bank, made when it is first asked for; ``shape`` in mm, even."""
    sigma_a, sigma_b = GRAINS[number]
    rng = np.random.default_rng((seed, number))
    chance = _chances(tuple(n // STEP for n in shape), sigma_a, rng)
    sums = _block_sums(chance, rng)
    # A block is itself a box filter, of variance (2^2 - 1) / 12: the rest of the gaussian's is left to do.
    rest = np.sqrt(sigma_b**2 - (STEP**2 - 1) / 12) / STEP
    grains = ndimage.gaussian_filter(sums, rest, mode="wrap")
    return Texture(np.rint(255 * scaled(grains, rng)).astype(np.uint8))


def scaled(grains: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grains whose mean, where they are above 0.12, is drawn from 0.5..0.55; clipped to 0..1."""
    mean = float(grains[grains > FLOOR].mean())
    return np.clip(grains * (rng.uniform(*MEAN) / mean), 0, 1)


def chances_from(noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise as probabilities: its whole range scaled to a width of about 0.2 above about 0.05."""
    low, high = float(noise.min()), float(noise.max())
    width, base = rng.uniform(*RANGE), rng.uniform(*BASE)
    return (noise - low) * (width / (high - low)) + base


def _chances(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Probabilities float32 at every block of a grid of ``shape``, of a correlation length ``sigma`` in mm."""
    step = max(1, int(_COARSE * sigma / STEP))
    coarse = tuple(-(-n // step) for n in shape)
    noise = ndimage.gaussian_filter(rng.random(coarse, dtype=np.float32), sigma / STEP / step, mode="wrap")
    for axis, (n, m) in enumerate(zip(shape, coarse, strict=True)):
        noise = _stretched(noise, axis, n, m)
    return chances_from(noise, rng)


def _stretched(values: np.ndarray, axis: int, count: int, coarse: int) -> np.ndarray:
    """Linear interpolation of a periodic field to ``count`` samples along an axis."""
    at = np.arange(count) * (coarse / count)
    low = at.astype(int)
    share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    return values.take(low, axis) * (1 - share) + values.take((low + 1) % coarse, axis) * share


def _block_sums(chance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean of a Bernoulli sample over each block of 2 x 2 x 2 voxels, float32."""
    limit = np.rint(chance * 65536).astype(np.uint16)
    hits = np.zeros(chance.shape, np.uint8)
    for _n in range(STEP**3):
        hits += rng.integers(0, 65536, chance.shape, np.uint16) < limit
    return hits.astype(np.float32) / STEP**3
