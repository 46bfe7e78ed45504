"""Training samples show kidneys in fat, displaced and removed, and what lies beside them stays."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.engine.starter.augment import SampleMaker, SampleRecipe
from GenesisSegmentLib.engine.starter.cases import TrainingCase
from GenesisSegmentLib.engine.starter.kidneys import KidneyRecipe, cortex, vary_kidneys

RIGHT, LEFT, LIVER = 2, 3, 6
SPACING_MM = 4.0
SOFT, KIDNEY, BONE, GAS = 50.0, 160.0, 600.0, -900.0
BEDDED = KidneyRecipe(removed=0, bedded=1, early_phase=0)
REMOVED = KidneyRecipe(removed=1, bedded=0, early_phase=0)
EARLY = KidneyRecipe(removed=0, bedded=0, early_phase=1)
AS_THEY_ARE = KidneyRecipe(removed=0, bedded=0, early_phase=0)


@pytest.fixture
def lean() -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of a lean patient: two kidneys in soft tissue, the liver, bone and gas right beside them."""
    hu, labels = np.full((60, 48, 44), SOFT), np.zeros((60, 48, 44), np.uint8)
    labels[14:22, 16:24, 14:30], labels[38:46, 16:24, 14:30] = RIGHT, LEFT
    labels[14:22, 24:32, 14:30] = LIVER
    hu[np.isin(labels, (RIGHT, LEFT))] = KIDNEY
    hu[:, 12:15], hu[38:46, 26:30, 14:30] = BONE, GAS
    return hu, labels


def _is_fat(hu: np.ndarray) -> np.ndarray:
    return (hu > -160) & (hu < -60)


@pytest.mark.parametrize("seed", range(8))
def test_a_removed_kidney_leaves_fat_and_no_label(lean, seed):
    hu, labels = vary_kidneys(*lean, SPACING_MM, REMOVED, np.random.default_rng(seed))
    assert not np.isin(labels, (RIGHT, LEFT)).any()
    for place in (np.s_[16:20, 18:22, 16:28], np.s_[40:44, 18:22, 16:28]):
        assert _is_fat(hu[place]).mean() > 0.95


@pytest.mark.parametrize("seed", range(8))
def test_a_bedded_kidney_keeps_its_side_its_tissue_and_most_of_its_size_and_lies_in_fat(lean, seed):
    before, was = lean
    hu, labels = vary_kidneys(before, was, SPACING_MM, BEDDED, np.random.default_rng(seed))
    kidneys = np.isin(labels, (RIGHT, LEFT))
    assert (labels[:30] != LEFT).all()
    assert (labels[30:] != RIGHT).all()
    assert (labels == LEFT).sum() > 0.6 * (was == LEFT).sum()
    assert (hu[kidneys] > SOFT).mean() > 0.9
    assert np.median(hu[kidneys]) == pytest.approx(KIDNEY, abs=1)
    assert _is_fat(hu[np.isin(was, (RIGHT, LEFT)) & ~kidneys]).mean() > 0.5
    assert _is_fat(hu).sum() > 400


def test_kidneys_are_moved_mostly_forward_by_at_most_two_centimetres(lean):
    starts = []
    for seed in range(40):
        _, labels = vary_kidneys(*lean, SPACING_MM, BEDDED, np.random.default_rng(seed))
        places = np.nonzero(labels == LEFT)
        starts.append([int(p.min()) for p in places])
    shifts = np.array(starts) - (38, 16, 14)
    assert np.abs(shifts).max() <= 5
    assert shifts[:, 1].mean() > 1
    assert (shifts[:, 2] < 0).any()
    assert (shifts[:, 2] > 0).any()


@pytest.mark.parametrize("recipe", [BEDDED, REMOVED])
def test_labelled_neighbours_bone_and_gas_are_not_turned_into_fat(lean, recipe):
    before, was = lean
    for seed in range(8):
        hu, labels = vary_kidneys(before, was, SPACING_MM, recipe, np.random.default_rng(seed))
        assert ((labels == LIVER) == (was == LIVER)).all()
        assert np.median(hu[was == LIVER]) == pytest.approx(SOFT, abs=1)
        assert np.allclose(hu[:, 13], BONE, atol=1)
        assert np.median(hu[38:46, 27:29, 14:30]) == pytest.approx(GAS, abs=2)


def test_in_an_early_phase_the_cortex_is_brighter_and_the_rest_is_as_before(lean):
    before, was = lean
    hu, labels = vary_kidneys(before, was, SPACING_MM, EARLY, np.random.default_rng(0))
    assert (labels == was).all()
    assert np.allclose(hu[40:44, 18:22, 16:28], KIDNEY, atol=0.1)
    assert (hu[38, 16:24, 14:30] > KIDNEY + 10).all()
    outside = ~np.isin(was, (RIGHT, LEFT))
    assert (hu[outside] == before[outside]).all()


def test_where_the_field_of_view_cuts_a_kidney_there_is_no_cortex():
    kidney = np.zeros((20, 20, 16), bool)
    kidney[4:16, 4:16, :10] = True
    weight = cortex(kidney, SPACING_MM)
    assert (weight[7:13, 7:13, :6] < 0.01).all()
    assert (weight[4, 6:14, :8] > 0.5).all()


def test_the_arrays_of_the_case_are_left_alone(lean):
    hu, labels = lean[0].copy(), lean[1].copy()
    for recipe in (AS_THEY_ARE, BEDDED, REMOVED, EARLY):
        vary_kidneys(hu, labels, SPACING_MM, recipe, np.random.default_rng(1))
        assert (hu == lean[0]).all()
        assert (labels == lean[1]).all()
    same = vary_kidneys(hu, labels, SPACING_MM, AS_THEY_ARE, np.random.default_rng(1))
    assert (same[0] == hu).all()
    assert (same[1] == labels).all()


@pytest.mark.parametrize("synthetic_share", [0, 1])
def test_real_and_painted_samples_get_other_kidneys(lean, synthetic_share):
    hu, labels = lean
    case = TrainingCase("lean", "", labels, tuple(range(1, 12)), np.rint(hu).astype(np.int16))
    recipe = SampleRecipe(
        largest=(64, 64, 64), smallest_share=1, synthetic_share=synthetic_share, phantom_share=0, kidneys=REMOVED
    )
    maker = SampleMaker([case], recipe, np.random.default_rng(3))
    for _ in range(3):
        sample = maker.draw()
        assert not np.isin(sample.labels, (RIGHT, LEFT)).any()
        assert (sample.labels == LIVER).any()
