"""From a CT to the model's input: the grid of MONAI, Hounsfield units right, the body and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Orientation, Spacing

from builders import AIR, TISSUE
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.inference.preprocess import body_box, model_input
from inference_builders import COARSE, ORIENTATIONS, ROTATIONS, SPEC, a_body, a_volume, ball_distance, grid

ALL_HU = replace(SPEC, window_hu=(-3000.0, 3000.0), window=(8, 8, 8))
HU_SPAN = 6000.0


def by_monai(voxels: np.ndarray, geometry: Geometry, spacing) -> MetaTensor:
    image = MetaTensor(torch.from_numpy(voxels.astype(np.float32))[None], affine=torch.tensor(geometry.ijk_to_ras))
    straight = Orientation("RAS", labels=None)(image)
    return Spacing(spacing, mode="bilinear", padding_mode="border")(straight)


def smooth_ct(geometry: Geometry, seed: int = 0) -> np.ndarray:
    """A body that fills the scan, with structure at every scale: no voxel is air."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(30, 60, geometry.shape), -150, 240).astype(np.int16)


@given(
    shape=st.tuples(*[st.integers(2, 40)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 6.0)] * 3),
    target=st.sampled_from([(1.5, 1.5, 1.5), (4.0, 4.0, 4.0), (2.0, 1.0, 3.0)]),
    degrees=st.sampled_from(ROTATIONS),
    orientation=st.sampled_from(ORIENTATIONS),
)
@settings(max_examples=30, deadline=None)
def test_the_grid_is_that_of_monai(shape, spacing, target, degrees, orientation) -> None:
    geometry = grid(shape, spacing, degrees).reoriented(orientation)
    expected = by_monai(np.zeros(geometry.shape, np.int16), geometry, target)
    found = geometry.reoriented(geometry.to_ras).resampled(target)
    sides = np.array([(n - 1) * s / t for n, s, t in zip(shape, spacing, target, strict=True)])
    if np.abs(sides % 1 - 0.5).min() > 1e-6:  # a half voxel may be rounded either way
        assert found.shape == tuple(expected.shape[1:])
    # MONAI leaves a grid alone whose spacing is right to 0.001 mm.
    np.testing.assert_allclose(found.ijk_to_ras, expected.affine.numpy(), atol=1.1e-3)


@pytest.mark.parametrize("degrees", ROTATIONS)
@pytest.mark.parametrize("target", [(1.5, 1.5, 1.5), (4.0, 4.0, 4.0)])
def test_hounsfield_units_agree_with_monai(degrees, target) -> None:
    geometry = grid((31, 26, 12), (0.83, 0.9, 3.0), degrees).reoriented(ORIENTATIONS[37])
    voxels = smooth_ct(geometry)
    prepared = model_input(a_volume(voxels, geometry), replace(ALL_HU, spacing_mm=target))
    expected = by_monai(voxels, geometry, target)[0].numpy()
    assert prepared.geometry.shape == expected.shape
    hu = prepared.image[prepared.valid] * HU_SPAN - 3000
    assert np.abs(hu - expected).max() < 1.0


def test_hounsfield_units_of_a_real_ct_agree_with_monai(shared_data) -> None:
    whole = read_volume(shared_data / "lidc_idri" / "lidc_0002_slab" / "ct.nii.gz")
    box = Box((60, 100, 0), (190, 210, whole.voxels.shape[2]))
    geometry = whole.geometry.cropped(box)
    voxels = whole.voxels[box.slices]
    prepared = model_input(a_volume(voxels, geometry), replace(ALL_HU, spacing_mm=(1.5, 1.5, 1.5)))
    expected = by_monai(voxels, geometry, (1.5, 1.5, 1.5))[0].numpy()
    full = geometry.reoriented(geometry.to_ras).resampled((1.5, 1.5, 1.5))
    start = np.linalg.solve(full.ijk_to_ras, np.append(prepared.geometry.origin, 1.0))[:3]
    assert np.abs(start - np.round(start)).max() < 1e-6  # cropped to whole voxels
    i, j, k = np.round(start).astype(int)
    n, m, o = prepared.geometry.shape
    hu = prepared.image[prepared.valid] * HU_SPAN - 3000
    assert np.abs(hu - expected[i : i + n, j : j + m, k : k + o]).max() < 1.0


def test_intensities_are_scaled_and_clipped() -> None:
    geometry = grid((20, 20, 20), (2.0, 2.0, 2.0))
    voxels = np.full(geometry.shape, 37.5, np.int16)
    voxels[:, :, 2:5], voxels[:, :, 15:] = -280, 1500
    image = model_input(a_volume(voxels, geometry), SPEC).image
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() == 1
    assert image[10, 10, 10] == pytest.approx((37 + 175) / 425, abs=1e-6)


def test_intensities_may_be_scaled_piece_by_piece() -> None:
    geometry = grid((20, 20, 20), (2.0, 2.0, 2.0))
    spec = replace(SPEC, window_hu=(-1000.0, -175.0, 250.0), window_values=(0.0, 0.2, 1.0))
    for hu, value in ((-1100, 0.0), (-1000, 0.0), (-587, 0.1), (-175, 0.2), (37, 0.6), (250, 1.0), (900, 1.0)):
        voxels = np.full(geometry.shape, TISSUE, np.int16)
        voxels[10:15] = hu
        prepared = model_input(a_volume(voxels, geometry), spec)
        assert prepared.image.dtype == np.float32
        assert prepared.image[prepared.valid][11, 8, 8] == pytest.approx(value, abs=2e-3)


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_the_box_holds_the_body_and_not_the_table(degrees) -> None:
    geometry = grid((60, 70, 30), (2.0, 2.0, 4.0), degrees)
    voxels = a_body(geometry, 36.0)
    body = voxels > -300
    voxels[5:55, 4:7, :] = 300  # a plate of 6 mm, apart from the body
    box = body_box(voxels, geometry)
    around = Box.around(body)
    for axis in range(3):
        assert box.start[axis] <= around.start[axis]
        assert box.stop[axis] >= around.stop[axis]
        margin = (6.0 + 12.0) / geometry.spacing[axis] + 2
        assert box.start[axis] >= max(0, around.start[axis] - margin)
        assert box.stop[axis] <= min(geometry.shape[axis], around.stop[axis] + margin)
    assert box.start[1] > 7  # the table is outside


def test_a_thick_table_is_outside_too() -> None:
    geometry = grid((60, 80, 20), (3.0, 3.0, 3.0))
    voxels = a_body(geometry, 70.0, center=(12.0, -10.0, 400.0))
    voxels[10:50, 2:8, :] = 100
    assert body_box(voxels, geometry).start[1] > 8


def test_both_legs_are_inside() -> None:
    geometry = grid((80, 40, 12), (4.0, 4.0, 5.0))
    legs = [ball_distance(geometry, (x, -30.0, 400.0), r) > 0 for x, r in ((-80.0, 50.0), (95.0, 40.0))]
    voxels = np.where(legs[0] | legs[1], TISSUE, AIR)
    box, around = body_box(voxels, geometry), Box.around(legs[0] | legs[1])
    assert box.start[0] <= around.start[0]
    assert box.stop[0] >= around.stop[0]


def test_lung_that_the_edge_of_the_scan_cuts_is_inside() -> None:
    """A crop round a nodule: lung on all sides, nothing dense but the nodule."""
    geometry = grid((60, 60, 30), (1.0, 1.0, 2.0))
    rng = np.random.default_rng(0)
    voxels = rng.normal(-850, 40, geometry.shape)
    voxels[ball_distance(geometry, (12.0, -30.0, 400.0), 10.0) > 0] = 30
    assert body_box(voxels.astype(np.int16), geometry) == Box.whole(geometry.shape)


def test_noisy_air_at_the_edge_is_not_lung() -> None:
    geometry = grid((80, 80, 30), (2.0, 2.0, 4.0))
    rng = np.random.default_rng(0)
    voxels = a_body(geometry, 40.0) + rng.normal(0, 25, geometry.shape)
    box = body_box(np.maximum(voxels, -1024).astype(np.int16), geometry)
    assert box.start[0] > 5
    assert box.stop[0] < 75


def test_nothing_but_air_is_refused() -> None:
    geometry = grid((20, 20, 20), (2.0, 2.0, 2.0))
    with pytest.raises(InputError, match="no body") as caught:
        model_input(a_volume(np.full(geometry.shape, AIR), geometry), SPEC)
    assert caught.value.remedy


@pytest.mark.parametrize("shape", [(3, 40, 40), (40, 40, 2), (1, 1, 1)])
def test_thin_volumes_work(shape) -> None:
    geometry = grid(shape, (2.0, 2.0, 2.0))
    for spec in (SPEC, COARSE):
        prepared = model_input(a_volume(np.full(shape, TISSUE), geometry), spec)
        assert prepared.image[prepared.valid].shape == prepared.geometry.shape
        assert prepared.image[prepared.valid].min() > 0.4


def test_short_sides_are_padded_on_both_sides_as_by_monai() -> None:
    geometry = grid((11, 30, 4), (2.0, 2.0, 2.0))
    prepared = model_input(a_volume(np.full(geometry.shape, TISSUE), geometry), SPEC)
    assert prepared.geometry.shape == (11, 30, 4)
    assert prepared.image.shape == (16, 30, 16)
    assert prepared.valid == (slice(2, 13), slice(0, 30), slice(6, 10))
    outside = np.ones(prepared.image.shape, dtype=bool)
    outside[prepared.valid] = False
    assert (prepared.image[outside] == 0).all()
    assert (prepared.image[prepared.valid] > 0.4).all()


def test_a_whole_scan_is_padded_to_the_multiple() -> None:
    geometry = grid((40, 34, 16), (4.0, 4.0, 4.0))
    prepared = model_input(a_volume(np.full(geometry.shape, TISSUE), geometry), COARSE)
    assert prepared.image.shape == (40, 40, 16)
    assert prepared.valid == (slice(0, 40), slice(0, 34), slice(0, 16))
    assert (prepared.image[:, 34:] == 0).all()


def test_only_a_coarse_model_sees_a_smoothed_image() -> None:
    geometry = grid((48, 48, 48), (1.0, 1.0, 1.0))
    voxels = np.where(np.indices(geometry.shape).sum(axis=0) % 2, 100, 0)
    volume = a_volume(voxels, geometry)
    contrast = {}
    for is_smoothed in (True, False):
        image = model_input(volume, replace(SPEC, spacing_mm=(3.0, 3.0, 3.0), is_smoothed=is_smoothed)).image
        contrast[is_smoothed] = float(image.std())
    assert contrast[False] == pytest.approx(50 / 425, rel=0.05)  # every third voxel, as it was
    assert contrast[True] < 0.05 * contrast[False]


def test_smoothing_does_not_shift_the_image() -> None:
    geometry = grid((61, 61, 61), (1.0, 1.0, 1.0), center=(0.0, 0.0, 0.0))
    voxels = np.where(ball_distance(geometry, (3.0, -4.0, 5.0), 14.0) > 0, 200, 0)
    spec = replace(SPEC, spacing_mm=(3.0, 3.0, 3.0), window_hu=(0.0, 200.0))
    centers = []
    for is_smoothed in (True, False):
        prepared = model_input(a_volume(voxels, geometry), replace(spec, is_smoothed=is_smoothed))
        weights = prepared.image[prepared.valid]
        index = np.array([np.average(axis, weights=weights) for axis in np.indices(weights.shape)])
        centers.append((prepared.geometry.ijk_to_ras @ np.append(index, 1.0))[:3])
    np.testing.assert_allclose(centers[0], (3.0, -4.0, 5.0), atol=0.1)
    np.testing.assert_allclose(centers[1], (3.0, -4.0, 5.0), atol=0.3)
