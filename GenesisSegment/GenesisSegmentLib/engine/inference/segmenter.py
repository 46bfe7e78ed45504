"""A model on a device that segments CTs: plans memory, runs a recipe, post-processes, restores the CT's own grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np

from ...core.classes import structures
from ...core.errors import InputError, ModelError, ResourceError
from ...core.geometry import Geometry
from ...core.i18n import _, listed
from ...core.jobs import Job
from ...core.memory_plan import MemoryNeed, MemoryPlan, plan_memory
from ...core.segmentation import Segmentation, bits_type
from ...core.volume import Volume
from ..postprocess import needed_classes
from .course import Course, Found
from .look import Finder, Sighting, look, searched_everywhere, sought
from .preprocess import ModelInput, input_frame, model_input, published_frame
from .published import run_published
from .resample import SLAB_VOXELS
from .restore import restore_linear, restore_nearest
from .ring import LogitSink
from .runtimes import DeviceMemoryError, out_of_memory_explained
from .spec import ModelSpec, OnClass, RunOptions, RunResult, Runtime
from .sweep import Lattice

_NETWORK_BYTES_PER_VOXEL = {"whole": 900, "window": 3200}
"""Peak of one forward per voxel of its window, measured in fp32 and rounded up."""
_CLEANING_BYTES_PER_VOXEL = 24
"""Peak of post-processing, measured with lungs that touch and fragments in every class, and rounded up."""
_MONAI_BYTES_PER_VOXEL = 70
"""Peak of MONAI's resampling in fp64 per voxel of its output, coordinates included, measured and rounded up."""
_SLAB_BYTES = 16 * SLAB_VOXELS
"""What resampling takes beside its input and output, measured and rounded up."""
_WHOLE_SCAN_LIMIT = 6_000_000
"""A coarse model takes up to this many voxels in one pass (1.1 m of a large patient at 4 mm); above, in slabs."""
_SLAB = 192
_CHECKING = "checking fast paths"
_LOOKING = "looking"


class Machine(Protocol):
    """Free memory in bytes."""

    def free_host(self) -> int:
        """Main memory."""

    def free_device(self, device: str) -> int:
        """Memory of a GPU."""


class Segmenter:
    """Segments one CT after the other with the same model. ``open_runtime`` puts the network on a device.

    ``finder`` is a coarse model that says where classes are when only some are asked for.
    """

    def __init__(
        self,
        spec: ModelSpec,
        open_runtime: Callable[[str], Runtime],
        device: str,
        machine: Machine,
        job: Job,
        finder: Finder | None = None,
    ) -> None:
        self._spec, self._open, self._device, self._finder = spec, open_runtime, device, finder
        self._machine, self._job = machine, job
        self._runtime: tuple[str, Runtime] | None = None

    def segment(
        self,
        volume: Volume,
        options: RunOptions,
        then: Mapping[str, float] | None = None,
        on_class: OnClass | None = None,
    ) -> RunResult:
        """The masks of a CT on its own grid.

        ``then`` are stages of the job that the caller adds, with their shares of the time (the work here has 100).
        ``on_class`` is given classes as they are done, by the fast recipe; a class may come more than once.

        Raises:
            InputError: the model does not offer a class, or there is no body in the CT.
            ResourceError: not enough memory on any rung of the ladder.
            Cancelled: the job was cancelled.
        """
        wanted = tuple(sorted(set(options.classes or self._spec.offered)))
        _check_offered(self._spec, wanted)
        check = {_CHECKING: 2} if options.recipe == "fast" else {}
        looking = {_LOOKING: 5} if self._is_looked_for(wanted, options) else {}
        self._job.plan(
            {"preparing": 2, **looking, **check, "network": 90, "cleaning": 3, "restoring": 3, **(then or {})}
        )
        self._job.advance("preparing", 0.0)
        try:
            return self._attempt(volume, options, wanted, self._device, (), on_class)
        except DeviceMemoryError as error:
            if self._device == "cpu":
                raise
            note = _("{reason} The run was repeated on the CPU.").format(reason=error.what)
        # Outside the handler, which would keep the memory of the failed run.
        self._runtime = None
        return self._attempt(volume, options, wanted, "cpu", (note,), on_class)

    def _attempt(
        self,
        volume: Volume,
        options: RunOptions,
        wanted: tuple[int, ...],
        device: str,
        notes: tuple[str, ...],
        on_class: OnClass | None,
    ) -> RunResult:
        spec = self._spec
        clock = _Clock()
        # A host that the model was not trained to find must not decide over a class that it was.
        variant = spec.cleaning(options.postprocess)
        classes = tuple(c for c in needed_classes(wanted, variant) if c in spec.offered)
        overlap = spec.overlap_of(options.recipe) if options.overlap is None else options.overlap
        is_everywhere = True
        remarks: tuple[str, ...] = ()
        with out_of_memory_explained(device):
            if options.recipe == "published":
                shape = published_frame(volume, spec).shape
                plan = self._planned(published_need(shape, volume.geometry, classes, spec), device)
                runtime = self._on(plan.device, is_plain=True)
                with clock.stage("all"):
                    advance = self._job.advance
                    bits, windows = run_published(volume, spec, runtime, classes, overlap, variant, advance, wanted)
                self._job.advance("restoring", 1.0)
            else:
                asked = (volume, options, variant, wanted, classes, overlap, device, clock, on_class)
                bits, found, plan, runtime = self._fast(*asked)
                windows, is_everywhere = found.windows, found.is_everywhere
                remarks = (*found.notes, *_overlap_note(spec, overlap, options, windows))
        return RunResult(
            segmentation=Segmentation(bits, volume.geometry, wanted, spec.own),
            model=spec.id,
            recipe=options.recipe,
            postprocess=variant,
            device=runtime.device,
            windows=windows,
            seconds=clock.seconds,
            notes=(*notes, *plan.notes, *runtime.notes, *remarks),
            overlap=None if spec.window is None else overlap,
            is_everywhere=is_everywhere,
        )

    def _fast(
        self,
        volume: Volume,
        options: RunOptions,
        variant: str,
        wanted: tuple[int, ...],
        classes: tuple[int, ...],
        overlap: float,
        device: str,
        clock: _Clock,
        on_class: OnClass | None,
    ) -> tuple[np.ndarray, Found, MemoryPlan, Runtime]:
        spec, job = self._spec, self._job
        with clock.stage("preparing"):
            frame = input_frame(volume, spec)
            window = run_window(spec, frame.shape)
            plan = self._planned(memory_need(frame.shape, volume.geometry, window, classes, spec), device)
            prepared = model_input(volume, spec, partial(job.advance, "preparing"), frame)
            lattice = Lattice(prepared, window, overlap, is_published=overlap == spec.overlap)
        sighting: Sighting | None = None
        notes: tuple[str, ...] = ()
        if self._is_looked_for(wanted, options):
            with clock.stage(_LOOKING):
                sighting, notes = self._look(volume, prepared, wanted, classes, variant)
        with clock.stage("network"):
            runtime = self._on(plan.device, is_plain=False)
            runtime.ring_device = plan.ring_device
            course = Course(spec, volume, lattice, runtime, plan.is_half, classes, wanted, variant, job, on_class)
            found = course.found(sighting)
        with clock.stage("cleaning"):
            job.advance("cleaning", 0.0)
            bits = course.cleaned(found.sink, wanted, partial(job.advance, "cleaning"))
        with clock.stage("restoring"):
            job.advance("restoring", 0.0)
            advance, sink = partial(job.advance, "restoring"), found.sink
            if isinstance(sink, LogitSink):
                i, j, k = prepared.valid
                logits = sink.logits[:, i, j, k]
                bits = restore_linear(bits, logits, classes, prepared.geometry, volume.geometry, advance, on_class)
            else:
                bits = restore_nearest(bits, prepared.geometry, volume.geometry, advance)
            job.advance("restoring", 1.0)
        return bits, replace(found, notes=(*notes, *found.notes)), plan, runtime

    def _is_looked_for(self, wanted: tuple[int, ...], options: RunOptions) -> bool:
        """Whether it pays to look where the classes are before windows are run."""
        spec = self._spec
        is_fast = options.recipe == "fast" and not options.everywhere
        return is_fast and self._finder is not None and spec.window is not None and set(wanted) < set(spec.offered)

    def _look(
        self,
        volume: Volume,
        prepared: ModelInput,
        wanted: tuple[int, ...],
        computed: tuple[int, ...],
        variant: str,
    ) -> tuple[Sighting | None, tuple[str, ...]]:
        """Where the classes are; None where that cannot be told, and why, in sentences."""
        finder = self._finder
        assert finder is not None
        # What is not computed cannot be compared with what the finder sees.
        classes, missing = sought(wanted, variant, set(finder.offered).intersection(computed))
        if missing:
            names = listed(structures(self._spec.own)[c].slug for c in missing)
            return None, (
                searched_everywhere(_("{finder} does not know {classes}").format(finder=finder.title, classes=names)),
            )
        try:
            return look(finder, volume, prepared, classes, partial(self._job.advance, _LOOKING)), ()
        except (ModelError, ResourceError) as error:
            return None, (searched_everywhere(_("{finder} cannot be run").format(finder=finder.title)), error.what)

    def _on(self, device: str, is_plain: bool) -> Runtime:
        """The runtime that was opened for ``device``, whether or not it fell back to another one."""
        if self._runtime is None or self._runtime[0] != device:
            self._runtime = device, self._open(device)
        runtime = self._runtime[1]
        runtime.prepare(is_plain, partial(self._job.advance, _CHECKING))
        return runtime

    def _planned(self, need: MemoryNeed, device: str) -> MemoryPlan:
        free_device = 0 if device == "cpu" else self._machine.free_device(device)
        return plan_memory(need, device, free_device, self._machine.free_host())


def memory_need(
    shape: tuple[int, ...], native: Geometry, window: tuple[int, int, int], classes: tuple[int, ...], spec: ModelSpec
) -> MemoryNeed:
    """Bytes for a run on a model grid of ``shape``."""
    voxels, native_voxels = int(np.prod(shape)), int(np.prod(native.shape))
    n, bits = len(classes), np.dtype(bits_type(classes)).itemsize
    is_single = window == tuple(shape)
    per_voxel = _NETWORK_BYTES_PER_VOXEL["whole" if spec.window is None else "window"]
    # Per voxel: the image, the bits and the logits that are interpolated. Then cleaning, or the bits on the CT's grid.
    kept = 4 + bits + (2 * n if spec.upsampling == "linear" else 0)
    # Cleaning was measured with bits of four bytes; it holds them once more.
    later = max((_CLEANING_BYTES_PER_VOXEL + bits - 4) * voxels, bits * (voxels + native_voxels))
    return MemoryNeed(
        network=int(np.prod(window)) * (per_voxel + 8 * n),
        ring=0 if is_single else (4 * n + 4) * shape[0] * shape[1] * window[2],
        host=kept * voxels + later + _SLAB_BYTES,
    )


def published_need(shape: tuple[int, ...], native: Geometry, classes: tuple[int, ...], spec: ModelSpec) -> MemoryNeed:
    """Bytes for a run of the published recipe on a model grid of ``shape``: it keeps everything in main memory.

    Per class and voxel logits and probabilities in fp32 and a mask, later logits and mask; MONAI resamples in fp64.
    """
    voxels, native_voxels = int(np.prod(shape)), int(np.prod(native.shape))
    n, bits = len(classes), np.dtype(bits_type(classes)).itemsize
    whole = native_voxels * float(np.prod(native.spacing) / np.prod(spec.spacing_mm))
    preparing = 12 * native_voxels + _MONAI_BYTES_PER_VOXEL * whole
    blending = (4 + bits + 9 * n) * voxels
    cleaning = (2 * bits + 5 * n + _CLEANING_BYTES_PER_VOXEL) * voxels
    restoring = (2 * bits + 5 * n) * voxels + 12 * whole + _MONAI_BYTES_PER_VOXEL * native_voxels
    network = memory_need(shape, native, spec.window or tuple(shape), classes, spec).network  # type: ignore[arg-type]
    return MemoryNeed(network, ring=0, host=int(max(preparing, blending, cleaning, restoring)))


def run_window(spec: ModelSpec, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The model's window; for a model of the whole scan the scan, or slabs of it where it is very long."""
    if spec.window is not None:
        return spec.window
    i, j, k = shape
    return (i, j, k) if i * j * k <= _WHOLE_SCAN_LIMIT else (i, j, min(k, _SLAB))


def _check_offered(spec: ModelSpec, wanted: tuple[int, ...]) -> None:
    unknown = [c for c in wanted if c not in spec.offered]
    if unknown:
        raise InputError(
            _("The model {id} does not offer the classes {classes}.").format(
                id=spec.id, classes=", ".join(map(str, unknown))
            ),
            _("It offers: {have}.").format(have=", ".join(map(str, spec.offered))),
        )


def _overlap_note(spec: ModelSpec, overlap: float, options: RunOptions, windows: int) -> tuple[str, ...]:
    """How a run that nobody gave an overlap for differs from the published recipe."""
    if options.overlap is not None or spec.window is None or overlap == spec.overlap or windows == 1:
        return ()
    note = _(
        "Windows overlap by {ours}, not by {published} as published, and lie over the body alone: the masks differ "
        "from those of the published recipe."
    )
    return (note.format(ours=f"{overlap:g}", published=f"{spec.overlap:g}"),)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)
