"""What a step of learning costs: the plain loop against what a round does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ...core.jobs import Job
from ...core.rounds import Mode
from ..inference.selftest import obstacle, sample_window
from ..learning.cached import CachedLesson, cached
from ..learning.channels import Channels
from ..learning.loss import lesson_loss, partial_label_loss
from ..learning.network import HeadPupil, Pupil, freeze, multiple_of
from ..learning.pseudo import Parent
from ..learning.sampling import Lesson
from ..networks import build
from ..networks.universal import Backbone, UniversalModel
from .figures import Figure
from .measure import Cost, in_turn, memory_figure
from .setting import Setting
from .tasks import published_head

CROPS = 2
"""Per step: what the published recipe takes of a scan."""
REVIEWED = 2
"""Classes that a person corrected."""
KEPT = 6
"""Classes that the parent's pseudo-labels keep."""
MODES: tuple[Mode, ...] = ("all", "decoder", "head")
_PLAIN, _CACHED = "plain loop", "head, cached features"

Step = Callable[[], object]


@dataclass(frozen=True)
class _Way:
    """What is written in the table, and how a step of it is prepared."""

    title: str
    task: str
    prepare: Callable[[Setting], Step]


def ways() -> tuple[_Way, ...]:
    """The plain loop first, then ours."""
    ours = (_Way(f"{mode} of it", f"learn-{mode}", lambda s, m=mode: our_step(s, m)) for mode in MODES)  # type: ignore[misc]
    return (_Way(_PLAIN, "learn-plain", plain_step), *ours, _Way(_CACHED, "learn-cached", cached_step))


def learning(setting: Setting, job: Job) -> list[Figure]:
    """Seconds and memory of one step of every way, and what making a cached lesson costs once."""
    side, every = setting.learning_side, ways()
    costs = in_turn([way.prepare(setting) for way in every], setting.rounds, job.check)
    size = f"universal U-Net, {CROPS} crops of {side}^3"
    note = f"plain: fp32, all 32 classes; ours: {REVIEWED} corrected classes and {KEPT} that the parent keeps"
    figures = []
    for way, cost in zip(every[1:], costs[1:], strict=True):
        metric = f"Learning step, {size}: {way.title}"
        figures += _figures(metric, costs[0], cost, note)
        figures.append(memory_figure(metric, (every[0].task, way.task), setting, job.check))
    (making,) = in_turn([_making(setting)], 1, job.check)
    figures += _figures("Making a cached lesson, once, against a plain step", costs[0], making, "used many times")
    return figures


def _figures(metric: str, plain: Cost, ours: Cost, note: str) -> list[Figure]:
    rows = (("CPU s", plain.cpu, ours.cpu), ("wall s", plain.wall, ours.wall))
    return [Figure(metric, one, other, unit, one / other, None, note) for unit, one, other in rows]


def plain_step(setting: Setting) -> Step:
    """Forward, Dice + BCE of all classes, backward and AdamW in single precision, in the usual memory order."""
    network = _network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-5)
    lessons = [_lesson(setting, n) for n in range(CROPS)]
    images = torch.from_numpy(np.stack([lesson.image for lesson in lessons])[:, None])
    truth = torch.zeros(network.classes, *images.shape[2:])
    truth[:REVIEWED] = torch.from_numpy(lessons[0].truth).float()

    def step() -> None:
        features, numbers = network.features(images)
        items = range(CROPS)
        logits = [published_head(features[b : b + 1], numbers[b : b + 1])[0] for b in items]
        _descend(optimizer, torch.stack([partial_label_loss(out, truth) for out in logits]).mean())

    return step


def our_step(setting: Setting, mode: Mode) -> Step:
    """What a round does: half precision where the device has it, pseudo-labels, crop by crop."""
    network = _network().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(freeze(network, mode), lr=1e-4, weight_decay=1e-5)
    pupil, parent = Pupil(network), _parent()
    lessons = [_lesson(setting, n) for n in range(CROPS)]

    def step() -> None:
        for number, lesson in enumerate(lessons):
            taught = parent.teach(lesson, number)
            image = torch.from_numpy(taught.image)[None, None].to(memory_format=torch.channels_last_3d)
            with torch.autocast("cpu", torch.bfloat16, enabled=_has_half()):
                (logits,) = pupil(image, [taught.channels])
            (lesson_loss(logits, torch.from_numpy(taught.truth), taught.reviewed) / CROPS).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def cached_step(setting: Setting) -> Step:
    """The head on features that are there already, of crops with half the sides around the edits."""
    network = _network()
    optimizer = torch.optim.AdamW(freeze(network, "head"), lr=1e-3, weight_decay=1e-5)
    pupil = HeadPupil(network)
    entry = _any_entry(setting, network)

    def step() -> None:
        for _ in range(CROPS):
            (logits,) = pupil(entry.deep.float(), entry.normed.float(), [entry.channels])
            (lesson_loss(logits, entry.truth, entry.reviewed) / CROPS).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _making(setting: Setting) -> Step:
    network = _network().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return lambda: _entry(setting, network)


def _any_entry(setting: Setting, network: UniversalModel) -> CachedLesson:
    """A cached lesson of the right size that no backbone had to make, whose memory would be counted in."""
    side, halved = setting.learning_side // 2, setting.learning_side // multiple_of(network)
    sizes = cast(Backbone, network.backbone)
    deep = torch.randn(1, sizes.deep_channels, halved, halved, halved).bfloat16()
    normed = torch.randn(1, sizes.feat_channels, side, side, side).bfloat16()
    channels = tuple(range(REVIEWED + KEPT))
    return CachedLesson(deep, normed, channels, torch.rand(len(channels), side, side, side) > 0.8, REVIEWED)


def _entry(setting: Setting, network: UniversalModel) -> CachedLesson:
    side = setting.learning_side
    lesson = _parent().teach(_lesson(setting, 0), 0)
    quarter, half = side // 4, side // 2
    return cached(network, lesson, (quarter, quarter, quarter), (half, half, half), _has_half())


def _network() -> UniversalModel:
    torch.manual_seed(0)
    return build("universal_unet").eval()  # type: ignore[return-value]


def _parent() -> Parent:
    network = _network().to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return Parent(network, Channels.of_classes(), range(32), KEPT, 0, _has_half())


def _has_half() -> bool:
    return obstacle("bf16", "cpu") is None


def _lesson(setting: Setting, number: int) -> Lesson:
    image = np.roll(sample_window(setting.learning_side), number, axis=0).astype(np.float32)
    truth = np.stack([image > level for level in (0.5, 0.7)])
    return Lesson("phantom", image, tuple(range(REVIEWED)), truth, truth[0], REVIEWED)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
