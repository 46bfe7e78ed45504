"""Windows and their weights are those of MONAI's sliding-window inference."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from GenesisSegmentLib.engine.inference.ring import window_count
from GenesisSegmentLib.engine.inference.windows import importance, starts

OVERLAPS = (0.0, 0.1, 0.25, 0.5, 0.625, 0.75, 0.9)
SIDES = st.tuples(*[st.integers(1, 40)] * 3)


def monai_starts(shape: tuple[int, ...], window: tuple[int, ...], overlap: float) -> list[tuple[int, ...]]:
    interval = _get_scan_interval(shape, window, 3, (overlap,) * 3)
    return [tuple(s.start for s in slices) for slices in dense_patch_slices(shape, window, interval)]


@given(
    extra=st.tuples(st.integers(0, 200), st.integers(0, 9), st.integers(0, 9)),
    window=SIDES,
    overlap=st.sampled_from(OVERLAPS),
)
@settings(max_examples=80, deadline=None)
def test_windows_lie_where_monai_puts_them(extra, window, overlap) -> None:
    shape = tuple(w + e for w, e in zip(window, extra, strict=True))
    expected = monai_starts(shape, window, overlap)
    for axis in range(3):
        wanted = sorted({start[axis] for start in expected})
        assert sorted(set(starts(shape[axis], window[axis], overlap))) == wanted
    assert window_count(shape, window, overlap) == len(expected)


@given(side=st.integers(1, 300), window=st.integers(1, 96), overlap=st.sampled_from(OVERLAPS))
@settings(max_examples=80, deadline=None)
def test_windows_cover_every_voxel_and_stay_inside(side, window, overlap) -> None:
    found = starts(side, window, overlap)
    assert found == sorted(found)
    assert found[0] == 0
    if side >= window:
        assert found[-1] + window == side
        assert all(after - before <= window for before, after in pairwise(found))


@given(window=SIDES)
@settings(max_examples=50, deadline=None)
def test_weights_are_those_of_monai(window) -> None:
    expected = compute_importance_map(window, mode="gaussian", sigma_scale=0.125, dtype=torch.float32).numpy()
    weights = importance(window)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("window", [(96, 96, 96), (128, 96, 64)])
def test_weights_of_the_published_windows_are_never_zero(window) -> None:
    expected = compute_importance_map(window, mode="gaussian", sigma_scale=0.125, dtype=torch.float32).numpy()
    np.testing.assert_allclose(importance(window), expected, rtol=1e-5, atol=1e-7)
    assert importance(window).min() == np.float32(1e-3)
