"""What a run would take, told before it starts: seconds from earlier runs, memory from the plan of the engine."""

from __future__ import annotations

import math

import numpy as np

from ..core.errors import ResourceError
from ..core.geometry import Geometry
from ..core.i18n import _
from ..core.memory_plan import plan_memory
from ..core.protocol import Estimate, Estimated, RuntimeName
from ..core.segmenting_messages import Recipe
from ..core.volume import Volume
from ..engine.devices import ThisMachine, choose_device
from ..engine.inference.preprocess import input_frame, published_frame
from ..engine.inference.ring import window_count
from ..engine.inference.segmenter import memory_need, published_need, run_window
from ..engine.inference.spec import ModelSpec
from ..engine.models.store import ResolvedModel
from ..engine.postprocess import needed_classes
from .speeds import Speeds, speed_key


def estimated(
    command: Estimate, ct: Volume | Geometry, model: ResolvedModel, speeds: Speeds | None = None
) -> Estimated:
    """Time, memory and device for a run; an upper limit where only the grid of the CT is known.

    Raises:
        ModelError, ResourceError: the model is not for whole CTs, or the device does not exist.
        InputError: there is no body in the CT.
    """
    spec = ModelSpec.of(model.name, model.facts)
    runtime = runtime_of(model, command.runtime)
    device = choose_device(command.device, runtime)
    wanted = spec.offered if command.classes is None else command.classes
    classes = tuple(c for c in needed_classes(wanted) if c in spec.offered)
    geometry = _grid(ct)
    shape = input_shape(ct, spec, command.recipe)
    if command.recipe == "published":
        need = published_need(shape, geometry, classes, spec)
    else:
        need = memory_need(shape, geometry, run_window(spec, shape), classes, spec)
    machine, notes = ThisMachine(), []
    try:
        free_device = 0 if device == "cpu" else machine.free_device(device)
        plan = plan_memory(need, device, free_device, machine.free_host())
        device, notes = plan.device, list(plan.notes)
    except ResourceError as error:
        notes = [error.what, error.remedy]
    voxels = network_voxels(shape, spec, recipe=command.recipe)
    seconds = _seconds(geometry, voxels, speed_key(model.sha256, runtime, command.recipe, device), speeds)
    if seconds is None:
        notes.append(_("How long it takes is not known: this model has not run on this device yet."))
    host, on_device = need.host, need.network + need.ring
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


def stated_grid(command: Estimate) -> Geometry | None:
    """The grid that a command states in place of a CT, on RAS axes."""
    if command.shape is None or command.spacing is None:
        return None
    return Geometry(command.shape, np.diag([*command.spacing, 1.0]))


def input_shape(ct: Volume | Geometry, spec: ModelSpec, recipe: Recipe = "fast") -> tuple[int, int, int]:
    """The model's grid for a CT, padding included; the whole scan where only the grid of the CT is known.

    Raises:
        InputError: there is no body in the CT, or nothing in it that the model sees.
    """
    if isinstance(ct, Volume):
        # With windows, both recipes are given the same part; which windows the fast one skips takes long to find out.
        is_cut_alike = recipe == "published" or spec.window is not None
        return (published_frame if is_cut_alike else input_frame)(ct, spec).shape
    grid = ct.reoriented(ct.to_ras)
    shape = [max(1, math.ceil(n * s / t)) for n, s, t in zip(grid.shape, grid.spacing, spec.spacing_mm, strict=True)]
    if spec.window is None:
        shape = [n + -n % spec.multiple for n in shape]
    else:
        shape = [max(n, w) for n, w in zip(shape, spec.window, strict=True)]
    i, j, k = shape
    return i, j, k


def network_voxels(
    shape: tuple[int, int, int], spec: ModelSpec, overlap: float | None = None, recipe: Recipe = "fast"
) -> int:
    """How many voxels go through the network, those that several windows cover as often."""
    if spec.window is None:
        return int(np.prod(shape))
    count = window_count(shape, spec.window, spec.overlap_of(recipe) if overlap is None else overlap)
    return count * int(np.prod(spec.window))


def _grid(ct: Volume | Geometry) -> Geometry:
    return ct if isinstance(ct, Geometry) else ct.geometry


def _seconds(geometry: Geometry, voxels: int, key: str, speeds: Speeds | None) -> float | None:
    speed = (speeds or Speeds()).get(key)
    if speed is None:
        return None
    return voxels * speed.network + math.prod(geometry.shape) * (speed.rest or 0.0)
