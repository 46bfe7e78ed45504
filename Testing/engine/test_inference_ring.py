"""The ring of planes gives the masks of MONAI's sliding-window inference, plane by plane and without its volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.segmentation import BITS
from GenesisSegmentLib.engine.inference.ring import BitSink, LogitSink, slide, window_count
from inference_builders import StandIn, no_report

CLASSES = (1, 6, 32)


def noisy(window: np.ndarray) -> np.ndarray:
    """Logits that depend on what is in the window and on the place in the window, so that overlaps disagree."""
    ramp = np.linspace(-1, 1, window.size, dtype=np.float32).reshape(window.shape)
    return window - np.float32(0.5) + np.float32(0.4) * np.sin(np.float32(37) * ramp + window.sum())


FUNCTIONS = (noisy, lambda w: noisy(w[::-1])[:, ::-1], lambda w: -noisy(w) + w.mean())


def monai_logits(image: np.ndarray, window, overlap: float, channels=(0, 1, 2)) -> np.ndarray:
    runtime = StandIn(FUNCTIONS)
    return sliding_window_inference(
        torch.from_numpy(image)[None, None],
        window,
        1,
        lambda piece: torch.from_numpy(runtime.logits(piece[0, 0].numpy(), channels))[None],
        overlap=overlap,
        mode="gaussian",
        sigma_scale=0.125,
    )[0].numpy()


class Recorder:
    """A sink that notes what it is given."""

    def __init__(self) -> None:
        self.planes: list[int] = []
        self.parts: list[np.ndarray] = []

    def take(self, first: int, logits: np.ndarray) -> None:
        self.planes += range(first, first + logits.shape[3])
        self.parts.append(logits.copy())


@st.composite
def grids(draw):
    window = tuple(draw(st.integers(2, 9)) for _ in range(3))
    extra = [draw(st.integers(0, 12)) for _ in range(2)] + [draw(st.integers(0, 40))]
    return tuple(w + e for w, e in zip(window, extra, strict=True)), window


def bits_of(logits: np.ndarray, classes=CLASSES) -> np.ndarray:
    return sum(np.where(values > 0, BITS(1 << (c - 1)), BITS(0)) for c, values in zip(classes, logits, strict=True))


@given(grid=grids(), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]), seed=st.integers(0, 2**16))
@settings(max_examples=80, deadline=None)
def test_masks_are_bit_identical_to_monai(grid, overlap, seed) -> None:
    shape, window = grid
    image = np.random.default_rng(seed).random(shape, dtype=np.float32)
    sink = BitSink(shape, CLASSES)
    slide(image, StandIn(FUNCTIONS), (0, 1, 2), window, overlap, sink, no_report)
    logits = monai_logits(image, window, overlap)
    far_from_zero = np.abs(logits).min(axis=0) > 1e-6  # The order of a float sum is free.
    assert (sink.bits == bits_of(logits))[far_from_zero].all()
    assert far_from_zero.mean() > 0.999 or far_from_zero.size < 2000


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
def test_windows_that_wrap_round_the_ring_are_blended_as_by_monai(overlap) -> None:
    shape, window = (11, 9, 50), (8, 8, 10)  # starts such as 2, 5, 7... are no multiples of the depth
    image = np.random.default_rng(7).random(shape, dtype=np.float32)
    sink = Recorder()
    slide(image, StandIn(FUNCTIONS), (0, 1, 2), window, overlap, sink, no_report)
    np.testing.assert_allclose(np.concatenate(sink.parts, axis=3), monai_logits(image, window, overlap), atol=2e-6)


def test_torch_tensors_give_the_same_masks() -> None:
    class InTorch(StandIn):
        def logits(self, window, channels, advance=no_report):
            return torch.from_numpy(super().logits(window, channels))

        def zeros(self, shape, half):
            return torch.zeros(shape, dtype=torch.float16 if half else torch.float32)

        def to_array(self, values):
            return torch.from_numpy(values)

        def to_numpy(self, values):
            return values.float().numpy()

    image = np.random.default_rng(1).random((13, 12, 30), dtype=np.float32)
    found = []
    for runtime in (InTorch(FUNCTIONS), StandIn(FUNCTIONS)):
        sink = BitSink(image.shape, CLASSES)
        slide(image, runtime, (0, 1, 2), (8, 8, 8), 0.5, sink, no_report)
        found.append(sink.bits)
    assert (found[0] == found[1]).all()


def test_one_window_is_handed_over_as_it_is() -> None:
    image = np.random.default_rng(2).random((7, 8, 9), dtype=np.float32)
    sink, runtime, calls = Recorder(), StandIn(FUNCTIONS), []
    slide(image, runtime, (0, 1, 2), image.shape, 0.5, sink, calls.append)
    np.testing.assert_array_equal(sink.parts[0], StandIn(FUNCTIONS).logits(image, (0, 1, 2)))
    assert calls == [1.0]
    assert runtime.zeros_asked == []  # no ring


def test_only_the_asked_channels_are_computed() -> None:
    image = np.random.default_rng(3).random((12, 12, 12), dtype=np.float32)
    runtime, sink = StandIn(FUNCTIONS), BitSink(image.shape, (32, 1))
    slide(image, runtime, (2, 0), (8, 8, 8), 0.5, sink, no_report)
    assert runtime.channels == {(2, 0)}
    logits = monai_logits(image, (8, 8, 8), 0.5, (2, 0))
    assert (sink.bits == bits_of(logits, (32, 1))).all()
    assert np.bitwise_or.reduce(sink.bits, axis=None) == BITS((1 << 31) | 1)


@given(grid=grids(), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]))
@settings(max_examples=40, deadline=None)
def test_planes_come_once_each_and_in_order(grid, overlap) -> None:
    shape, window = grid
    sink, calls = Recorder(), []
    slide(np.zeros(shape, np.float32), StandIn(FUNCTIONS), (0,), window, overlap, sink, calls.append)
    assert sink.planes == list(range(shape[2]))
    total = window_count(shape, window, overlap)
    assert calls == [n / total for n in range(1, total + 1)]


@pytest.mark.filterwarnings("error")
def test_windows_that_are_not_chosen_are_not_run_and_leave_nothing() -> None:
    """Where all windows of a voxel are run its logits are those of a full run; where none is they are 0."""
    shape, window = (24, 16, 32), (8, 8, 8)
    image = np.random.default_rng(6).random(shape, dtype=np.float32)
    chosen = np.ones((5, 3, 7), dtype=bool)
    chosen[3:], chosen[:, :, 4:] = False, False
    sink, runtime, told = Recorder(), StandIn(FUNCTIONS), []
    slide(image, runtime, (0, 1, 2), window, 0.5, sink, told.append, chosen=chosen)
    assert len(runtime.windows) == chosen.sum() == len(told)
    assert told[-1] == 1.0
    found, expected = np.concatenate(sink.parts, axis=3), monai_logits(image, window, 0.5)
    np.testing.assert_allclose(found[:, :12, :, :16], expected[:, :12, :, :16], atol=2e-6)
    assert (found[:, 16:] == 0).all()
    assert (found[..., 20:] == 0).all()
    assert sink.planes == list(range(32))


def test_half_precision_is_close() -> None:
    image = np.random.default_rng(4).random((20, 18, 40), dtype=np.float32)
    sink, runtime = Recorder(), StandIn(FUNCTIONS)
    slide(image, runtime, (0, 1, 2), (10, 10, 10), 0.5, sink, no_report, half=True)
    assert runtime.zeros_asked[0] == ((3, 20, 18, 10), True)
    expected = monai_logits(image, (10, 10, 10), 0.5)
    half = np.concatenate(sink.parts, axis=3)
    assert np.abs(half - expected).max() < 0.01
    agreement = ((half > 0) == (expected > 0)).mean()
    assert agreement > 0.998


def test_no_float_volume_is_kept() -> None:
    shape, window = (10, 10, 200), (8, 8, 8)
    runtime, sink = StandIn(FUNCTIONS), BitSink(shape, CLASSES)
    slide(np.zeros(shape, np.float32), runtime, (0, 1, 2), window, 0.5, sink, no_report)
    assert all(asked[-1] == window[2] for asked, _ in runtime.zeros_asked)  # a window deep, however long the scan
    arrays = [value for value in vars(sink).values() if isinstance(value, np.ndarray)]
    assert [a.dtype for a in arrays] == [BITS]


def test_planes_are_handed_over_a_few_at_a_time() -> None:
    sink = Recorder()
    slide(np.zeros((70, 64, 130), np.float32), StandIn(FUNCTIONS), (0,), (64, 64, 64), 0.5, sink, no_report)
    assert max(part.shape[3] for part in sink.parts) <= 16
    assert sink.planes == list(range(130))


def test_logits_are_kept_for_interpolation_in_half_precision() -> None:
    image = np.random.default_rng(5).random((9, 9, 20), dtype=np.float32)
    sink = LogitSink(image.shape, CLASSES)
    slide(image, StandIn(FUNCTIONS), (0, 1, 2), (8, 8, 8), 0.5, sink, no_report)
    expected = monai_logits(image, (8, 8, 8), 0.5)
    np.testing.assert_allclose(sink.logits, expected, atol=2e-3)
    assert (sink.bits == bits_of(expected)).all()


def test_enormous_logits_stay_finite_in_half_precision() -> None:
    sink = LogitSink((2, 2, 2), (1,))
    sink.take(0, np.full((1, 2, 2, 2), 1e9, np.float32))
    assert np.isfinite(sink.logits).all()
    assert (sink.bits == 1).all()


def test_a_cancelled_run_stops_after_the_window() -> None:
    runtime, sink = StandIn(FUNCTIONS), Recorder()

    def cancel_at_third(share: float) -> None:
        if len(runtime.windows) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        slide(np.zeros((20, 20, 20), np.float32), runtime, (0,), (8, 8, 8), 0.5, sink, cancel_at_third)
    assert len(runtime.windows) == 3
    assert sink.planes == []
