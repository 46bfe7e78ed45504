"""The races of voxel work: both ways give the same, and a wrong result is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.benchmark import FULL, QUICK, all_agree, voxels

TINY = replace(QUICK, native_shape=(41, 37, 31), islands_side=48, rounds=1)


@pytest.mark.parametrize("shape", [(41, 37, 31), (9, 41, 5)])
def test_organs_on_the_coarse_grid_overlap_and_come_back_the_same_by_both_ways(shape) -> None:
    masks = voxels.coarse_masks(shape)
    assert masks.logits.shape == (25, *((n + 1) // 2 for n in shape))
    assert masks.native.matches(masks.grid.resampled(masks.native.spacing))
    several = masks.bits & (masks.bits - np.uint32(1))
    assert several.any()
    plain, ours = voxels.masks_by_torch(masks), voxels.masks_by_bands(masks)
    assert plain.any()
    np.testing.assert_array_equal(plain, ours)


def test_islands_lie_all_over_and_both_ways_take_them_away() -> None:
    pytest.importorskip("skimage", reason="MONAI needs scikit-image to label components")
    labels = voxels.organs_with_islands(48)
    before = labels.copy()
    plain, ours = voxels.largest_by_monai(labels), voxels.largest_in_one_pass(labels)
    np.testing.assert_array_equal(plain, ours)
    assert 0 < np.count_nonzero(ours) < np.count_nonzero(labels)
    np.testing.assert_array_equal(labels, before)


def test_the_targets_are_those_of_the_issue_at_full_size() -> None:
    assert FULL.native_shape == (511, 511, 299)
    assert FULL.islands_side == 300
    figures = [*voxels.masks_back(TINY, Job()), *voxels.islands(TINY, Job())]
    assert {f.target for f in figures if f.unit == "CPU s"} <= {40.0, 100.0}
    assert all_agree(figures)


@pytest.mark.parametrize(
    ("case", "ours"), [(voxels.masks_back, "masks_by_bands"), (voxels.islands, "largest_in_one_pass")]
)
def test_one_wrong_voxel_is_told(monkeypatch, case, ours) -> None:
    if case is voxels.islands:
        pytest.importorskip("skimage", reason="MONAI needs scikit-image to label components")
    right = getattr(voxels, ours)

    def wrong(given):
        result = right(given)
        result[3, 4, 5] ^= 1
        return result

    monkeypatch.setattr(voxels, ours, wrong)
    assert not all_agree(list(case(TINY, Job())))


def test_without_scikit_image_the_race_says_why_it_was_not_run(monkeypatch) -> None:
    monkeypatch.setattr(voxels.importlib.util, "find_spec", lambda name: None)
    (figure,) = voxels.islands(TINY, Job())
    assert (figure.plain, figure.ratio) == (None, None)
    assert "scikit-image" in figure.note
