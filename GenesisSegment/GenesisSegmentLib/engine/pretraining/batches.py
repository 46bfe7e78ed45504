"""Every batch as a function of its number: what a run sees at a step does not depend on how it came there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .distortions import DistortionRecipe, distort
from .material import CropSet

_ORDER, _TRAIN, _VALIDATION = 10, 11, 12
"""Streams of random numbers."""


@dataclass(frozen=True)
class Share:
    """The part of every batch that this process takes: number ``rank`` of ``of``."""

    rank: int = 0
    of: int = 1

    def part(self, numbers: Sequence[int]) -> Sequence[int]:
        """Every ``of``-th of these."""
        return numbers[self.rank :: self.of]


class TrainingBatches(Dataset):
    """By step: distorted crops and what they were, both float32 (B, 1, X, Y, Z).

    In an epoch every crop is seen once, in an order and with distortions of its own; what is left over at its end, less
    than a batch, is not.
    """

    def __init__(
        self, crops: CropSet, batch: int, seed: int, recipe: DistortionRecipe, share: Share | None = None
    ) -> None:
        self._crops, self._seed, self._recipe = crops, seed, recipe
        self._batch = min(batch, len(crops))
        self._share = share or Share()
        self.steps_per_epoch = len(crops) // self._batch

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self._seed, _ORDER, epoch]).permutation(len(self._crops))
        numbers = order[place * self._batch : (place + 1) * self._batch].tolist()
        return _batch(self._crops, self._share.part(numbers), [self._seed, _TRAIN, epoch], self._recipe)


class ValidationBatches(Dataset):
    """The crops to judge by, each distorted once and for all, so that epochs can be compared."""

    def __init__(self, crops: CropSet, batch: int, seed: int, recipe: DistortionRecipe) -> None:
        self._crops, self._batch, self._seed, self._recipe = crops, batch, seed, recipe

    def __len__(self) -> int:
        return -(-len(self._crops) // self._batch)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        numbers = range(number * self._batch, min((number + 1) * self._batch, len(self._crops)))
        return _batch(self._crops, numbers, [self._seed, _VALIDATION], self._recipe)


def _batch(
    crops: CropSet, numbers: Sequence[int], stream: list[int], recipe: DistortionRecipe
) -> tuple[Tensor, Tensor]:
    pairs = [distort(crops[n], recipe, np.random.default_rng([*stream, n])) for n in numbers]
    images, targets = (torch.from_numpy(np.stack(side)[:, None]) for side in zip(*pairs, strict=True))
    return images, targets
