"""Resampling in slabs gives what the whole volume gives in one go, and takes no more memory than a slab."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from builders import TISSUE
from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.segmentation import BITS
from GenesisSegmentLib.engine.inference import resample
from GenesisSegmentLib.engine.inference.preprocess import model_input
from GenesisSegmentLib.engine.inference.resample import add_resampled, matrices, slabs
from GenesisSegmentLib.engine.inference.restore import restore_linear, restore_nearest
from inference_builders import COARSE, ORIENTATIONS, ROTATIONS, SPEC, a_body, a_volume, grid, positions

HU_SPAN = 6000.0
ALL_HU = replace(SPEC, window_hu=(-3000.0, 3000.0), window=(8, 8, 8))
EXACT_HU, SMOOTHED_HU = 0.005, 0.05
"""How far slabs may be from the whole volume: rounding to float32, and the tails of the Gaussian that are dropped."""
ALL_AT_ONCE = 10**9


@contextmanager
def slabs_of(voxels: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample, "SLAB_VOXELS", voxels)
        yield


# --- the second implementation: the whole volume at once, every voxel by its position in the patient -----------------


def indices(wanted: Geometry, among: Geometry) -> np.ndarray:
    """Index (3, i, j, k) among the voxels of one grid of every voxel of another."""
    ras = positions(wanted).reshape(3, -1)
    found = np.linalg.solve(among.ijk_to_ras, np.vstack([ras, np.ones(ras.shape[1])]))[:3]
    return found.reshape(3, *wanted.shape)


def whole_input(voxels: np.ndarray, native: Geometry, wanted: Geometry, is_smoothed: bool) -> np.ndarray:
    """Hounsfield units on a grid of equal spacing along its axes."""
    image = voxels.astype(np.float32)
    if is_smoothed:
        for axis, (count, fine) in enumerate(zip(native.shape, native.spacing, strict=True)):
            coarse = wanted.spacing[0]
            if fine < 0.8 * coarse and count >= 4:
                itk = sitk.GetImageFromArray(image)
                itk.SetSpacing(native.spacing[::-1])
                sigma = 0.4 * float(np.sqrt(coarse**2 - fine**2))
                image = sitk.GetArrayFromImage(sitk.RecursiveGaussian(itk, sigma, direction=2 - axis))
    return ndimage.map_coordinates(image.astype(np.float64), indices(wanted, native), order=1, mode="nearest")


def whole_nearest(bits: np.ndarray, model: Geometry, native: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Bits on the CT's grid, and which of its voxels have one nearest neighbour and not two."""
    at = indices(native, model)
    shape = np.array(model.shape).reshape(3, 1, 1, 1)
    nearest = np.clip(np.floor(at + 0.5).astype(int), 0, shape - 1)
    inside = ((at > -0.5) & (at < shape - 0.5)).all(axis=0)
    is_clear = (np.abs(at - np.floor(at) - 0.5) > 1e-5).all(axis=0)
    return np.where(inside, bits[tuple(nearest)], BITS(0)), is_clear


def whole_linear(bit: int, bits: np.ndarray, logits: np.ndarray, model: Geometry, native: Geometry) -> np.ndarray:
    """The interpolated field of a class, float64 on the CT's grid, -1 outside its box."""
    mask = (bits & BITS(bit)) != 0
    box = Box.around(mask)
    if box is None:
        return np.full(native.shape, -1.0)
    box = box.grown(1, model.shape)
    inside, size = mask[box.slices], np.abs(logits[box.slices].astype(np.float64))
    field = np.where(inside, np.maximum(size, 1e-3), -size)
    at = indices(native, model.cropped(box))
    shape = np.array(box.shape).reshape(3, 1, 1, 1)
    covered = ((at > -0.5 - 1e-6) & (at < shape - 0.5 + 1e-6)).all(axis=0)
    return np.where(covered, ndimage.map_coordinates(field, at, order=1, mode="nearest"), -1.0)


SPACINGS = [(0.7, 0.7, 5.0), (0.3, 0.3, 0.3), (3.0, 3.0, 3.0), (0.83, 0.9, 1.3), (0.75, 0.75, 1.5), (1.5, 4.0, 0.6)]
SHAPES = st.one_of(
    st.tuples(*[st.integers(1, 26)] * 3),
    st.sampled_from([(30, 28, 1), (1, 40, 12), (12, 1, 30), (24, 20, 60), (60, 5, 9)]),
)
grids = st.builds(
    lambda shape, spacing, degrees, orientation: grid(shape, spacing, degrees).reoriented(orientation),
    SHAPES,
    st.sampled_from(SPACINGS),
    st.sampled_from(ROTATIONS),
    st.sampled_from(ORIENTATIONS),
)
slab_voxels = st.sampled_from([1, 60, 700, ALL_AT_ONCE])
model_mm = st.sampled_from([1.5, 2.0, 4.0])


@given(native=grids, mm=model_mm, voxels=slab_voxels, smoothed=st.booleans(), order=st.sampled_from("CF"))
@settings(max_examples=120)
def test_the_model_s_input_is_that_of_the_whole_volume(native, mm, voxels, smoothed, order) -> None:
    ct = np.random.default_rng(0).integers(-250, 2900, native.shape).astype(np.int16, order=order)
    spec = replace(ALL_HU, spacing_mm=(mm,) * 3, is_smoothed=smoothed)
    with slabs_of(voxels):
        prepared = model_input(a_volume(ct, native), spec)
    expected = whole_input(ct, native, prepared.geometry, smoothed)
    assert prepared.image.dtype == np.float32
    hu = prepared.image[prepared.valid] * HU_SPAN - 3000
    assert hu.shape == expected.shape
    assert np.abs(hu - expected).max() < (SMOOTHED_HU if smoothed else EXACT_HU)


@pytest.mark.parametrize("is_smoothed", [False, True])
@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("orientation", ORIENTATIONS[::7])
def test_a_crop_of_the_body_is_that_of_the_whole_volume(orientation, degrees, is_smoothed) -> None:
    """The Gaussian must see the air beyond the crop."""
    native = grid((70, 64, 50), (1.1, 1.2, 1.6), degrees).reoriented(orientation)
    ct = a_body(native, 22.0)
    spec = replace(ALL_HU, window=None, spacing_mm=(3.0,) * 3, is_smoothed=is_smoothed)
    with slabs_of(9000):
        prepared = model_input(a_volume(ct, native), spec)
    whole = native.reoriented(native.to_ras).resampled(spec.spacing_mm).shape
    assert all(n < whole[axis] for axis, n in enumerate(prepared.geometry.shape))  # cropped along every axis
    expected = whole_input(ct, native, prepared.geometry, is_smoothed)
    hu = prepared.image[prepared.valid] * HU_SPAN - 3000
    assert np.abs(hu - expected).max() < (SMOOTHED_HU if is_smoothed else EXACT_HU)


@given(native=grids, mm=model_mm, voxels=slab_voxels, seed=st.integers(0, 99), order=st.sampled_from("CF"))
@settings(max_examples=120)
def test_nearest_bits_are_those_of_the_whole_volume(native, mm, voxels, seed, order) -> None:
    rng = np.random.default_rng(seed)
    model = cropped(native.reoriented(native.to_ras).resampled((mm,) * 3), rng)
    bits = rng.integers(0, 2**32, model.shape, dtype=BITS).astype(BITS, order=order)
    with slabs_of(voxels):
        found = restore_nearest(bits, model, native)
    expected, is_clear = whole_nearest(bits, model, native)
    assert found.dtype == BITS
    assert found.shape == native.shape
    np.testing.assert_array_equal(found[is_clear], expected[is_clear])


@given(native=grids, mm=model_mm, voxels=slab_voxels, seed=st.integers(0, 99), order=st.sampled_from("CF"))
@settings(max_examples=120)
def test_interpolated_bits_are_those_of_the_whole_volume(native, mm, voxels, seed, order) -> None:
    rng = np.random.default_rng(seed)
    model = cropped(native.reoriented(native.to_ras).resampled((mm,) * 3), rng)
    classes = (1, 6, 32)
    logits = rng.normal(0, 2, (3, *model.shape)).astype(np.float16, order=order)
    bits = np.zeros(model.shape, BITS)
    for index, values in zip(classes, logits, strict=True):
        kept = cropped_box(model.shape, rng)  # a class that fills only a part, with changes by post-processing
        changed = rng.random(kept.shape) < 0.1
        bits[kept.slices] |= np.where((values[kept.slices] > 0) ^ changed, BITS(1 << (index - 1)), BITS(0))
    with slabs_of(voxels):
        found = restore_linear(bits, logits, classes, model, native)
    assert found.dtype == BITS
    assert found.shape == native.shape
    for index, values in zip(classes, logits, strict=True):
        bit = 1 << (index - 1)
        field = whole_linear(bit, bits, values, model, native)
        is_clear = np.abs(field) > 1e-5
        np.testing.assert_array_equal(((found & BITS(bit)) != 0)[is_clear], (field > 0)[is_clear])


def cropped_box(shape: tuple[int, int, int], rng: np.random.Generator) -> Box:
    start = tuple(int(rng.integers(0, max(1, n // 2))) for n in shape)
    stop = tuple(int(rng.integers(a + 1, n + 1)) for a, n in zip(start, shape, strict=True))
    return Box(start, stop)


def cropped(geometry: Geometry, rng: np.random.Generator) -> Geometry:
    return geometry.cropped(cropped_box(geometry.shape, rng)) if rng.random() < 0.5 else geometry


def test_what_a_coarse_grid_skips_is_not_read() -> None:
    """Slabs between two planes of a much coarser grid change nothing."""
    native, voxels = grid((6, 6, 40), (1.0, 1.0, 1.0)), np.random.default_rng(0).normal(0, 100, (6, 6, 40))
    coarse = native.resampled((1.0, 1.0, 13.0))
    out = np.zeros(coarse.shape, np.float32)
    with slabs_of(36):
        add_resampled(voxels, matrices(native, coarse), out)
    np.testing.assert_allclose(out, voxels[:, :, [0, 13, 26, 39]], rtol=1e-6)


def test_the_input_is_neither_changed_nor_copied_whole() -> None:
    ct = np.full((20, 20, 20), TISSUE, np.int16)
    ct.setflags(write=False)
    native = grid(ct.shape, (2.0, 2.0, 2.0)).reoriented(ORIENTATIONS[17])
    assert np.shares_memory(native.to_ras.apply(ct), ct)
    model_input(a_volume(ct, native), COARSE)


# --- memory, progress, cancelling ------------------------------------------------------------------------------------


def peak_bytes(work: Callable[[], np.ndarray]) -> int:
    """The most that numpy held at a time beside the result."""
    work()  # what is imported and remembered is not counted
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


SHORT, LONG = 60, 240


@pytest.mark.parametrize("spec", [replace(SPEC, spacing_mm=(2.0,) * 3), COARSE], ids=["universal", "smoothed"])
def test_the_memory_of_the_input_grows_not_with_the_length(spec) -> None:
    def extra(planes: int) -> int:
        native = grid((64, 60, planes), (1.0, 1.0, 1.0)).reoriented(ORIENTATIONS[0])
        volume = a_volume(np.full(native.shape, TISSUE), native)
        return peak_bytes(lambda: model_input(volume, spec).image)

    with slabs_of(64 * 60 * 4):
        matrix = 3 * 8 * LONG**2 if spec.is_smoothed else 0  # of the Gaussian along k
        assert extra(LONG) - extra(SHORT) < (LONG - SHORT) * 64 * 60 // 4 + matrix  # a quarter of a byte per voxel


@pytest.mark.parametrize("method", ["nearest", "linear"])
def test_the_memory_of_restoring_grows_not_with_the_length(method) -> None:
    def extra(planes: int) -> int:
        native = grid((64, 60, planes), (1.0, 1.0, 1.0))
        model = native.resampled((4.0, 4.0, 4.0))
        bits, logits = np.ones(model.shape, BITS), np.ones((1, *model.shape), np.float16)
        if method == "nearest":
            return peak_bytes(lambda: restore_nearest(bits, model, native))
        return peak_bytes(lambda: restore_linear(bits, logits, (1,), model, native))

    with slabs_of(64 * 60 * 4):
        assert extra(LONG) - extra(SHORT) < (LONG - SHORT) * 64 * 60 // 4


def works(native: Geometry) -> dict[str, Callable[[Callable[[float], None]], object]]:
    model = native.reoriented(native.to_ras).resampled((2.0, 2.0, 2.0))
    bits = np.full(model.shape, BITS(3))
    logits = np.ones((2, *model.shape), np.float16)
    volume = a_volume(np.full(native.shape, TISSUE), native)
    return {
        "input": lambda advance: model_input(volume, SPEC, advance),
        "nearest": lambda advance: restore_nearest(bits, model, native, advance),
        "linear": lambda advance: restore_linear(bits, logits, (1, 2), model, native, advance),
    }


@pytest.mark.parametrize("name", ["input", "nearest", "linear"])
def test_progress_is_told_and_the_work_can_be_stopped_at_every_slab(name) -> None:
    native = grid((10, 9, 21), (1.0, 1.0, 1.0))
    work = works(native)[name]
    shares: list[float] = []
    with slabs_of(10 * 9 * 3):
        work(shares.append)
        expected = 7  # three planes at a time
        np.testing.assert_allclose(shares, np.arange(expected) / expected)
        for last in range(expected):
            shares.clear()

            def stop(share: float, last: int = last) -> None:
                shares.append(share)
                if len(shares) > last:
                    raise Cancelled

            with pytest.raises(Cancelled):
                work(stop)
            assert len(shares) == last + 1


@given(count=st.integers(0, 50), plane=st.integers(0, 40), voxels=st.integers(1, 100))
def test_slabs_follow_each_other_and_keep_their_bound(count, plane, voxels) -> None:
    with slabs_of(voxels):
        found = list(slabs(count, plane))
    assert [k for slab in found for k in range(slab.start, slab.stop)] == list(range(count))
    assert all(slab.stop - slab.start == 1 or (slab.stop - slab.start) * plane <= voxels for slab in found)
