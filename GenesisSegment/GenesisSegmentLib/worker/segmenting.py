"""One segmentation from command to files."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..core.bulk import write_layers, write_mask
from ..core.geometry import Box
from ..core.jobs import Advance, Job
from ..core.layers import pack_layers
from ..core.protocol import Event, Partial, Result, Segment
from ..core.reports import LayerFile, MeasurementRow
from ..core.volume import Volume
from ..engine.inference.spec import ModelSpec, RunOptions, RunResult
from ..engine.measure import Measurement, measure
from ..engine.models.store import ResolvedModel
from .estimate import input_shape, network_voxels, runtime_of
from .progress import Reporter
from .speeds import Speed, Speeds, speed_key
from .warm import WarmModels

_WRITING = "writing"
_LEAST_VOXELS = 2_000_000
"""Of a CT whose run says how long everything but the network takes."""


def segmented(command: Segment, volume: Volume, models: WarmModels, job: Job, send: Callable[[Event], None]) -> Result:
    """Segments ``volume`` and writes the layers into the command's folder.

    Raises:
        GenesisError: see :meth:`..engine.inference.segmenter.Segmenter.segment` and :func:`..core.bulk.write_layers`.
    """
    model = models.resolve(command.model)
    options = RunOptions(command.classes, command.recipe, command.postprocess, command.overlap)
    with models.lent(model, command.runtime, command.device, job, Reporter(command.id, send)) as lent:
        give = _Giver(command, send)
        result = lent.segmenter.segment(volume, options, then={_WRITING: 5}, on_class=give)
        started = time.perf_counter()
        # Many small steps: a cancel is obeyed between any two, before the client takes the process for stuck.
        lent.job.advance(_WRITING, 0.0)
        rows = tuple(_rows(measure(result.segmentation, volume, _part(lent.job, 0.0, 0.3))))
        layers = pack_layers(result.segmentation, _part(lent.job, 0.3, 0.6))
        files = write_layers(Path(command.folder), layers, _part(lent.job, 0.6, 1.0))
        lent.job.advance(_WRITING, 1.0)
    seconds = {**result.seconds, _WRITING: round(time.perf_counter() - started, 3)}
    remember_speed(seconds, result, volume, model, command)
    segmentation = result.segmentation
    return Result(
        id=command.id,
        volume=command.volume,
        shape=segmentation.geometry.shape,
        layers=tuple(LayerFile(str(file), layer.classes) for file, layer in zip(files, layers, strict=True)),
        classes=segmentation.classes,
        present=segmentation.present(),
        measurements=rows,
        notes=(*_licence_notes(model), *model.notes, *volume.source.notes, *result.notes),
        device=result.device,
        model=model.name,
        model_title=model.title,
        model_sha256=model.sha256,
        recipe=command.recipe,
        postprocess=result.postprocess,
        windows=result.windows,
        seconds=seconds,
        own=segmentation.own,
    )


def _part(job: Job, start: float, stop: float) -> Advance:
    """Takes the progress of a step that is the part ``start``..``stop`` of the writing."""
    return lambda fraction: job.advance(_WRITING, start + (stop - start) * fraction)


class _Giver:
    """Writes classes that are there before the run ends, and tells of them."""

    def __init__(self, command: Segment, send: Callable[[Event], None]) -> None:
        self._command, self._send = command, send
        self._count = 0

    def __call__(self, index: int, box: Box, mask: np.ndarray, is_preliminary: bool) -> None:
        """See :data:`..engine.inference.spec.OnClass`."""
        self._count += 1
        file = Path(self._command.folder) / f"class-{index}-{self._count}.u1"
        write_mask(file, mask)
        self._send(Partial(self._command.id, index, box.start, box.stop, str(file), is_preliminary))


def remember_speed(
    seconds: dict[str, float], result: RunResult, volume: Volume, model: ResolvedModel, command: Segment
) -> None:
    """Keeps how fast the run was, ``seconds`` by stage, for the estimate of the next one."""
    spec = ModelSpec.of(model.name, model.facts)
    shape = input_shape(volume, spec, command.recipe)
    network = seconds.get("network", seconds.get("all", 0.0))
    rest = sum(seconds.values()) - network
    size = volume.voxels.size
    # On a small CT, most of the rest is what takes the same time whatever the size.
    per_voxel = rest / size if size >= _LEAST_VOXELS else None
    # Fewer windows may have been run than the whole CT takes.
    voxels = network_voxels(shape, spec) if spec.window is None else result.windows * math.prod(spec.window)
    speed = Speed(network / voxels, per_voxel)
    key = speed_key(model.sha256, runtime_of(model, command.runtime), command.recipe, result.device)
    Speeds().remember(key, speed)


def _licence_notes(model: ResolvedModel) -> tuple[str, ...]:
    is_restricted = model.licence is not None and not model.licence.commercial_use
    return (model.licence.summary,) if is_restricted and model.licence else ()


def _rows(measurements: tuple[Measurement, ...]) -> Iterator[MeasurementRow]:
    for m in measurements:
        count = None if m.lesions is None else len(m.lesions)
        basics = (m.voxels, m.volume_ml, m.mean_hu, m.sd_hu, m.touches_border)
        yield MeasurementRow(m.index, m.name, None, *basics, lesion_count=count)
        for lesion in m.lesions or ():
            yield MeasurementRow(
                index=m.index,
                name=m.name,
                lesion=lesion.number,
                voxels=lesion.voxels,
                volume_ml=lesion.volume_ml,
                mean_hu=lesion.mean_hu,
                sd_hu=lesion.sd_hu,
                touches_border=lesion.touches_border,
                longest_mm=lesion.longest_mm,
                perpendicular_mm=lesion.perpendicular_mm,
                centroid_ras=lesion.centroid_ras,
            )
