"""From a plan to a lesion: which voxels it takes, and by how much the CT changes there, at 1 mm.

Only the box of each lesion is touched: the soft mask of a union is the sum of the soft masks of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.geometry import Box
from ..components import largest
from .drawing import Lesion, Plan, rules_of
from .shapes import lesion_shape
from .textures import Texture

TRUNCATE = 4.0
"""Where the gaussian of the soft mask ends, in its sigmas."""
RIM = (0.3, 0.7)
"""Values of the soft mask between which a capsule lies."""
_RIM_MM = 0.6
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Blend:
    """What a plan does to a CT at 1 mm. Arrays are (X, Y, Z) on the grid of the organ's mask.

    ``lesion`` bool. HU fall by ``lowering``, float32, after they were drawn by ``fill`` (0..1, or None) towards the HU
    of the organ. ``boxes`` hold every voxel that changes, one for each lesion
    that has any.
    """

    lesion: np.ndarray
    lowering: np.ndarray
    fill: np.ndarray | None
    boxes: tuple[Box, ...]
    volumes: tuple[int, ...]


def blended(plan: Plan, organ: np.ndarray, texture: Texture, tissue: np.ndarray | None = None) -> Blend:
    """Lesion and change of HU for a plan that was drawn for this ``organ``, bool (X, Y, Z) at 1 mm.

    ``tissue``, bool, is where lesions that leave the organ may go. ``volumes`` of the result are those of the lesions
    in voxels, of what none before has taken.
    """
    lesion, soft = np.zeros(organ.shape, bool), np.zeros(organ.shape, np.float32)
    whole = organ.copy() if tissue is not None else organ
    reach = int(TRUNCATE * plan.edge_mm + 0.5)
    boxes, volumes = [], []
    for each in plan.lesions:
        placed = _placed(each, organ.shape)
        if placed is None:
            volumes.append(0)
            continue
        shape, box = placed
        room = organ[box.slices]
        if each.leaves and tissue is not None:
            room = room | tissue[box.slices]
            around = box.grown(reach, organ.shape).slices
            whole[around] |= tissue[around]
        shape &= room
        shape &= ~lesion[box.slices]
        if each.leaves:  # what grew around a muscle, and is joined to the rest by it alone, is no part of it
            shape = largest(shape)
        lesion[box.slices] |= shape
        volumes.append(int(np.count_nonzero(shape)))
        if inner := Box.around(shape):
            wide = _moved(inner, box.start).grown(reach, organ.shape)
            soft[wide.slices] += softened(lesion_part(shape, box, wide), plan.edge_mm)
            boxes.append(wide)
    lowering = np.zeros(organ.shape, np.float32)
    for box in boxes:
        lowering[box.slices] = _lowering(plan, texture, soft[box.slices], box) * whole[box.slices]
    fill = soft * whole if rules_of(plan.organ).is_filled else None
    return Blend(lesion, lowering, fill, tuple(boxes), tuple(volumes))


def softened(shape: np.ndarray, sigma: float) -> np.ndarray:
    """The gaussian of a shape, bool (X, Y, Z), float32, as SciPy's with zeros around.

    Products with banded matrices in blocks, which take half the time of SciPy's loops.
    """
    values = shape.astype(np.float32)
    for axis, n in enumerate(shape.shape):
        matrix, reach = _gaussian(n, sigma)
        result = np.empty_like(values)
        for a in range(0, n, _BLOCK):
            b, low, high = min(n, a + _BLOCK), max(0, a - reach), min(n, a + _BLOCK + reach)
            weights = matrix[a:b, low:high]
            if axis == 0:
                np.matmul(weights, values[low:high].reshape(high - low, -1), out=result[a:b].reshape(b - a, -1))
            elif axis == 1:
                result[:, a:b] = np.matmul(weights, values[:, low:high])
            else:
                result[..., a:b] = np.matmul(values[..., low:high], weights.T)
        values = result
    return values


def _gaussian(count: int, sigma: float) -> tuple[np.ndarray, int]:
    """What each of ``count`` voxels in a row weighs in each of them, and how far that reaches."""
    reach = int(TRUNCATE * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    apart_by = np.arange(count)[None] - np.arange(count)[:, None]
    near = np.clip(apart_by + reach, 0, 2 * reach)
    return np.where(np.abs(apart_by) <= reach, kernel[near], 0).astype(np.float32), reach


def _lowering(plan: Plan, texture: Texture, soft: np.ndarray, box: Box) -> np.ndarray:
    start = tuple(a + b for a, b in zip(plan.start, box.start, strict=True))
    lowering = texture.crop(start, box.shape)
    lowering *= soft
    lowering *= plan.difference_hu
    if plan.capsule_hu:
        rim = ((soft > RIM[0]) & (soft < RIM[1])).astype(np.float32)
        lowering -= plan.capsule_hu * ndimage.gaussian_filter(rim, _RIM_MM)
    return lowering


def _placed(lesion: Lesion, shape: tuple[int, ...]) -> tuple[np.ndarray, Box] | None:
    """The voxels of a lesion that lie on the grid, and their box there."""
    whole = lesion_shape(lesion.radii, lesion.nodes)
    first = [c - n // 2 for c, n in zip(lesion.centre, whole.shape, strict=True)]
    inner = Box.around(whole)
    if inner is None:
        return None
    box = _moved(inner, first).common(Box.whole(shape))  # type: ignore[arg-type]
    if box is None:
        return None
    local = tuple(slice(a - f, b - f) for a, b, f in zip(box.start, box.stop, first, strict=True))
    return whole[local].copy(), box


def lesion_part(shape: np.ndarray, box: Box, wide: Box) -> np.ndarray:
    """The part of a ``shape``, which lies in ``box``, that lies in ``wide``: bool on the voxels of ``wide``."""
    part = np.zeros(wide.shape, bool)
    common = box.common(wide)
    if common is not None:
        part[common.within(wide)] = shape[common.within(box)]
    return part


def _moved(box: Box, by: tuple[int, ...] | list[int]) -> Box:
    start = tuple(a + b for a, b in zip(box.start, by, strict=True))
    stop = tuple(a + b for a, b in zip(box.stop, by, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


def apart(boxes: tuple[Box, ...], gap: int) -> Iterator[Box]:
    """Boxes that hold these and lie more than ``gap`` voxels apart."""
    left = list(boxes)
    while left:
        box = left.pop()
        while touching := [b for b in left if _gap(box, b) <= gap]:
            left = [b for b in left if b not in touching]
            box = Box.joined([box, *touching])
        yield box


def _gap(one: Box, other: Box) -> int:
    """Voxels between two boxes along the axis where they are furthest apart."""
    sides = zip(one.start, one.stop, other.start, other.stop, strict=True)
    return max(max(c - b, a - d) for a, b, c, d in sides)
