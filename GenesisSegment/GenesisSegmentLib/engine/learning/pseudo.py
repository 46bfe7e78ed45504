"""What the parent model says of the classes that nobody reviewed, so that they are not forgotten.

Literature: Zhang et al., "Continual Learning for Abdominal Multi-Organ and Tumor Segmentation", MICCAI 2023: old
classes from the previous model, new truth painted last; Li and Hoiem, "Learning without Forgetting", TPAMI 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..networks.universal import UniversalModel, apply_head
from .channels import Channels
from .sampling import Lesson

_LEAST_VOXELS = 8
"""A class with fewer voxels in a crop counts as absent there."""

Forward = Callable[[np.ndarray], Tensor]
"""A window float32 (X, Y, Z) -> logits (n, X, Y, Z) of the channels that are worth keeping."""


class Parent:
    """Adds pseudo-labels to lessons. ``kept`` are the channels that the parent has really learned.

    A lesson is given at most ``most`` of them: those that the parent finds in the crop, then some that it does not.
    """

    def __init__(
        self,
        network: UniversalModel,
        channels: Channels,
        kept: Sequence[int],
        most: int,
        seed: int,
        is_half: bool = False,
        forward: Forward | None = None,
    ) -> None:
        self._network = network.eval()
        self._channels, self._kept, self._most, self._seed = channels, tuple(kept), most, seed
        self._is_half, self._forward = is_half, forward or self._logits

    def teach(self, lesson: Lesson, number: int) -> Lesson:
        """The lesson with the parent's masks behind the reviewed ones, which overrule them."""
        if not self._kept or not self._most:
            return lesson
        found = (self._forward(lesson.image) > 0).cpu().numpy()
        masks = {c: m for c, m in zip(self._kept, found, strict=True) if c not in lesson.channels}
        for channel, mask in masks.items():
            for reviewed, truth in zip(lesson.channels, lesson.truth, strict=True):
                if self._channels.cleared_by(channel, reviewed):
                    mask &= ~truth
        rng = np.random.default_rng([self._seed, number, 1])
        order = list(masks)
        rng.shuffle(order)
        order = sorted(order, key=lambda c: np.count_nonzero(masks[c]) < _LEAST_VOXELS)[: self._most]
        if not order:
            return lesson
        return replace(
            lesson,
            channels=(*lesson.channels, *order),
            truth=np.concatenate([lesson.truth, np.stack([masks[c] for c in order])]),
        )

    @torch.no_grad()
    def _logits(self, image: np.ndarray) -> Tensor:
        device = next(self._network.parameters()).device
        window = torch.from_numpy(image)[None, None].to(device, memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._is_half):
            features, numbers = self._network.features(window)
        return apply_head(features.float(), numbers[:, list(self._kept)].float())[0]
