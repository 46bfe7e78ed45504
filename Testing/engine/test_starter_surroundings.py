"""What is put around and into bodies, so that the starter meets other scanners and other patients."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.engine.starter.augment import with_lesions
from GenesisSegmentLib.engine.starter.cases import TrainingCase
from GenesisSegmentLib.engine.starter.contrasts import contrast_of, contrasts
from GenesisSegmentLib.engine.starter.surroundings import SurroundingsRecipe, surround
from GenesisSegmentLib.engine.tissue import paint

SPACING = 4.0
LIVER, LUNG = 6, 16
NONE = SurroundingsRecipe(0, 0, 0)


@pytest.fixture
def patient() -> tuple[np.ndarray, np.ndarray]:
    """A body with a liver and a lung in it, air around: HU and labels on RAS axes."""
    hu = np.full((96, 64, 20), -1000, np.float32)
    labels = np.zeros(hu.shape, np.uint8)
    i, j = np.indices(hu.shape[:2])
    hu[((i - 48) / 28) ** 2 + ((j - 34) / 20) ** 2 < 1] = 40
    labels[52:68, 26:42, 2:12], labels[30:44, 26:42, 8:18] = LIVER, LUNG
    hu[labels == LUNG] = -800
    return hu, labels


def body_of(labels: np.ndarray) -> np.ndarray:
    i, j = np.indices(labels.shape[:2])
    return np.broadcast_to((((i - 48) / 28) ** 2 + ((j - 34) / 20) ** 2 < 1)[:, :, None], labels.shape)


def test_the_table_lies_behind_the_body_and_nowhere_else(patient):
    hu, labels = patient
    changed, kept = surround(hu, labels, SPACING, SurroundingsRecipe(1, 0, 0), np.random.default_rng(1))
    where = changed != hu
    assert where.any()
    assert (np.nonzero(where)[1] < 34).all()
    assert not where[body_of(labels)].any()
    assert np.array_equal(kept, labels)


def test_arms_lie_on_both_sides_of_the_body_or_on_one(patient):
    hu, labels = patient
    sides = set()
    for seed in range(12):
        changed, _ = surround(hu, labels, SPACING, SurroundingsRecipe(0, 1, 0), np.random.default_rng(seed))
        columns = np.nonzero((changed - hu > 500).any(axis=(1, 2)))[0]
        assert not (changed != hu)[body_of(labels)].any()
        assert (changed > 300).any(), "there is a bone"
        sides.add((bool((columns < 20).any()), bool((columns > 76).any())))
    assert (True, True) in sides
    assert len(sides) > 1


def test_what_the_field_of_view_cuts_off_is_air_without_a_label(patient):
    hu, labels = patient
    cut = 0
    for seed in range(8):
        changed, kept = surround(hu, labels, SPACING, SurroundingsRecipe(0, 0, 1), np.random.default_rng(seed))
        gone = (changed != hu).any(axis=2)
        cut += gone.any()
        assert (kept[gone] == 0).all()
        assert (changed[gone] == -1000).all()
        assert np.array_equal(kept[~gone], labels[~gone])
    assert cut >= 6


def test_what_is_given_stays_as_it_is(patient):
    hu, labels = patient
    before = hu.copy(), labels.copy()
    surround(hu, labels, SPACING, SurroundingsRecipe(1, 1, 1), np.random.default_rng(0))
    with_lesions(hu, labels, SPACING, 1.0, np.random.default_rng(0))
    assert np.array_equal(hu, before[0])
    assert np.array_equal(labels, before[1])


def test_with_shares_of_nothing_nothing_happens(patient):
    hu, labels = patient
    same, kept = surround(hu, labels, SPACING, NONE, np.random.default_rng(0))
    assert np.array_equal(same, hu)
    assert np.array_equal(kept, labels)


def test_a_scan_without_a_body_stays_empty():
    air, nothing = np.full((16, 16, 16), -1000, np.float32), np.zeros((16, 16, 16), np.uint8)
    same, _ = surround(air, nothing, SPACING, SurroundingsRecipe(1, 1, 1), np.random.default_rng(0))
    assert np.array_equal(same, air)


def test_lesions_are_planted_into_organs_that_have_them_and_nowhere_else(patient):
    hu, labels = patient
    hu = hu.copy()
    hu[labels == LIVER] = 110
    changed = with_lesions(hu, labels, SPACING, 1.0, np.random.default_rng(4))
    away = np.abs(changed - hu) > 5
    assert (away & (labels == LIVER)).any()
    assert not away[labels == LUNG].any()
    near = np.zeros(labels.shape, bool)
    near[50:70, 24:44, :14] = True
    assert not away[~near].any()


def test_grey_values_of_a_structure_are_those_inside_it_whatever_few_voxels_hold():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:12, 2:12, 2:12], labels[14:18, 14:18, 14:18] = LIVER, 7
    ct = np.full(labels.shape, -1000, np.int16)
    ct[labels == LIVER], ct[labels == 7] = 90, 20
    ct[4, 4, 4:8] = 3000
    known = contrast_of(TrainingCase("a", "", labels, (LIVER,), ct))
    assert known[LIVER][0] == 90
    assert known[LIVER][1] < 1
    assert 7 not in known, "nobody looked for it"


def test_label_maps_have_no_grey_values():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:18, 2:18, 2:18] = LIVER
    assert contrasts([TrainingCase("a", "", labels, (LIVER,), None)]) == ()


def test_painted_structures_have_the_grey_values_that_were_measured():
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[2:22, 2:22, 2:22] = LIVER
    painted = paint(labels, np.random.default_rng(0), SPACING, lively=False, measured={LIVER: (205.0, 5.0)})
    assert abs(float(np.median(painted[6:18, 6:18, 6:18])) - 205) < 5
