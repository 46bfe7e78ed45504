"""What trainings within a budget of time have in common: how the learning rate falls, and the average of weights."""

from __future__ import annotations

import math

import torch
from torch import nn

_WARM_UP = 50
_LEAST = 0.005


def share_of_rate(step: int, used: float) -> float:
    """Share of the full learning rate: a linear warm-up, then a cosine to nearly zero at the end of the budget.

    ``used`` is the share of the budget that is used up.
    """
    warm = min(1.0, (step + 1) / _WARM_UP)
    return warm * max(_LEAST, 0.5 * (1 + math.cos(math.pi * min(1.0, used))))


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """Moves the averaged weights a little towards those of a model; early steps count less long."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)
