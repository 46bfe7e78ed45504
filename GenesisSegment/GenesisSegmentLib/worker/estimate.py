"""What a run would take, told before it starts: seconds from earlier runs, memory from the plan of the engine."""

from __future__ import annotations

import math

import numpy as np

from ..core.errors import ResourceError
from ..core.memory_plan import plan_memory
from ..core.protocol import Estimate, Estimated, Recipe, RuntimeName
from ..core.volume import Volume
from ..engine.devices import ThisMachine, choose_device
from ..engine.inference.preprocess import body_box
from ..engine.inference.ring import window_count
from ..engine.inference.segmenter import memory_need
from ..engine.inference.spec import ModelSpec
from ..engine.models.store import ResolvedModel
from ..engine.postprocess import needed_classes
from .speeds import Speeds, speed_key

_UNKNOWN = "How long it takes is not known: this model has not run on this device yet."
_PUBLISHED_BYTES_PER_VOXEL_AND_CLASS = 9
"""Logits and probabilities in fp32 and the mask, all at the same time."""


def estimated(command: Estimate, volume: Volume, model: ResolvedModel, speeds: Speeds | None = None) -> Estimated:
    """Time, memory and device for a run.

    Raises:
        ModelError, ResourceError: the model is not for whole CTs, or the device does not exist.
        InputError: there is no body in the CT.
    """
    spec = ModelSpec.of(model.name, model.facts)
    runtime = runtime_of(model, command.runtime)
    device = choose_device(command.device, runtime)
    wanted = spec.offered if command.classes is None else command.classes
    classes = [c for c in needed_classes(wanted) if c in spec.offered]
    shape = input_shape(volume, spec, command.recipe)
    need = memory_need(shape, volume.geometry, spec.window or shape, len(classes), spec)
    machine, notes = ThisMachine(), []
    try:
        free_device = 0 if device == "cpu" else machine.free_device(device)
        plan = plan_memory(need, device, free_device, machine.free_host())
        device, notes = plan.device, list(plan.notes)
    except ResourceError as error:
        notes = [error.what, error.remedy]
    seconds = _seconds(command, volume, spec, shape, speed_key(model.sha256, runtime, command.recipe, device), speeds)
    if seconds is None:
        notes.append(_UNKNOWN)
    host, on_device = need.host, need.network + need.ring
    if command.recipe == "published":
        host += int(np.prod(shape)) * len(classes) * _PUBLISHED_BYTES_PER_VOXEL_AND_CLASS
    is_cpu = device == "cpu"
    return Estimated(
        id=command.id,
        seconds=seconds,
        host_bytes=host + (on_device if is_cpu else 0),
        device_bytes=0 if is_cpu else on_device,
        device=device,
        notes=tuple(notes),
    )


def runtime_of(model: ResolvedModel, wanted: RuntimeName | None) -> RuntimeName:
    """The runtime that runs a model: by default ONNX Runtime for an ONNX file, torch for a checkpoint."""
    return wanted or ("onnx" if model.path.suffix == ".onnx" else "torch")


def input_shape(volume: Volume, spec: ModelSpec, recipe: Recipe = "fast") -> tuple[int, int, int]:
    """The model's grid for a CT, to within a few voxels, without resampling it; the whole CT for "published"."""
    straight = volume.geometry.to_ras
    geometry = volume.geometry.reoriented(straight)
    sides = geometry.shape if recipe == "published" else body_box(straight.apply(volume.voxels), geometry).shape
    grid = zip(sides, geometry.spacing, spec.spacing_mm, strict=True)
    shape = [max(1, math.ceil(n * s / t)) for n, s, t in grid]
    if spec.window is None:
        shape = [n + -n % spec.multiple for n in shape]
    else:
        shape = [max(n, w) for n, w in zip(shape, spec.window, strict=True)]
    i, j, k = shape
    return i, j, k


def network_voxels(shape: tuple[int, int, int], spec: ModelSpec, overlap: float | None = None) -> int:
    """How many voxels go through the network, those that several windows cover as often."""
    if spec.window is None:
        return int(np.prod(shape))
    count = window_count(shape, spec.window, spec.overlap if overlap is None else overlap)
    return count * int(np.prod(spec.window))


def _seconds(
    command: Estimate,
    volume: Volume,
    spec: ModelSpec,
    shape: tuple[int, int, int],
    key: str,
    speeds: Speeds | None,
) -> float | None:
    speed = (speeds or Speeds()).get(key)
    if speed is None:
        return None
    return network_voxels(shape, spec) * speed.network + volume.voxels.size * (speed.rest or 0.0)
