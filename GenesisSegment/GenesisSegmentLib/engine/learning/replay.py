"""The replay memory: which earlier cases are shown again, so that what they taught is not forgotten.

Literature: Chou et al., "Embracing Massive Medical Data", MICCAI 2024: a memory that drops the most similar samples and
keeps those with a high loss or a high entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .channels import Channels
from .material import LearningCase, replayed
from .sampling import Lesson, Sampler, SamplingRecipe, Sides

if TYPE_CHECKING:
    from ..networks.universal import UniversalModel

MEMORY_CASES = 16
KEPT_FOR_ENTROPY = 4
"""How many of the most uncertain cases, and of those with the highest loss, are never dropped."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What a case left in the model: its ``feature`` vector, how wrong and how uncertain the model is on it."""

    feature: np.ndarray
    loss: float
    entropy: float


def to_drop(traces: Sequence[Trace], protected: int = KEPT_FOR_ENTROPY) -> int:
    """Which one to drop of a memory, oldest first, that holds one too many.

    Of the two most similar ones (by the cosine of their features) the one that teaches less: the lower loss, then the
    lower entropy, then the older. The ``protected`` ones with the highest loss, and as many with the highest entropy,
    stay, unless there are no others.
    """
    count = len(traces)
    keep: set[int] = set()
    for worth in ([t.loss for t in traces], [t.entropy for t in traces]):
        keep |= set(np.argsort(worth, kind="stable")[::-1][:protected].tolist())
    free = [n for n in range(count) if n not in keep] or list(range(count))
    features = np.stack([t.feature / max(float(np.linalg.norm(t.feature)), 1e-12) for t in traces])
    likeness = features @ features.T
    np.fill_diagonal(likeness, -np.inf)
    nearest = max(free, key=lambda n: (float(likeness[n].max()), -n))
    other = int(np.argmax(likeness[nearest]))
    pair = [n for n in (nearest, other) if n in free]
    return min(pair, key=lambda n: (traces[n].loss, traces[n].entropy, n))


def selected(traces: Sequence[Trace], size: int, protected: int = KEPT_FOR_ENTROPY) -> tuple[int, ...]:
    """Which of a stream of cases a memory of ``size`` holds at its end, oldest first."""
    held: list[int] = []
    for n in range(len(traces)):
        held.append(n)
        if len(held) > size:
            del held[to_drop([traces[h] for h in held], min(protected, size // 4))]
    return tuple(held)


def remembered(
    earlier: Iterable[LearningCase],
    trace: Callable[[LearningCase], Trace],
    size: int = MEMORY_CASES,
) -> tuple[LearningCase, ...]:
    """The earlier cases (oldest first) that are shown again, marked so. Never more than ``size + 1`` are held."""
    held: list[LearningCase] = []
    traces: list[Trace] = []
    for case in earlier:
        held.append(replayed(case))
        traces.append(trace(case))
        if len(held) > size:
            gone = to_drop(traces, min(KEPT_FOR_ENTROPY, size // 4))
            del held[gone], traces[gone]
    return tuple(held)


def trace_of(network: UniversalModel, channels: Channels, case: LearningCase, crop: Sides | None, seed: int) -> Trace:
    """What a case leaves in a network: pooled bottleneck features, loss and two-sided entropy of its reviewed classes.

    One window around its corrections is looked at; labels that the network does not know are left out.
    """
    import torch

    from ..networks.universal import apply_head
    from .loss import partial_label_loss
    from .network import multiple_of

    recipe = SamplingRecipe(crop, changed_share=1.0, inside_share=0.0, is_varied=False)
    lesson = Sampler([case], channels.extended(case.labels), recipe, multiple_of(network), seed).draw(0)
    known = [n for n, channel in enumerate(lesson.channels) if channel < network.classes]
    image = torch.from_numpy(lesson.image)[None, None].to(next(network.parameters()).device)
    with torch.no_grad():
        deep, feat = network.backbone(image)
        vector = deep.float().mean(dim=(2, 3, 4))[0].cpu().numpy()
        if not known:
            return Trace(vector, float("inf"), 0.0)
        numbers = network.class_numbers(deep)[:, [lesson.channels[n] for n in known]]
        logits = apply_head(network.precls_conv(feat), numbers)[0]
        loss = float(partial_label_loss(logits, _truth(lesson, known).to(logits)))
        p = logits.sigmoid().clamp(1e-6, 1 - 1e-6)
        entropy = float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())
    return Trace(vector, loss, entropy)


def _truth(lesson: Lesson, known: list[int]):  # type: ignore[no-untyped-def]
    import torch

    return torch.from_numpy(lesson.truth[known])
