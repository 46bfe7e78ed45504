"""The two lungs told apart: as published, and without the published faults.

The published rule (of the Universal Model's release, Liu et al., ICCV 2023) takes the union of both lung channels,
keeps its two largest components and calls the one with the smaller mean first index left. It loses both lungs where
there is one component, and gives both lungs to one class where joined lungs come with a fragment. All masks are boolean
arrays (i, j, k) on RAS axes: the first index grows towards the patient's right. ``middle`` is the first index that lies
right of the body's midline.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .components import components, depth, fill_holes, largest, nearest_seed

FACTOR = 4.0
"""One lung over this many times the other is not believed, as in AbdomenAtlas."""
SMALLEST_SHARE = 0.02
"""Safe: components smaller than this share of the largest one are not lung."""
PIECE_SHARE = 0.1
"""Safe: pieces smaller than this share of the largest piece on their side are not lung."""
JUNCTION_MM = 10.0
"""Safe: erosion by more than this is not needed to part lungs that touch at a junction line."""

Lungs = tuple[np.ndarray, np.ndarray]
"""The right and the left lung."""
Check = Callable[[], None]
"""Is called between steps, and may raise to stop."""


def published(union: np.ndarray) -> Lungs:
    """The two largest components; both lungs are empty where there are fewer than two."""
    found = components(union)
    if len(found) < 2:
        return np.zeros_like(union), np.zeros_like(union)
    left, right = np.argsort(found.centroids[:2, 0], kind="stable")
    return found.mask(right), found.mask(left)


def abdomenatlas(union: np.ndarray, middle: int, voxel_scale: float = 1.0, check: Check = lambda: None) -> Lungs:
    """The published rule, then holes filled and lungs of very unequal size repaired, as in AbdomenAtlas.

    ``union`` must cover the whole third axis, because areas are compared slice by slice. ``voxel_scale`` multiplies
    the area of 200 voxels, which is stated at 1.5 mm. Where erosion runs out before the mask falls into two parts,
    which the published description leaves open, the lungs stay as they are.
    """
    right, left = (fill_holes(lung) for lung in published(union))
    while _over(right.sum(), left.sum()) or _over(left.sum(), right.sum()):
        check()
        large = right if right.sum() > left.sum() else left
        side = _clear_side(large, middle)
        if side:
            nothing = np.zeros_like(large)
            return (large, nothing) if side > 0 else (nothing, large)
        bulky = _bulky_slices(large.sum(axis=(0, 1)), 200 * voxel_scale)
        if bulky.any():
            union = right | left
            union[..., bulky] = False
            right, left = published(union)
        else:
            seeds = _eroded_seeds(large, limit=None, check=check)
            if seeds is None:
                break
            nearer = nearest_seed(large, seeds[1], seeds[0], (1.0, 1.0, 1.0), check)
            right, left = nearer > 0, nearer < 0
        right, left = fill_holes(right), fill_holes(left)
    return right, left


def safe(
    right: np.ndarray, left: np.ndarray, middle: int, spacing_mm: Sequence[float], check: Check = lambda: None
) -> Lungs:
    """Every sizeable piece of lung on its side of the body; lungs that touch are parted; holes are filled.

    A component that holds two lungs is cut: from the channels where each names a lung of its own side by side, else by
    erosion where it lies on both sides of the midline. A piece goes to the side of the midline where it lies by over
    4 : 1; the channels decide only where its position does not. Where all pieces lie on one side (a scan that is not
    centred) and the channels name two lungs, the order from left to right decides.
    """
    found = components(right | left)
    pieces: list[_Piece] = []
    for rank in np.flatnonzero(found.sizes >= SMALLEST_SHARE * found.sizes.max(initial=0)).tolist():
        check()
        pieces += _pieces(found.mask(rank), right, left, middle, spacing_mm, check)
    sides = _by_order(pieces) or [p.side for p in pieces]
    lungs = []
    for side in (1, -1):
        check()
        lung = np.zeros_like(right)
        for piece, own in zip(pieces, sides, strict=True):
            if own == side:
                lung |= piece.mask
        lungs.append(largest(lung, count=None, share=PIECE_SHARE))
    check()
    right_filled = fill_holes(lungs[0]) & ~lungs[1]
    check()
    return right_filled, fill_holes(lungs[1]) & ~lungs[0]


@dataclass(frozen=True, eq=False)
class _Piece:
    """A piece of lung: its side (1 right, -1 left), mean first index, and what the channels call it (0 if unclear)."""

    mask: np.ndarray
    side: int
    mean: float
    named: int


def _pieces(
    part: np.ndarray, right: np.ndarray, left: np.ndarray, middle: int, spacing_mm: Sequence[float], check: Check
) -> list[_Piece]:
    votes = int((part & right).sum()), int((part & left).sum())
    named = int(_over(*votes)) - int(_over(*votes[::-1]))
    seeds = None
    if not named:
        seeds = _pair(largest(part & right & ~left), largest(part & left & ~right), part)
    if seeds is None and not _clear_side(part, middle):
        seeds = _eroded_seeds(part, limit=max(1, round(JUNCTION_MM / max(spacing_mm))), across=part, check=check)
    if seeds is not None:
        nearer = nearest_seed(part, seeds[1], seeds[0], spacing_mm, check)
        right_half, left_half = nearer > 0, part & (nearer <= 0)
        return [_Piece(right_half, 1, _mean(right_half), 1), _Piece(left_half, -1, _mean(left_half), -1)]
    side = _clear_side(part, middle) or int(np.sign(votes[0] - votes[1])) or (1 if _mean(part) >= middle - 0.5 else -1)
    return [_Piece(part, side, _mean(part), named)]


def _by_order(pieces: list[_Piece]) -> list[int] | None:
    """Sides by order along the first axis, where all pieces lie on one side yet the channels name two lungs."""
    if len({p.side for p in pieces}) != 1 or not {p.named for p in pieces} >= {-1, 1}:
        return None
    means = sorted(p.mean for p in pieces)
    gaps = np.diff(means)
    widest = int(np.argmax(gaps))
    occupied = np.flatnonzero(np.logical_or.reduce([p.mask.any(axis=(1, 2)) for p in pieces]))
    if gaps[widest] < (occupied[-1] - occupied[0] + 1) / 4:
        return None
    return [1 if p.mean > means[widest] else -1 for p in pieces]


def _eroded_seeds(
    mask: np.ndarray, limit: int | None, across: np.ndarray | None = None, check: Check = lambda: None
) -> Lungs | None:
    """The first erosion after which the two largest components differ by at most a factor 4.

    At most ``limit`` erosions; with ``across``, the components must also lie side by side in that mask.
    """
    survives = depth(mask)
    for erosions in range(1, min(limit or survives.max(), survives.max() - 1) + 1):
        check()
        seeds = published(survives > erosions)
        sizes = seeds[0].sum(), seeds[1].sum()
        if min(sizes) == 0 or _over(max(sizes), min(sizes)):
            continue
        if across is None or _pair(*seeds, across) is not None:
            return seeds
    return None


def _pair(right: np.ndarray, left: np.ndarray, whole: np.ndarray) -> Lungs | None:
    """Both masks if they can be the two lungs in ``whole``: within a factor 4, and side by side with left lower."""
    sizes = int(right.sum()), int(left.sum())
    if min(sizes) == 0 or max(sizes) > FACTOR * min(sizes):
        return None
    occupied = np.flatnonzero(whole.any(axis=(1, 2)))
    apart = _mean(right) - _mean(left) >= (occupied[-1] - occupied[0] + 1) / 4
    return (right, left) if apart else None


def _clear_side(mask: np.ndarray, middle: int) -> int:
    """1 or -1 where over four fifths of the mask lie right or left of the midline, 0 where it is not clear."""
    per_index = mask.sum(axis=(1, 2))
    low, high = int(per_index[: max(0, middle)].sum()), int(per_index[max(0, middle) :].sum())
    return int(_over(high + 1, low + 1)) - int(_over(low + 1, high + 1))


def _bulky_slices(areas: np.ndarray, excess: float) -> np.ndarray:
    """Slices above mean + 2 sd of the 20 slices around and above the mean of the 7 around by over ``excess``."""
    near = [areas[max(0, k - 3) : k + 4].mean() for k in range(len(areas))]
    wide = [areas[max(0, k - 10) : k + 10] for k in range(len(areas))]
    limit = np.array([w.mean() + 2 * w.std() for w in wide])
    return (areas > limit) & (areas - np.array(near) > excess)


def _over(one: float, other: float) -> bool:
    return one > FACTOR * other


def _mean(mask: np.ndarray) -> float:
    """Mean first index of a mask."""
    per_index = mask.sum(axis=(1, 2))
    return float((per_index * np.arange(len(per_index))).sum() / max(1, per_index.sum()))
