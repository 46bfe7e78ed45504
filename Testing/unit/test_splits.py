"""The sequence of splits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.core.splits import split_at, strictest


def test_the_first_patients_teach_and_the_next_one_is_held_out():
    assert [split_at(n) for n in range(5)] == ["train", "train", "holdout", "train", "validation"]


@given(st.integers(0, 10_000))
def test_five_in_a_row_from_a_whole_block_hold_three_to_one_to_one(block):
    splits = [split_at(5 * block + n) for n in range(5)]
    assert sorted(splits) == ["holdout", "train", "train", "train", "validation"]


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_no_stretch_of_patients_is_far_from_the_shares(start, length):
    splits = [split_at(n) for n in range(start, start + length)]
    for split, share in (("train", 0.6), ("validation", 0.2), ("holdout", 0.2)):
        assert abs(splits.count(split) - share * length) <= 2


@pytest.mark.parametrize("split", ["validation", "holdout"])
def test_a_rhythm_of_five_meets_each_split_at_each_place(split):
    assert {n % 5 for n in range(25) if split_at(n) == split} == set(range(5))


def test_a_place_before_the_first_is_refused():
    with pytest.raises(ValueError, match="-1"):
        split_at(-1)


def test_the_holdout_is_stricter_than_validation_and_that_than_training():
    assert strictest("train", "holdout", "validation") == "holdout"
    assert strictest("train", "validation") == "validation"
    assert strictest("train") == "train"
