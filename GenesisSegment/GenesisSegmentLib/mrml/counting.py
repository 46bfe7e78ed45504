"""What takes a look at every voxel, some planes at a time: changes to the proposal, and overlaps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.layers import overlaps
from ..core.pieces import Pieces, finished
from ..core.segmentation import MOST_CLASSES
from .nodes import volume_of
from .proposal import proposal_of, proposals_of
from .reading import BitPlanes
from .volumes import placement
from .writing import class_numbers

_PLANES = 2
"""Planes that are looked at in a piece: of 512 x 512 voxels, they take a millisecond or two."""
Pairs = tuple[tuple[int, int], ...]


def counting(node: Any) -> Pieces[dict[str, int]]:
    """Voxels by which each segment that a model wrote differs from its proposal, by segment ID.

    A segment whose proposal is no longer known is left out. Planes that are stored as the proposal is, nearly all of
    them, are not looked at closely.
    """
    if proposal_of(node) is None:
        return {}
    numbers, grid = class_numbers(node), placement(volume_of(node)).geometry
    proposals = proposals_of(node)
    numbers = {segment_id: index for segment_id, index in numbers.items() if segment_id in proposals}
    before = BitPlanes((), grid.shape)
    for kept in {kept.GetID(): kept for kept, _id in proposals.values()}.values():
        chosen = {i: numbers[s] for s, (owner, i) in proposals.items() if owner is kept}
        before += BitPlanes.of(kept, grid, chosen)
        yield
    now, counts = BitPlanes.of(node, grid, numbers), dict.fromkeys(numbers.values(), 0)
    for k0, k1 in now.slabs(_PLANES):
        if not now.are_stored_alike(before, k0, k1):
            _count(now.bits(k0, k1) ^ before.bits(k0, k1), counts)
        yield
    return {segment_id: counts[index] for segment_id, index in numbers.items()}


def count_changes(node: Any) -> dict[str, int]:
    """What :func:`counting` counts, at once."""
    return finished(counting(node))


def overlapping(node: Any) -> Pieces[Pairs]:
    """Pairs of classes that share voxels, each pair ascending."""
    planes = BitPlanes.of(node, placement(volume_of(node)).geometry, class_numbers(node))
    pairs: set[tuple[int, int]] = set()
    for k0, k1 in planes.slabs(_PLANES):
        if planes.are_shared(k0, k1):
            for index, met in overlaps(planes.bits(k0, k1)).items():
                pairs |= {(index, c) for c in range(index + 1, MOST_CLASSES + 1) if met >> (c - 1) & 1}
        yield
    return tuple(sorted(pairs))


def _count(differs: np.ndarray, counts: dict[int, int]) -> None:
    differs = differs[differs != 0]
    if differs.size:
        for index in counts:
            counts[index] += int(np.count_nonzero(differs >> np.uint32(index - 1) & np.uint32(1)))
