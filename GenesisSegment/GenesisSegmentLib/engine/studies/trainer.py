"""A short training of any network that says logits per organ, from labels that are known in part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..learning.loss import partial_label_loss
from ..pace import share_of_rate
from .crops import ORGANS, Crop, CropMaker, organ_mask

REPORT_EVERY = 20


@dataclass(frozen=True)
class StudyRecipe:
    """How long and how fast: AdamW, warm-up and cosine, one crop a step."""

    steps: int
    sides: tuple[int, int, int] = (32, 32, 32)
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """One thread and the seed's random numbers, so that a run can be repeated; all is put back at the end."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def train(
    network: nn.Module, crops: CropMaker, recipe: StudyRecipe, report: Callable[[str], None] = lambda line: None
) -> list[float]:
    """Trains in place; returns the mean loss of every :data:`REPORT_EVERY` steps.

    The network gives logits (1, n, X, Y, Z) for the ``n`` organs of :data:`.crops.ORGANS`, or a list of such, one
    per head, which then have equal weight (deep supervision; models.md 5).
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    network.train().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    losses, means = [], []
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * share_of_rate(step, step / recipe.steps)
        crop = crops.draw()
        image = torch.from_numpy(crop.image)[None, None].to(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", torch.bfloat16):
            said = network(image)
        loss = supervised_loss(said if isinstance(said, list) else [said], crop)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        size = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if size.isfinite():  # a crop of hardly anything but air can blow up an instance norm over a few voxels
            optimizer.step()
        losses.append(float(loss.detach()))
        if (step + 1) % REPORT_EVERY == 0:
            means.append(float(np.mean(losses[-REPORT_EVERY:])))
            report(json.dumps({"step": step + 1, "loss": round(means[-1], 4)}))
    network.eval()
    return means


def supervised_loss(heads: Sequence[Tensor], crop: Crop) -> Tensor:
    """The mean over the heads, each judged where its answer is known: by voxel and by organ."""
    names = list(ORGANS)
    channels = [names.index(organ) for organ in crop.organs]
    known = torch.from_numpy(crop.known)
    labels = crop.labels[crop.known]
    truth = torch.from_numpy(np.stack([organ_mask(labels, organ) for organ in crop.organs])).float()
    losses = [partial_label_loss(logits[0, channels][:, known].float(), truth) for logits in heads]
    return torch.stack(losses).mean()
