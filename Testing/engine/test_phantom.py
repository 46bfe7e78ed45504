"""The phantom: the same for the same seed, and with every organ on its side."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.engine.inference.preprocess import body_box
from GenesisSegmentLib.engine.phantom import HEIGHT_MM, phantom_ct, phantom_labels
from GenesisSegmentLib.engine.tissue import AIR_HU, TISSUES, paint

SPACING = 6.0
RIGHT = ("liver", "kidney_right", "adrenal_gland_right", "lung_right", "gall_bladder", "femur_right")
LEFT = ("spleen", "kidney_left", "adrenal_gland_left", "lung_left", "stomach", "femur_left")
INDEX = {c.slug: c.index for c in class_table().values()}


def center(labels: np.ndarray, geometry, value: int) -> np.ndarray:
    voxel = np.append(np.argwhere(labels == value).mean(axis=0), 1.0)
    return (geometry.ijk_to_ras @ voxel)[:3]


@pytest.mark.parametrize("seed", [None, 0, 1, 7])
def test_every_paired_organ_lies_on_its_side(seed) -> None:
    labels, geometry = phantom_labels(SPACING, seed)
    assert geometry.axis_codes == "RAS"
    for slug in RIGHT:
        assert center(labels, geometry, INDEX[slug])[0] > 10, slug
    for slug in LEFT:
        assert center(labels, geometry, INDEX[slug])[0] < -10, slug


def test_organs_lie_above_and_before_one_another_as_in_a_person() -> None:
    labels, geometry = phantom_labels(SPACING)
    at = {slug: center(labels, geometry, index) for slug, index in INDEX.items() if (labels == index).any()}
    assert at["lung_left"][2] > at["spleen"][2] > at["kidney_left"][2] > at["femur_left"][2]
    assert at["liver"][2] > at["bladder"][2] > at["prostate"][2]
    assert at["bladder"][1] > at["rectum"][1]  # in front of it
    assert at["liver"][1] > at["kidney_right"][1]


def test_the_same_seed_gives_the_same_phantom() -> None:
    one, again, other = (phantom_ct(SPACING, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.voxels, again.voxels)
    assert one.geometry.matches(again.geometry)
    assert one.voxels.shape != other.voxels.shape or (one.voxels != other.voxels).any()
    np.testing.assert_array_equal(phantom_ct(SPACING).voxels, phantom_ct(SPACING).voxels)


def test_the_phantom_is_a_ct_of_a_torso() -> None:
    volume = phantom_ct(SPACING)
    assert volume.voxels.dtype == np.int16
    assert -1024 <= volume.voxels.min() < -950
    assert volume.voxels.max() > 150  # bone
    assert volume.geometry.spacing == pytest.approx((SPACING,) * 3)
    assert volume.geometry.size_mm[2] == pytest.approx(HEIGHT_MM, abs=SPACING)
    assert any("synthetic" in note for note in volume.source.notes)
    labels, _ = phantom_labels(SPACING)
    medians = {slug: np.median(volume.voxels[labels == INDEX[slug]]) for slug in ("liver", "lung_left", "aorta")}
    assert 60 < medians["liver"] < 140
    assert -900 < medians["lung_left"] < -700
    assert 150 < medians["aorta"] < 320
    assert np.median(volume.voxels[labels == 0]) == pytest.approx(AIR_HU, abs=10)


def test_its_body_is_found() -> None:
    volume = phantom_ct(SPACING)
    labels, _ = phantom_labels(SPACING)
    box = body_box(volume.voxels, volume.geometry)
    assert np.count_nonzero(labels[box.slices]) == np.count_nonzero(labels)


def test_every_value_of_the_phantom_has_a_tissue() -> None:
    labels, _ = phantom_labels(SPACING)
    assert set(np.unique(labels)) - {0} <= set(TISSUES)


@pytest.mark.parametrize("lively", [True, False])
def test_painting_follows_the_generator_alone(lively) -> None:
    labels, _ = phantom_labels(12.0)
    one, again = (paint(labels, np.random.default_rng(5), 12.0, lively) for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_lively_phantoms_differ_in_contrast() -> None:
    labels, _ = phantom_labels(12.0)
    livers = [np.median(paint(labels, np.random.default_rng(seed), 12.0)[labels == 6]) for seed in range(8)]
    assert np.ptp(livers) > 20
