"""Which windows become crops: the published rule against its plain form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.pretraining.crops import CropRule, depth_share, draw_crops

SMALL = CropRule(size=(16, 16, 16), per_scan=8, margins=(4, 5, 6))
LUNG, TISSUE = 100, 1000
SOFT = 850


def test_the_published_rule():
    rule = CropRule()
    assert (rule.size, rule.window, rule.margins) == ((64, 64, 32), (64, 64, 35), (100, 100, 30))
    assert (rule.per_scan, rule.attempts, rule.depth_slices) == (32, 50, 3)
    assert (rule.soft_hu, rule.most_soft) == (-150, 0.15)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_depth_map_is_that_of_the_plain_form(seed, share):
    soft = np.random.default_rng(seed).random((3, 4, 8)) < share
    total = 0.0
    for i, j, k in np.ndindex(3, 4, 5):
        first = next((n for n in range(3) if soft[i, j, k + n]), 2)
        total += 1 - first / 2
    assert depth_share(soft) == pytest.approx(total / (3 * 4 * 5))


def test_windows_keep_the_margins_and_reach_up_to_them():
    levels = np.arange(30 * 31 * 40).reshape(30, 31, 40)
    crops = draw_crops(
        levels, 10**9, CropRule(size=(16, 16, 16), per_scan=600, margins=(4, 5, 6)), np.random.default_rng(0)
    )
    assert crops.shape == (600, 16, 16, 16)
    starts = np.stack(np.unravel_index(crops[:, 0, 0, 0], levels.shape))
    assert starts.min(axis=1).tolist() == [4, 5, 6]
    assert starts.max(axis=1).tolist() == [10, 10, 15]
    for start, crop in zip(starts.T, crops[:20], strict=False):
        assert np.array_equal(crop, levels[tuple(slice(s, s + 16) for s in start)])


def test_a_scan_too_small_for_the_margins_keeps_a_quarter_of_what_is_free():
    levels = np.arange(24 * 16 * 40).reshape(24, 16, 40)
    rule = CropRule(size=(16, 16, 16), per_scan=300, margins=(100, 100, 30))
    crops = draw_crops(levels, 10**9, rule, np.random.default_rng(0))
    starts = np.stack(np.unravel_index(crops[:, 0, 0, 0], levels.shape))
    assert (starts.min(axis=1).tolist(), starts.max(axis=1).tolist()) == ([2, 0, 5], [6, 0, 16])


def test_windows_rich_in_soft_tissue_are_refused():
    levels = np.full((60, 24, 30), LUNG)
    levels[30:] = TISSUE
    crops = draw_crops(
        levels, SOFT, CropRule(size=(16, 16, 16), per_scan=30, margins=(0, 0, 0)), np.random.default_rng(0)
    )
    assert len(crops) == 30
    shares = (crops >= SOFT).mean(axis=(1, 2, 3))
    assert shares.max() <= 0.15
    assert shares.max() > 0  # a little is allowed


def test_the_slices_beyond_the_crop_are_not_part_of_it_but_are_looked_at():
    levels = np.full((16, 16, 19), LUNG)
    levels[:, :, 16:] = TISSUE
    rule = CropRule(size=(16, 16, 16), per_scan=1, margins=(0, 0, 0), most_soft=0.0)
    # The last but one slice of the crop looks two further: half a voxel's depth each, one voxel for the last.
    assert len(draw_crops(levels, SOFT, rule, np.random.default_rng(0))) == 0
    assert depth_share(levels >= SOFT) == pytest.approx(0.5 / 16)
    crops = draw_crops(
        levels, SOFT, CropRule(size=(16, 16, 16), per_scan=1, margins=(0, 0, 0)), np.random.default_rng(0)
    )
    assert (crops == LUNG).all()


def test_attempts_end_where_nothing_fits():
    class Counting:
        drawn = 0

        def integers(self, low, high):
            self.drawn += 1
            return low

    rng = Counting()
    levels = np.full((40, 40, 40), TISSUE, np.uint16)
    crops = draw_crops(levels, SOFT, SMALL, rng)  # type: ignore[arg-type]
    assert crops.shape == (0, 16, 16, 16)
    assert rng.drawn == 3 * 50 * 8


def test_a_scan_smaller_than_a_window_is_refused():
    with pytest.raises(InputError, match=r"18 voxels.*needs 19"):
        draw_crops(np.zeros((40, 40, 18)), SOFT, SMALL, np.random.default_rng(0))


@pytest.mark.parametrize("size", [(8, 16, 16), (20, 16, 16), (16, 16, 0)])
def test_sides_that_no_network_takes_are_refused(size):
    with pytest.raises(InputError, match="multiples of 8"):
        CropRule(size=size)
