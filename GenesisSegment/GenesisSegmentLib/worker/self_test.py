"""The self-test: one window of the synthetic torso through everything that a run goes through, on the asked device."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..core.class_names import structure_title
from ..core.geometry import Box
from ..core.i18n import _
from ..core.jobs import Job
from ..core.protocol import Event, SelfTest, Tested
from ..core.volume import Volume
from ..engine.inference.spec import ModelSpec, RunOptions, RunResult
from ..engine.models.store import ResolvedModel
from .estimate import input_shape, network_voxels, runtime_of
from .progress import Reporter
from .speeds import Speed, Speeds, speed_key
from .warm import WarmModels

_SPACING_MM = 4.0
_SIDE_MM = 140.0
"""Below the side of a window of 96 voxels at 1.5 mm: a model with windows needs one."""
_MIDDLE_MM = (230.0, 150.0, 260.0)
"""From the lower right back corner of the phantom: right half of the upper abdomen, with liver and kidney."""


def tested(command: SelfTest, models: WarmModels, job: Job, send: Callable[[Event], None]) -> Tested:
    """Runs it, twice: the first run of a model on a device includes preparations that later runs do not need.

    Raises:
        GenesisError: the model cannot be had or opened, or fails; in words.
    """
    model = models.resolve(command.model)
    volume = sample()
    first, second = (Reporter(command.id, send, start, 0.5) for start in (0.0, 0.5))
    with models.lent(model, command.runtime, command.device, job, first) as lent:
        lent.segmenter.segment(volume, RunOptions())
        lent.job.report_to(second)
        started = time.perf_counter()
        result = lent.segmenter.segment(volume, RunOptions())
        seconds = time.perf_counter() - started
    _remember(result, volume, model, command)
    found = [structure_title(result.segmentation.structures[c]) for c in result.segmentation.present()]
    ran = _("{model} runs on {device} with {runtime}: one window took {seconds} s.").format(
        model=model.title, device=result.device, runtime=runtime_of(model, command.runtime), seconds=f"{seconds:.1f}"
    )
    if found:
        saw = _("It found {structures} in the synthetic sample.").format(structures=found)
    else:
        saw = _("It found nothing in the sample.")
    verdicts = [ran, saw, *result.notes]
    if command.device not in ("auto", result.device):
        other = _("{asked} was asked for, but {used} was used.")
        verdicts.append(other.format(asked=command.device, used=result.device))
    is_working = bool(found) and command.device in ("auto", result.device)
    return Tested(command.id, is_working, result.device, seconds, tuple(verdicts))


def sample() -> Volume:
    """A cube of the synthetic torso, 14 cm wide."""
    from ..engine.phantom import phantom_ct

    whole = phantom_ct(_SPACING_MM)
    side = round(_SIDE_MM / _SPACING_MM)
    start = tuple(round(m / _SPACING_MM) - side // 2 for m in _MIDDLE_MM)
    box = Box(start, tuple(s + side for s in start))  # type: ignore[arg-type]
    return Volume(whole.voxels[box.slices], whole.geometry.cropped(box), whole.source)


def _remember(result: RunResult, volume: Volume, model: ResolvedModel, command: SelfTest) -> None:
    spec = ModelSpec.of(model.name, model.facts)
    voxels = network_voxels(input_shape(volume, spec), spec)
    key = speed_key(model.sha256, runtime_of(model, command.runtime), "fast", result.device)
    if Speeds().get(key) is None:  # a real run says more
        Speeds().remember(key, Speed(result.seconds["network"] / voxels))
