"""Which crops are worth learning from: windows drawn at random, those with much soft tissue refused."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.errors import InputError

Size = tuple[int, int, int]


@dataclass(frozen=True)
class CropRule:
    """The published rule (Models Genesis; models.md 4.2).

    Windows of ``size`` and ``depth_slices`` further slices keep ``margins`` voxels from the borders of the scan. A
    window is refused when its depth map sums to more than ``most_soft`` of its volume: soft tissue counts, lung does
    not. For ``per_scan`` crops at most ``attempts`` times as many windows are drawn.

    Where a scan is so small that the margin of an axis leaves no place, a quarter of what is free is kept on each side:
    the published scans are 512 voxels wide, and there that is the published margin, but for a tenth.
    """

    size: Size = (64, 64, 32)
    per_scan: int = 32
    attempts: int = 50
    margins: Size = (100, 100, 30)
    depth_slices: int = 3
    soft_hu: float = -150.0
    most_soft: float = 0.15

    def __post_init__(self) -> None:
        if min(self.size) < 16 or any(side % 8 for side in self.size):
            raise InputError(
                f"Crops of {' x '.join(map(str, self.size))} voxels cannot be used.",
                "Give three sides that are multiples of 8 and at least 16.",
            )

    @property
    def window(self) -> Size:
        """What is drawn: the crop, and the slices beyond it that its depth map looks at."""
        x, y, z = self.size
        return x, y, z + self.depth_slices


def draw_crops(levels: np.ndarray, soft_level: float, rule: CropRule, rng: np.random.Generator) -> np.ndarray:
    """Crops of a scan (i, j, k), as (n, X, Y, Z) of its type, n up to ``rule.per_scan``; 0 where none is fit.

    ``soft_level`` is the value from which on a voxel is soft tissue.

    Raises:
        InputError: the scan is smaller than a window.
    """
    ranges = [_starts(n, w, m) for n, w, m in zip(levels.shape, rule.window, rule.margins, strict=True)]
    crops: list[np.ndarray] = []
    for _ in range(rule.attempts * rule.per_scan):
        if len(crops) == rule.per_scan:
            break
        start = [int(rng.integers(low, high)) for low, high in ranges]
        window = levels[tuple(slice(s, s + w) for s, w in zip(start, rule.window, strict=True))]
        if depth_share(window >= soft_level, rule.depth_slices) <= rule.most_soft:
            crops.append(window[:, :, : rule.size[2]])
    return np.stack(crops) if crops else np.empty((0, *rule.size), levels.dtype)


def depth_share(soft: np.ndarray, slices: int = 3) -> float:
    """Mean of the depth map of a window: bool (X, Y, Z + ``slices``) -> 0..1.

    A voxel of the map is 1 - k / (slices - 1), k being the first of its own and the next slices along the third axis
    that is soft tissue there, and 0 where none is.
    """
    depth = soft.shape[2] - slices
    first = np.full((*soft.shape[:2], depth), slices - 1, np.uint8)
    for k in reversed(range(slices)):
        first[soft[:, :, k : k + depth]] = k
    return float(1 - first.mean(dtype=np.float64) / (slices - 1))


def _starts(extent: int, window: int, margin: int) -> tuple[int, int]:
    """Where a window may begin along an axis: first place, and one beyond the last."""
    free = extent - window
    if free < 0:
        raise InputError(
            f"It has {extent} voxels along one axis, and a window needs {window}.",
            "Leave it out, or use smaller crops.",
        )
    if free < 2 * margin:
        margin = free // 4
    return margin, free - margin + 1
