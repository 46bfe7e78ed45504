"""The head learns on cached features: a frozen backbone says the same of a window every time.

What the backbone says is kept, in bf16, for a crop around the edit: the bottleneck of the whole window, from which the
numbers of the classes are made anew in each step, and the features of the crop, normalised by the whole window. So the
gradients of the head are those of a whole step whose loss is taken over the crop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..networks.universal import UniversalModel
from .network import group_normed
from .sampling import Lesson, Sides

Lessons = Callable[[int], Lesson]


@dataclass(frozen=True, eq=False)
class CachedLesson:
    """A lesson after the backbone: ``deep`` (1, C, x, y, z); ``normed`` (1, c, X, Y, Z), ``truth`` bool of a crop."""

    deep: Tensor
    normed: Tensor
    channels: tuple[int, ...]
    truth: Tensor
    reviewed: int

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return sum(t.numel() * t.element_size() for t in (self.deep, self.normed, self.truth))


class Cache:
    """Lessons after the backbone, at most ``size`` of them, each made when it is first needed.

    While learning goes on more of them come in: each is used ``uses`` times before the next one is made, so that the
    first step need not wait for all. Which one item ``number`` gets depends on the number alone.
    Beyond ``most_bytes`` the oldest go, and are made again when they are needed.
    """

    def __init__(
        self,
        network: UniversalModel,
        lessons: Lessons,
        crop: Sides,
        size: int,
        seed: int,
        uses: int = 8,
        is_half: bool = False,
        keep: torch.dtype = torch.bfloat16,
        most_bytes: int = 2 * 1024**3,
    ) -> None:
        self._network, self._lessons, self._crop = network, lessons, crop
        self._size, self._seed, self._uses = max(1, size), seed, uses
        self._is_half, self._keep, self._most_bytes = is_half, keep, most_bytes
        self._made: dict[int, CachedLesson] = {}

    def __len__(self) -> int:
        return len(self._made)

    @property
    def bytes(self) -> int:
        """What it holds."""
        return sum(lesson.bytes for lesson in self._made.values())

    def draw(self, number: int) -> CachedLesson:
        """The lesson of item ``number``, from 0."""
        rng = np.random.default_rng([self._seed, number, 2])
        entry = int(rng.integers(min(self._size, 1 + number // self._uses)))
        if entry not in self._made:
            while self._made and self.bytes >= self._most_bytes:
                del self._made[next(iter(self._made))]  # made again when it is needed again
            rng = np.random.default_rng([self._seed, entry, 3])
            lesson = self._lessons(entry)
            self._made[entry] = cached(
                self._network, lesson, focus(lesson, self._crop, rng), self._crop, self._is_half, self._keep
            )
        return self._made[entry]


@torch.no_grad()
def cached(
    network: UniversalModel,
    lesson: Lesson,
    start: Sides,
    crop: Sides,
    is_half: bool = False,
    keep: torch.dtype = torch.bfloat16,
) -> CachedLesson:
    """Runs the backbone once over the lesson's window and keeps what the head needs of the crop from ``start`` on."""
    device = next(network.parameters()).device
    image = torch.from_numpy(lesson.image)[None, None].to(device, memory_format=torch.channels_last_3d)
    with torch.autocast(device.type, torch.bfloat16, enabled=is_half):
        deep, feat = network.backbone(image)
    i, j, k = (slice(s, s + side) for s, side in zip(start, crop, strict=True))
    normed = group_normed(feat, network.precls_conv[0])[:, :, i, j, k]
    truth = torch.from_numpy(np.ascontiguousarray(lesson.truth[:, i, j, k]))
    return CachedLesson(deep.to(keep), normed.to(keep).contiguous(), lesson.channels, truth.to(device), lesson.reviewed)


def focus(lesson: Lesson, crop: Sides, rng: np.random.Generator) -> Sides:
    """Where a crop begins: around a corrected voxel, mostly, or one of a class; inside the window."""
    fate = rng.uniform()
    shape = lesson.image.shape
    masks = [lesson.changed] if fate < 0.6 else []
    masks += [np.asarray(lesson.truth.any(axis=0))] if fate < 0.85 else []
    center = tuple(int(rng.integers(n)) for n in shape)
    for mask in masks:
        places = np.flatnonzero(mask)
        if places.size:
            center = tuple(int(v) for v in np.unravel_index(rng.choice(places), shape))
            break
    i, j, k = (min(max(0, c - side // 2), max(0, n - side)) for c, side, n in zip(center, crop, shape, strict=True))
    return i, j, k
