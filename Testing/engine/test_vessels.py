"""Of an aorta in pieces all are kept that could be the same vessel, and nothing in an arm or elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from GenesisSegmentLib.core.segmentation import pack
from GenesisSegmentLib.engine.postprocess import postprocess_bits
from GenesisSegmentLib.engine.vessels import one_vessel
from inference_builders import ROTATIONS, ball_distance, grid, positions

AORTA = 8
SPACING = (4.0, 4.0, 4.0)
SHAPE = (90, 60, 100)
SHARE = 0.1


def block(x, y, z, shape=SHAPE) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*x), slice(*y), slice(*z)] = True
    return mask


DESCENDING = block((42, 48), (20, 26), (5, 95))
ARM = block((82, 89), (20, 26), (60, 80))


def cleaned(mask: np.ndarray, spacing=SPACING, variant="safe") -> np.ndarray:
    return postprocess_bits(pack([(AORTA, mask)], mask.shape), (AORTA,), variant, spacing) != 0


def test_a_piece_in_the_arm_goes():
    assert np.array_equal(cleaned(DESCENDING | ARM), DESCENDING)


@pytest.mark.parametrize("height", [(60, 80), (10, 30), (0, 100)])
def test_a_piece_in_the_arm_goes_at_whatever_height(height):
    aorta = block((42, 48), (20, 26), (20, 75))
    assert np.array_equal(cleaned(aorta | block((82, 86), (20, 24), height)), aorta)


def test_an_arm_beyond_the_end_of_the_aorta_goes():
    low, above = block((42, 48), (20, 26), (0, 60)), block((82, 89), (20, 26), (70, 95))
    assert np.array_equal(cleaned(low | above), low)


@pytest.mark.parametrize("spacing", [1.5, 4.0])
def test_both_sides_of_an_arch_that_the_field_of_view_cuts_stay(spacing):
    """Ascending and descending aorta both begin at the upper edge of the scan, 6 cm apart."""
    apart = round(60 / spacing)
    ascending = block((42, 48), (0, 6), (70, 100), (90, apart + 10, 100))
    descending = block((42, 48), (apart, apart + 6), (0, 100), ascending.shape)
    both = ascending | descending
    assert np.array_equal(cleaned(both, (spacing,) * 3), both)
    assert np.array_equal(cleaned(both, (spacing,) * 3, "published_abdomenatlas"), descending)


def test_a_vessel_with_a_gap_stays_whole():
    pieces = block((42, 48), (20, 26), (0, 40)) | block((44, 50), (22, 28), (55, 95))
    assert np.array_equal(cleaned(pieces), pieces)


def test_specks_go_wherever_they_lie():
    assert np.array_equal(cleaned(DESCENDING | block((50, 52), (20, 22), (50, 52))), DESCENDING)


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_in_an_oblique_volume_the_course_is_drawn_on_where_it_leads(degrees):
    """A vessel along the patient's axis, interrupted over 13 cm: on a tilted grid its pieces lie far apart across."""
    geometry = grid((70, 70, 110), SPACING, degrees, center=(0.0, 0.0, 0.0))
    x, y, z = positions(geometry)
    straight = np.hypot(x, y) < 12
    vessel = straight & (np.abs(z - 45) > 65) & (z > -150) & (z < 150)
    arm = ball_distance(geometry, (130.0, 0.0, 30.0), 24.0) > 0
    if not arm.any():
        arm = ball_distance(geometry, (-130.0, 0.0, 30.0), 24.0) > 0
    assert arm.sum() > 0.1 * (straight & (z < -20) & (z > -150)).sum()
    assert np.array_equal(cleaned(vessel | arm), vessel)


def test_nothing_stays_nothing():
    assert not one_vessel(np.zeros((4, 4, 4), bool), SPACING, SHARE).any()


def test_a_single_piece_and_one_slice_are_kept():
    assert np.array_equal(one_vessel(DESCENDING, SPACING, SHARE), DESCENDING)
    thin = block((2, 4), (2, 4), (0, 1), (30, 30, 1)) | block((8, 10), (2, 4), (0, 1), (30, 30, 1))
    assert np.array_equal(one_vessel(thin, SPACING, SHARE), thin)
