"""What the network has to undo: flips, local shuffling, non-linear intensities, in- and out-painting.

The published distortions, in their order (Zhou et al., "Models Genesis", 2021; models.md 4.2). Only flips reach the
target. Crops come as levels (see :mod:`.levels`) and leave as float32 in 0..1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from .levels import LEVELS, values

Rng = np.random.Generator

MARGIN = 3
"""Painted blocks and windows keep this many voxels from the borders."""
_CURVE_SAMPLES = 100_000
_INSIDE_BITS, _RANDOM_BITS = 14, 28
_BLOCK_SHIFT = _INSIDE_BITS + _RANDOM_BITS


@dataclass(frozen=True)
class DistortionRecipe:
    """The published probabilities and numbers."""

    flip: float = 0.4
    most_flips: int = 3
    shuffle: float = 0.5
    shuffled_blocks: int = 10_000
    curve: float = 0.9
    inverted: float = 0.5
    paint: float = 0.9
    inpaint: float = 0.2
    most_blocks: int = 5
    next_block: float = 0.95


def distort(levels: np.ndarray, recipe: DistortionRecipe, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A crop as uint16 levels (X, Y, Z) -> what the network sees and what it should restore, float32 in 0..1."""
    levels = flip(levels, recipe, rng)
    target = values(levels)
    if rng.random() < recipe.shuffle:
        levels = shuffle_locally(levels, recipe.shuffled_blocks, rng)
    image = values(levels)
    if rng.random() < recipe.curve:
        image = intensity_table(rng.random((2, 2)), is_inverted=rng.random() < recipe.inverted)[levels]
    if rng.random() < recipe.paint:
        paint = paint_inside if rng.random() < recipe.inpaint else paint_outside
        image = paint(image, recipe, rng)
    return np.ascontiguousarray(image), np.ascontiguousarray(target)


def flip(levels: np.ndarray, recipe: DistortionRecipe, rng: Rng) -> np.ndarray:
    """Flips along random axes, while draws succeed."""
    for _ in range(recipe.most_flips):
        if rng.random() >= recipe.flip:
            break
        levels = np.flip(levels, int(rng.integers(3)))
    return levels


def shuffle_locally(levels: np.ndarray, blocks: int, rng: Rng) -> np.ndarray:
    """The voxels of many small blocks, each block permuted in itself; of overlapping blocks the later one wins.

    Sides are drawn per axis from 1 to a tenth of the crop's. All blocks are read from the crop as it came in.
    """
    shape = np.array(levels.shape)
    longest = np.maximum(shape // 10, 1)
    sides = rng.integers(1, longest, (blocks, 3), endpoint=True)
    corners = rng.integers(0, shape - sides, endpoint=True)
    offsets, firsts = _block_offsets(levels.shape, tuple(longest.tolist()))
    counts = sides.prod(axis=1)
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    # One sort permutes every block: by block, then at random; the lowest bits carry who it is.
    keys = np.repeat(np.arange(blocks) << _BLOCK_SHIFT, counts)
    keys |= rng.integers(0, 1 << _RANDOM_BITS, len(keys), dtype=np.uint32).astype(np.int64) << _INSIDE_BITS
    keys |= inside
    keys.sort()
    permuted = keys & ((1 << _INSIDE_BITS) - 1)
    first = np.repeat(firsts[tuple((sides - 1).T)], counts)
    corner = np.repeat(np.ravel_multi_index(tuple(corners.T), levels.shape), counts)
    places, source = corner + offsets[first + inside], corner + offsets[first + permuted]
    # The later of two blocks. Plain assignment would not promise which value stays.
    latest = np.full(levels.size, -1)
    np.maximum.at(latest, places, np.arange(len(places)))
    is_covered = latest >= 0
    flat = levels.ravel()
    out = flat.copy()
    out[is_covered] = flat[source[latest[is_covered]]]
    return out.reshape(levels.shape)


def intensity_table(controls: np.ndarray, is_inverted: bool) -> np.ndarray:
    """What becomes of each level, float32 in 0..1: a cubic Bezier curve from (1, 1) to (0, 0).

    ``controls`` (2, 2) are its inner control points, row by row (x, y) in 0..1. Its samples are sorted by x. Where the
    curve ``is_inverted``, y stays as it was drawn, so that 0 becomes 1 and 1 becomes 0; else y is sorted as well.
    """
    ends = np.array([[1.0, 1.0], [0.0, 0.0]])
    x, y = np.vstack([ends[:1], controls, ends[1:]]).T @ _bernstein()
    # With control points in 0..1 both only fall along the curve: to turn them round is to sort them.
    rising = np.interp(np.arange(LEVELS + 1) / LEVELS, x[::-1], y if is_inverted else y[::-1])
    return rising.astype(np.float32)


def paint_inside(image: np.ndarray, recipe: DistortionRecipe, rng: Rng) -> np.ndarray:
    """Noise in up to ``most_blocks`` blocks with sides of a sixth to a third; the crop itself stays as it is."""
    out = image.copy()
    for _ in range(recipe.most_blocks):
        if rng.random() >= recipe.next_block:
            break
        block = _placed([int(rng.integers(n // 6, n // 3, endpoint=True)) for n in out.shape], out.shape, rng)
        out[block] = rng.random(out[block].shape, np.float32)
    return out


def paint_outside(image: np.ndarray, recipe: DistortionRecipe, rng: Rng) -> np.ndarray:
    """Noise everywhere but in up to ``most_blocks`` windows, the first of them certain; each leaves out 3/7 to 4/7."""
    out = rng.random(image.shape, np.float32)
    for number in range(recipe.most_blocks):
        if number and rng.random() >= recipe.next_block:
            break
        sides = [n - int(rng.integers(3 * n // 7, 4 * n // 7, endpoint=True)) for n in image.shape]
        window = _placed(sides, image.shape, rng)
        out[window] = image[window]
    return out


def _placed(sides: list[int], shape: tuple[int, ...], rng: Rng) -> tuple[slice, ...]:
    """A box of these sides at a random place that keeps the margin."""
    starts = [int(rng.integers(MARGIN, n - side - MARGIN, endpoint=True)) for side, n in zip(sides, shape, strict=True)]
    return tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


@cache
def _block_offsets(shape: tuple[int, ...], longest: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Flat offsets of the voxels of a block of every size, one after the other, and where those of (x, y, z) begin."""
    grid = np.arange(np.prod(shape)).reshape(shape)
    parts, firsts, count = [], np.empty(longest, dtype=np.int64), 0
    for size in np.ndindex(longest):
        part = grid[tuple(slice(n + 1) for n in size)].ravel()
        firsts[size] = count
        parts.append(part)
        count += len(part)
    return np.concatenate(parts), firsts


@cache
def _bernstein() -> np.ndarray:
    """The four cubic Bernstein polynomials at all samples: (4, samples)."""
    t = np.linspace(0.0, 1.0, _CURVE_SAMPLES)
    u = 1 - t
    return np.stack([u**3, 3 * u**2 * t, 3 * u * t**2, t**3])
