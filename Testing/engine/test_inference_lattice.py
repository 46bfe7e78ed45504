"""Asked for the published overlap, the fast recipe works on the published windows and leaves out only empty ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import AIR, TISSUE
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.benchmark.tasks import UNIVERSAL
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.inference.lattice import BODY_MARGIN_MM, box_above
from GenesisSegmentLib.engine.inference.preprocess import find_body, model_input, published_frame
from GenesisSegmentLib.engine.inference.published import published_input, window_total
from GenesisSegmentLib.engine.inference.segmenter import Segmenter
from GenesisSegmentLib.engine.inference.spec import RunOptions
from GenesisSegmentLib.engine.inference.windows import starts
from inference_builders import (
    LIVER,
    ORIENTATIONS,
    ROTATIONS,
    SPEC,
    SPLEEN,
    FreeMemory,
    StandIn,
    a_body,
    a_volume,
    ball_distance,
    dice,
    grid,
)

CENTER = (12.0, -30.0, 400.0)
TABLE = -80


def scene(geometry, radius: float = 24.0) -> np.ndarray:
    """A body in air with two organs; beside it a foam table as wide as the scan, part of the published crop."""
    voxels = a_body(geometry, radius, CENTER).astype(float)
    voxels[ball_distance(geometry, (18.0, -33.0, 404.0), 9.0) > 0] = 160
    voxels[ball_distance(geometry, (2.0, -24.0, 395.0), 7.0) > 0] = 240
    j = int(np.argmin(np.abs(np.arange(geometry.shape[1]) * geometry.spacing[1] - 6.0)))
    voxels[2:-2, j : j + max(1, round(10.0 / geometry.spacing[1])), 1:-1] = TABLE
    return voxels


def wide_grid(degrees, spacing=(2.43, 2.71, 2.87)):
    shape = tuple(round(n / s) for n, s in zip((210.0, 170.0, 120.0), spacing, strict=True))
    return grid(shape, spacing, degrees, CENTER)


def by_batch_statistics(*levels: float):
    """Logits that depend on all that is in the window, as behind a batch norm."""
    share = np.float32(0.6)
    return tuple(lambda window, level=level: 8.0 * (window - window.mean() * share - level) for level in levels)


@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("orientation", ORIENTATIONS[3::29])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_masks_are_those_of_the_published_recipe_with_fewer_windows(degrees, orientation, overlap) -> None:
    """The network's answer hangs on the whole window: other windows would give other masks."""
    straight = wide_grid(degrees)
    volume = a_volume(orientation.apply(scene(straight)), straight.reoriented(orientation))
    spec = replace(SPEC, classes=(SPLEEN, LIVER), offered=(SPLEEN, LIVER), overlap=overlap)
    found, images = {}, {}
    for recipe in ("fast", "published"):
        runtime = StandIn(by_batch_statistics(0.75, 0.55))
        segmenter = Segmenter(spec, lambda device, r=runtime: r, "cpu", FreeMemory(), Job())
        # Asked for with the published overlap, the fast recipe works on the published windows.
        found[recipe] = segmenter.segment(volume, RunOptions(recipe=recipe, overlap=overlap))
        images[recipe] = runtime.windows
    assert len(images["fast"]) == found["fast"].windows < found["published"].windows == len(images["published"])
    one, other = (found[recipe].segmentation for recipe in ("fast", "published"))
    assert one.present() == other.present() == (SPLEEN, LIVER)
    for index in (SPLEEN, LIVER):
        assert dice(one.mask(index), other.mask(index)) > 0.9999
    assert np.count_nonzero(one.bits != other.bits) <= 2  # rounding in another order of the sum


@given(
    shape=st.tuples(*[st.integers(9, 34)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.75, 1.25, 1.5, 1.5006, 1.87, 2.5, 3.0, 5.0])] * 3),
    degrees=st.sampled_from(ROTATIONS),
    orientation=st.sampled_from(ORIENTATIONS),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_grid_crop_and_values_are_those_of_monai(shape, spacing, degrees, orientation, seed) -> None:
    """With sides that end on half a voxel, a spacing that is almost right, and a crop on every side."""
    geometry = grid(shape, spacing, degrees).reoriented(orientation)
    rng = np.random.default_rng(seed)
    voxels = np.full(geometry.shape, AIR)
    start = [int(rng.integers(0, n // 2)) for n in geometry.shape]
    body = Box(tuple(start), tuple(int(rng.integers(s + 3, n + 1)) for s, n in zip(start, geometry.shape, strict=True)))
    voxels[body.slices] = rng.integers(-175, 250, body.shape)
    voxels[tuple(s + 1 for s in start)] = 40
    volume, spec = a_volume(voxels, geometry), replace(SPEC, spacing_mm=(1.5, 1.5, 1.5), window=(4, 4, 4))
    expected = published_input(volume, spec)[0]
    frame = published_frame(volume, spec)
    prepared = model_input(volume, spec, frame=frame)
    assert prepared.geometry.shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(prepared.geometry.ijk_to_ras, expected.affine.numpy(), atol=1e-6)
    assert np.abs(prepared.image[prepared.valid] - expected[0].numpy()).max() < 1e-3
    assert all(n <= m for n, m in zip(prepared.image.shape, frame.shape, strict=True))


@given(
    spacing=st.tuples(*[st.sampled_from([0.9, 2.0, 5.0, 9.0])] * 3),
    degrees=st.sampled_from(ROTATIONS),
    window=st.tuples(*[st.integers(4, 20)] * 3),
    overlap=st.sampled_from([0.0, 0.5, 0.75]),
    radius=st.floats(15.0, 40.0),
)
@settings(max_examples=20, deadline=None)
def test_a_window_is_left_out_only_where_nothing_of_the_body_is_near(spacing, degrees, window, overlap, radius) -> None:
    geometry = wide_grid(degrees, spacing)
    voxels = scene(geometry, radius)
    spec = replace(SPEC, window=window, spacing_mm=(4.0, 4.0, 4.0))
    prepared = model_input(a_volume(voxels, geometry), spec)
    chosen = prepared.windows(window, overlap)
    distance = ball_distance(prepared.geometry, CENTER, radius)
    padded = np.full(prepared.image.shape, -np.inf)
    padded[prepared.valid] = distance
    firsts = [starts(n, w, overlap) for n, w in zip(prepared.image.shape, window, strict=True)]
    for place, is_run in np.ndenumerate(chosen):
        piece = tuple(slice(f[p], f[p] + w) for f, p, w in zip(firsts, place, window, strict=True))
        if not is_run:
            assert padded[piece].max() < -BODY_MARGIN_MM / 2  # the outline of a small ball is known to a voxel of 6 mm
    assert chosen.any()


def test_windows_in_a_lung_are_run() -> None:
    """There is nothing dense in them, yet they lie within the body."""
    geometry = grid((90, 80, 60), (2.0, 2.0, 2.0), center=CENTER)
    voxels = np.full(geometry.shape, AIR)
    voxels[5:85, 5:75] = TISSUE
    voxels[12:78, 12:68] = -990  # emphysema
    prepared = model_input(a_volume(voxels, geometry), SPEC)
    assert find_body(voxels, geometry).mask[7, 7].sum() == 0
    assert prepared.windows(SPEC.window, 0.5).all()


def test_one_window_is_always_run() -> None:
    geometry = grid((8, 8, 8), (2.0, 2.0, 2.0))
    prepared = model_input(a_volume(np.full(geometry.shape, TISSUE), geometry), SPEC)
    assert prepared.windows(SPEC.window, 0.5).tolist() == [[[True]]]


def test_a_body_that_the_model_does_not_see_is_refused() -> None:
    geometry = grid((20, 20, 20), (2.0, 2.0, 2.0))
    with pytest.raises(InputError, match="nothing above -175 HU"):
        model_input(a_volume(np.full(geometry.shape, -250), geometry), SPEC)


def test_values_at_the_lower_end_are_not_above_it() -> None:
    values = np.zeros((4, 5, 6))
    values[1:3, 2, 4] = 1
    assert box_above(values, 0.5) == Box((1, 2, 4), (3, 3, 5))
    assert box_above(values, 1) is None


PUBLISHED_WINDOWS = {
    "cptac_pda/cptac_pda_C3N-00249": 80,
    "nsclc_radiomics/lung1_001": 100,
    "colorectal_liver_metastases/crlm_1004": 24,
}


@pytest.mark.parametrize("case", sorted(PUBLISHED_WINDOWS))
def test_real_cts_never_take_more_windows_than_published(shared_data, case) -> None:
    volume = read_volume(shared_data / case / "ct.nii.gz")
    prepared = model_input(volume, UNIVERSAL)
    assert UNIVERSAL.window is not None
    published = window_total(prepared.geometry.shape, UNIVERSAL.window, UNIVERSAL.overlap)
    assert published == PUBLISHED_WINDOWS[case]
    assert prepared.windows(UNIVERSAL.window, UNIVERSAL.overlap).sum() <= published
