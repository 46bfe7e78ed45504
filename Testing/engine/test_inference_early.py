"""Classes that are given before the run ends: when, where, and that they are what the result says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from GenesisSegmentLib.core.geometry import Box, Geometry, Reorientation
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.segmentation import BITS
from GenesisSegmentLib.engine.inference import early
from GenesisSegmentLib.engine.inference.early import EarlyClasses, box_on
from GenesisSegmentLib.engine.inference.preprocess import ModelInput
from GenesisSegmentLib.engine.inference.restore import restore_nearest
from GenesisSegmentLib.engine.inference.ring import BitSink
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import RunOptions
from inference_builders import (
    COARSE,
    KIDNEY_LEFT,
    LIVER,
    ORIENTATIONS,
    ROTATIONS,
    SPEC,
    SPLEEN,
    FreeMemory,
    StandIn,
    a_volume,
    above,
    ball_distance,
    grid,
)

CENTER = (0.0, 0.0, 100.0)
SHAPE = (20, 18, 50)


def below(hu: float):
    return lambda window: -above(hu)(window)


FUNCTIONS = (above(140), above(400), above(400), below(-50), above(400))
"""Spleen is what is dense, liver what is fat; of kidneys and tumour there are none."""


@pytest.fixture(autouse=True)
def _time_is_no_object(monkeypatch):
    monkeypatch.setattr(early, "_LARGEST_SHARE", float("inf"))


def a_body(orientation: Reorientation = ORIENTATIONS[0], degrees=ROTATIONS[1]):
    """A long body with a spleen near its lower end and a liver near its upper end, on turned and permuted axes."""
    geometry = grid(SHAPE, (2.2, 2.5, 2.5), degrees, CENTER)
    low, high = (tuple((geometry.ijk_to_ras @ [*at, 1.0])[:3]) for at in ((11, 8, 9), (8, 10, 42)))
    voxels = np.full(SHAPE, 40.0)
    voxels[ball_distance(geometry, low, 9.0) > 0] = 240
    voxels[ball_distance(geometry, high, 9.0) > 0] = -140
    return a_volume(orientation.apply(voxels), geometry.reoriented(orientation))


def run(volume, spec=SPEC, classes=(LIVER, SPLEEN)):
    """The result, and what was given early: (windows done, index, box, mask, is preliminary)."""
    runtime, given = StandIn(FUNCTIONS), []
    segmenter = Segmenter(spec, lambda name: runtime, "cpu", FreeMemory(), Job())
    result = segmenter.segment(
        volume, RunOptions(classes), on_class=lambda *found: given.append((len(runtime.windows), *found))
    )
    return result, given


def whole(box: Box, mask: np.ndarray, shape) -> np.ndarray:
    out = np.zeros(shape, dtype=bool)
    out[box.slices] = mask
    return out


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_organ_that_the_windows_have_passed_is_given_in_its_place_for_every_order_of_the_axes(degrees):
    for orientation in ORIENTATIONS[::5]:
        volume = a_body(orientation, degrees)
        result, given = run(volume)
        windows, index, box, mask, is_preliminary = given[0]
        assert index == SPLEEN
        assert is_preliminary
        assert windows < result.windows
        assert np.array_equal(whole(box, mask, volume.geometry.shape), result.segmentation.mask(SPLEEN))
        assert mask.any()


def test_organ_that_lies_at_the_end_comes_with_the_result_alone():
    _, given = run(a_body())
    assert [index for _, index, *_ in given] == [SPLEEN]


def test_nothing_is_given_that_was_not_asked_for():
    _, given = run(a_body(), classes=(LIVER,))
    assert given == []


def test_result_is_the_same_with_and_without():
    volume = a_body()
    with_it, _ = run(volume)
    without = Segmenter(SPEC, lambda name: StandIn(FUNCTIONS), "cpu", FreeMemory(), Job()).segment(
        volume, RunOptions((LIVER, SPLEEN))
    )
    assert np.array_equal(with_it.segmentation.bits, without.segmentation.bits)


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_coarse_model_gives_every_class_as_it_is_restored(degrees):
    spec = replace(COARSE, spacing_mm=(3.0, 3.0, 3.0))
    for orientation in ORIENTATIONS[::5]:
        volume = a_body(orientation, degrees)
        result, given = run(volume, spec)
        assert sorted(index for _, index, *_ in given) == sorted(result.segmentation.present()) == [SPLEEN, LIVER]
        for _, index, box, mask, is_preliminary in given:
            assert not is_preliminary
            assert np.array_equal(whole(box, mask, volume.geometry.shape), result.segmentation.mask(index))


# --- The sink alone ---------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def planes_of(masks: dict[int, np.ndarray]):
    """The sink, and what it gave after the planes of ``masks`` (one per class, 2 mm) were taken one by one."""
    classes = tuple(masks)
    shape = next(iter(masks.values())).shape
    geometry = Geometry(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    image = np.zeros(shape, np.float32)
    prepared = ModelInput(image, geometry, tuple(slice(0, n) for n in shape))
    given = []
    sink = BitSink(shape, classes)
    taker = EarlyClasses(sink, prepared, geometry, classes, classes, "safe", lambda *found: given.append(found))
    when = []
    for k in range(shape[2]):
        logits = np.stack([np.where(masks[c][:, :, k : k + 1], 1.0, -1.0) for c in classes])
        taker.take(k, logits)
        when += [k] * (len(given) - len(when))
    return given, when


def a_mask(*spans, shape=(12, 12, 80)):
    mask = np.zeros(shape, dtype=bool)
    for low, high in spans:
        mask[3:9, 3:9, low:high] = True
    return mask


def test_organ_is_given_three_centimetres_after_its_end():
    given, when = planes_of({SPLEEN: a_mask((5, 20))})
    ((index, box, mask, is_preliminary),) = given
    assert (index, is_preliminary) == (SPLEEN, True)
    assert np.array_equal(whole(box, mask, (12, 12, 80)), a_mask((5, 20)))
    assert when == [34]  # planes of 2 mm; the last one with spleen is 19


def test_organ_that_goes_on_after_a_gap_is_given_again():
    given, _ = planes_of({LIVER: a_mask((2, 12), (34, 50))})
    assert [box.stop[2] - 1 for _, box, *_ in given] == [12, 50]


def test_stray_spot_is_not_given():
    mask = np.zeros((12, 12, 80), dtype=bool)
    mask[4:6, 4:6, 10:12] = True
    assert planes_of({LIVER: mask}) == ([], [])


def test_lesion_waits_for_its_host():
    host, lesion = a_mask((5, 45)), a_mask((10, 20))
    given, when = planes_of({KIDNEY_LEFT: host, 2: a_mask((5, 8)), 26: lesion})
    when_of = {index: k for (index, *_), k in zip(given, when, strict=True)}
    assert when_of[26] >= when_of[KIDNEY_LEFT] > 45


def test_early_classes_do_not_take_more_than_their_share_of_the_time(monkeypatch):
    monkeypatch.setattr(early, "_LARGEST_SHARE", 0.05)
    masks = {c: a_mask((2 * c, 2 * c + 10)) for c in (1, 4, 7)}
    shape = (12, 12, 80)
    geometry = Geometry(shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    prepared = ModelInput(np.zeros(shape, np.float32), geometry, tuple(slice(0, n) for n in shape))
    given = []
    classes = tuple(masks)
    arguments = (BitSink(shape, classes), prepared, geometry, classes, classes, "safe")
    taker = EarlyClasses(*arguments, lambda *found: given.append(found), Clock())  # the work takes half of all time
    for k in range(40):
        taker.take(k, np.stack([np.where(masks[c][:, :, k : k + 1], 1.0, -1.0) for c in classes]))
    assert len(given) == 1


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7])
def test_box_on_the_native_grid_holds_all_that_is_restored(orientation: Reorientation):
    native = grid(SHAPE, (2.2, 2.5, 2.5), ROTATIONS[1], CENTER).reoriented(orientation)
    model = native.reoriented(native.to_ras).resampled((3.0, 3.0, 3.0))
    inner = Box((3, 4, 5), (7, 9, 12))
    bits = np.zeros(model.shape, BITS)
    bits[inner.slices] = 1
    expected = restore_nearest(bits, model, native)
    piece = model.cropped(inner)
    box = box_on(native, piece)
    found = restore_nearest(bits[inner.slices], piece, native.cropped(box))
    assert np.array_equal(whole(box, found != 0, native.shape), expected != 0)


def test_piece_outside_the_native_grid_has_no_box():
    native = Geometry((4, 4, 4), np.eye(4))
    matrix = np.eye(4)
    matrix[:3, 3] = 50.0
    assert box_on(native, Geometry((2, 2, 2), matrix)) is None
