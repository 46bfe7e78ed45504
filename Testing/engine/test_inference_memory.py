"""Memory is planned before a run, and what runs out in spite of that is told or made good for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.memory_plan import MemoryNeed
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.inference import segmenter as module
from GenesisSegmentLib.engine.inference.preprocess import input_frame, published_frame
from GenesisSegmentLib.engine.inference.runtimes import DeviceMemoryError
from GenesisSegmentLib.engine.inference.segmenter import Segmenter, memory_need, published_need
from GenesisSegmentLib.engine.inference.spec import RunOptions
from inference_builders import COARSE, SPEC, FreeMemory, StandIn, no_report
from segmenter_builders import FUNCTIONS, a_grid, a_segmenter, abdomen


def need_of(volume: Volume) -> MemoryNeed:
    shape = input_frame(volume, SPEC).shape
    return memory_need(shape, volume.geometry, SPEC.window, SPEC.offered, SPEC)


@pytest.mark.parametrize(
    ("share_of_ring", "device", "ring_device", "is_half", "word"),
    [
        (1.0, "cuda:0", "cuda:0", False, None),
        (0.5, "cuda:0", "cuda:0", True, "half precision"),
        (0.0, "cuda:0", "cpu", False, "main memory"),
        (-1.0, "cpu", "cpu", False, "goes on the CPU"),
    ],
)
def test_each_rung_of_the_memory_ladder_is_taken_and_told(share_of_ring, device, ring_device, is_half, word) -> None:
    volume = abdomen(a_grid())
    need = need_of(volume)
    free = int((need.network + share_of_ring * need.ring) / 0.85) + 64
    opened = {name: StandIn(FUNCTIONS, name) for name in ("cpu", "cuda:0")}
    segmenter = Segmenter(SPEC, opened.__getitem__, "cuda:0", FreeMemory(device=free), Job())
    result = segmenter.segment(volume, RunOptions())
    runtime = opened[device]
    assert result.device == device
    assert runtime.ring_device == ring_device
    assert runtime.zeros_asked[0][1] is is_half
    *told, _overlap = result.notes
    assert [word in note for note in told] == ([True] if word else [])
    plain = a_segmenter().segment(volume, RunOptions()).segmentation
    assert (result.segmentation.bits != plain.bits).mean() < 1e-3


def test_a_scan_that_fits_nowhere_is_refused_before_the_network_runs() -> None:
    runtime = StandIn(FUNCTIONS)
    with pytest.raises(ResourceError, match="needs about"):
        a_segmenter(runtime, machine=FreeMemory(host=1_000_000)).segment(abdomen(a_grid()), RunOptions())
    assert runtime.windows == []


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole"])
def test_memory_is_planned_before_anything_is_resampled(monkeypatch, recipe, spec) -> None:
    for name in ("model_input", "run_published"):
        monkeypatch.setattr(module, name, lambda *arguments: pytest.fail("work began before there was a plan"))
    with pytest.raises(ResourceError, match="needs about") as caught:
        a_segmenter(spec=spec, machine=FreeMemory(host=1000)).segment(abdomen(a_grid()), RunOptions(recipe=recipe))
    assert caught.value.remedy


def test_the_published_recipe_needs_memory_for_every_class_three_times() -> None:
    volume = abdomen(a_grid())
    shape = published_frame(volume, SPEC).shape
    few, many = (published_need(shape, volume.geometry, tuple(range(1, n + 1)), SPEC) for n in (16, 32))
    voxels = np.prod(input_frame(volume, SPEC).shape)
    assert few.ring == many.ring == 0
    assert many.host > few.host
    assert many.host > 9 * 32 * voxels  # logits, probabilities and masks of all classes at a time


def test_the_published_recipe_leaves_a_gpu_that_is_too_small() -> None:
    opened = {name: StandIn(FUNCTIONS, name) for name in ("cpu", "cuda:0")}
    segmenter = Segmenter(SPEC, opened.__getitem__, "cuda:0", FreeMemory(device=1000), Job())
    result = segmenter.segment(abdomen(a_grid()), RunOptions(recipe="published"))
    assert result.device == "cpu"
    assert any("goes on the CPU" in note for note in result.notes)


def test_memory_needed_grows_with_the_classes_and_not_with_the_length() -> None:
    native, two, all_of_them = a_grid(), (1, 2), tuple(range(1, 33))
    few = memory_need((40, 40, 60), native, (16, 16, 16), two, SPEC)
    many = memory_need((40, 40, 60), native, (16, 16, 16), all_of_them, SPEC)
    long = memory_need((40, 40, 600), native, (16, 16, 16), all_of_them, SPEC)
    assert few.ring < many.ring == long.ring == (4 * 32 + 4) * 40 * 40 * 16
    assert long.network == many.network
    assert long.host < 40 * 40 * 40 * 600 + many.host  # bytes per voxel, however many classes
    assert memory_need((16, 16, 16), native, (16, 16, 16), two, SPEC).ring == 0


class FullGpu(StandIn):
    """Runs out of memory at its second window."""

    def __init__(self, error: Exception, device: str) -> None:
        super().__init__(FUNCTIONS, device)
        self._error = error

    def logits(self, window, channels, advance=no_report):
        if len(self.windows) == 1:
            raise self._error
        return super().logits(window, channels)


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize(
    "error", [DeviceMemoryError("cuda:0 ran out of memory.", ""), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_a_gpu_that_runs_full_hands_over_to_the_cpu_and_says_so(recipe, error) -> None:
    fractions: list[float] = []
    job = Job(lambda progress: fractions.append(progress.fraction))
    opened = {"cuda:0": FullGpu(error, "cuda:0"), "cpu": StandIn(FUNCTIONS)}
    segmenter = Segmenter(SPEC, opened.__getitem__, "cuda:0", FreeMemory(), job)
    result = segmenter.segment(abdomen(a_grid()), RunOptions(recipe=recipe))
    assert result.device == "cpu"
    assert result.notes[0] == "cuda:0 ran out of memory. The run was repeated on the CPU."
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    expected = a_segmenter().segment(abdomen(a_grid()), RunOptions(recipe=recipe)).segmentation
    assert (result.segmentation.bits == expected.bits).all()


def test_memory_that_runs_out_in_the_ring_is_noticed_too() -> None:
    class NoRing(StandIn):
        def zeros(self, shape, half):
            raise torch.OutOfMemoryError("CUDA out of memory")

    opened = {"cuda:0": NoRing(FUNCTIONS, "cuda:0"), "cpu": StandIn(FUNCTIONS)}
    result = Segmenter(SPEC, opened.__getitem__, "cuda:0", FreeMemory(), Job()).segment(abdomen(a_grid()), RunOptions())
    assert result.device == "cpu"
    assert "ran out of memory" in result.notes[0]


@pytest.mark.parametrize(
    "error",
    [
        DeviceMemoryError("The memory ran out.", "Close other programs."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_on_the_cpu_is_an_error_with_a_remedy(error) -> None:
    with pytest.raises(ResourceError, match="memory ran out") as caught:
        a_segmenter(FullGpu(error, "cpu")).segment(abdomen(a_grid()), RunOptions())
    assert caught.value.remedy


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        a_segmenter(FullGpu(RuntimeError("shapes do not fit"), "cpu")).segment(abdomen(a_grid()), RunOptions())
