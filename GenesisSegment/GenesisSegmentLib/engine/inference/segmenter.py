"""A model on a device that segments CTs: plans memory, runs a recipe, post-processes, restores the CT's own grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import numpy as np

from ...core.errors import InputError
from ...core.geometry import Geometry
from ...core.jobs import Job
from ...core.memory_plan import MemoryNeed, MemoryPlan, plan_memory
from ...core.segmentation import Segmentation
from ...core.volume import Volume
from ..postprocess import needed_classes, postprocess_bits
from .preprocess import ModelInput, model_input
from .published import run_published
from .restore import restore_linear, restore_nearest
from .ring import BitSink, LogitSink, slide, window_count
from .runtimes import DeviceMemoryError, out_of_memory_explained
from .spec import ModelSpec, RunOptions, RunResult, Runtime

_NETWORK_BYTES_PER_VOXEL = {"whole": 900, "window": 3200}
"""Peak of one forward per voxel of its window, measured in fp32 and rounded up."""
_WHOLE_SCAN_LIMIT = 6_000_000
"""A coarse model takes up to this many voxels in one pass (1.1 m of a large patient at 4 mm); above, in slabs."""
_SLAB = 192


class Machine(Protocol):
    """Free memory in bytes."""

    def free_host(self) -> int:
        """Main memory."""

    def free_device(self, device: str) -> int:
        """Memory of a GPU."""


class Segmenter:
    """Segments one CT after the other with the same model. ``open_runtime`` puts the network on a device."""

    def __init__(
        self, spec: ModelSpec, open_runtime: Callable[[str], Runtime], device: str, machine: Machine, job: Job
    ) -> None:
        self._spec, self._open, self._device = spec, open_runtime, device
        self._machine, self._job = machine, job
        self._runtime: tuple[str, Runtime] | None = None

    def segment(self, volume: Volume, options: RunOptions, then: Mapping[str, float] | None = None) -> RunResult:
        """The masks of a CT on its own grid.

        ``then`` are stages of the job that the caller adds, with their shares of the time (the work here has 100).

        Raises:
            InputError: the model does not offer a class, or there is no body in the CT.
            ResourceError: not enough memory on any rung of the ladder.
            Cancelled: the job was cancelled.
        """
        self._job.plan({"preparing": 2, "network": 92, "cleaning": 3, "restoring": 3, **(then or {})})
        self._job.advance("preparing", 0.0)
        try:
            return self._attempt(volume, options, self._device, ())
        except DeviceMemoryError as error:
            if self._device == "cpu":
                raise
            note = f"{error.what} The run was repeated on the CPU."
        # Outside the handler, which would keep the memory of the failed run.
        self._runtime = None
        return self._attempt(volume, options, "cpu", (note,))

    def _attempt(self, volume: Volume, options: RunOptions, device: str, notes: tuple[str, ...]) -> RunResult:
        spec = self._spec
        clock = _Clock()
        wanted = tuple(sorted(set(options.classes or spec.offered)))
        _check_offered(spec, wanted)
        # A host that the model was not trained to find must not decide over a class that it was.
        classes = tuple(c for c in needed_classes(wanted, options.postprocess) if c in spec.offered)
        overlap = spec.overlap if options.overlap is None else options.overlap
        with out_of_memory_explained(device):
            if options.recipe == "published":
                plan = MemoryPlan(device, device, False)
                runtime = self._on(device, is_plain=True)
                with clock.stage("all"):
                    done, variant = self._windows_done, options.postprocess
                    bits, windows = run_published(volume, spec, runtime, classes, overlap, variant, done, wanted)
                self._job.advance("restoring", 1.0)
            else:
                bits, windows, plan, runtime = self._fast(volume, options, wanted, classes, overlap, device, clock)
        return RunResult(
            segmentation=Segmentation(bits, volume.geometry, wanted),
            model=spec.id,
            recipe=options.recipe,
            postprocess=options.postprocess,
            device=runtime.device,
            windows=windows,
            seconds=clock.seconds,
            notes=(*notes, *plan.notes, *runtime.notes),
        )

    def _fast(
        self,
        volume: Volume,
        options: RunOptions,
        wanted: tuple[int, ...],
        classes: tuple[int, ...],
        overlap: float,
        device: str,
        clock: _Clock,
    ) -> tuple[np.ndarray, int, MemoryPlan, Runtime]:
        spec, job = self._spec, self._job
        with clock.stage("preparing"):
            prepared = model_input(volume, spec)
            window = _window(spec, prepared)
            need = memory_need(prepared.image.shape, volume.geometry, window, len(classes), spec)
            free_device = 0 if device == "cpu" else self._machine.free_device(device)
            plan = plan_memory(need, device, free_device, self._machine.free_host())
            runtime = self._on(plan.device, is_plain=False)
            runtime.ring_device = plan.ring_device
        with clock.stage("network"):
            job.advance("network", 0.0)
            sink = (LogitSink if spec.upsampling == "linear" else BitSink)(prepared.image.shape, classes)  # type: ignore[arg-type]
            channels = spec.channels(classes)
            slide(prepared.image, runtime, channels, window, overlap, sink, self._windows_done, plan.is_half)
        with clock.stage("cleaning"):
            job.advance("cleaning", 0.0)
            bits = postprocess_bits(sink.bits[prepared.valid], classes, options.postprocess, spec.spacing_mm, wanted)
        with clock.stage("restoring"):
            job.advance("restoring", 0.0)
            if isinstance(sink, LogitSink):
                logits = sink.logits[(slice(None), *prepared.valid)]
                advance = partial(job.advance, "restoring")
                bits = restore_linear(bits, logits, classes, prepared.geometry, volume.geometry, advance)
            else:
                bits = restore_nearest(bits, prepared.geometry, volume.geometry)
            job.advance("restoring", 1.0)
        return bits, window_count(prepared.image.shape, window, overlap), plan, runtime  # type: ignore[arg-type]

    def _on(self, device: str, is_plain: bool) -> Runtime:
        """The runtime that was opened for ``device``, whether or not it fell back to another one."""
        if self._runtime is None or self._runtime[0] != device:
            self._runtime = device, self._open(device)
        runtime = self._runtime[1]
        runtime.is_plain = is_plain
        return runtime

    def _windows_done(self, count: int, total: int) -> None:
        self._job.advance("network", count / total)


def memory_need(
    shape: tuple[int, ...], native: Geometry, window: tuple[int, int, int], classes: int, spec: ModelSpec
) -> MemoryNeed:
    """Bytes for a run on a model grid of ``shape`` with ``classes`` classes."""
    voxels, native_voxels = int(np.prod(shape)), int(np.prod(native.shape))
    is_single = window == tuple(shape)
    per_voxel = _NETWORK_BYTES_PER_VOXEL["whole" if spec.window is None else "window"]
    # Per voxel: the image, the bits and the cleaned bits; on the CT's grid the bits and what they are made from.
    kept = 4 + 4 + 4 + (2 * classes if spec.upsampling == "linear" else 0)
    return MemoryNeed(
        network=int(np.prod(window)) * (per_voxel + 8 * classes),
        ring=0 if is_single else (4 * classes + 4) * shape[0] * shape[1] * window[2],
        host=voxels * kept + native_voxels * (4 + 4 + (8 if spec.is_smoothed else 0)),
    )


def _window(spec: ModelSpec, prepared: ModelInput) -> tuple[int, int, int]:
    """The model's window; for a model of the whole scan the scan, or slabs of it where it is very long."""
    if spec.window is not None:
        return spec.window
    i, j, k = prepared.image.shape
    return (i, j, k) if i * j * k <= _WHOLE_SCAN_LIMIT else (i, j, min(k, _SLAB))


def _check_offered(spec: ModelSpec, wanted: tuple[int, ...]) -> None:
    unknown = [c for c in wanted if c not in spec.offered]
    if unknown:
        raise InputError(
            f"The model {spec.id} does not offer the classes {', '.join(map(str, unknown))}.",
            f"It offers: {', '.join(map(str, spec.offered))}.",
        )


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
