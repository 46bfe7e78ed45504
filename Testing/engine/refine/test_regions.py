from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.engine.refine.regions import COARSEST_MM, LARGE, MARGIN, SMALL, Region, region_around
from GenesisSegmentLib.engine.refine.upsampling import brought_back

spacings = st.tuples(*[st.floats(0.3, 6)] * 3)
shapes = st.tuples(*[st.integers(1, 500)] * 3)


def a_geometry(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Geometry:
    return Geometry(shape, np.diag([*spacing, 1.0]))


@given(shapes, spacings, st.data())
def test_a_region_shows_what_it_is_for_with_a_margin_as_far_as_the_ct_goes(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], data: st.DataObject
) -> None:
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    extent = Box(start, tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))  # type: ignore[arg-type]
    region = region_around(extent, a_geometry(shape, spacing))
    largest = max(extent.shape) + 2 * MARGIN
    assert region.side == (SMALL if largest <= SMALL else LARGE)
    assert region.is_native or largest > LARGE
    for low, high, first, last, n, step in zip(
        region.box.start, region.box.stop, extent.start, extent.stop, shape, region.step, strict=True
    ):
        assert 0 <= low < high <= n
        assert high - low == min(n, region.side * step)
        room = min((region.side * step - (last - first)) // 2, MARGIN * step) - 1
        assert low <= max(0, first - min(room, 4 * step)) + 1
        assert high >= min(n, last + min(room, 4 * step)) - 1
    assert max(region.counts) <= region.side
    while (wider := region.wider()) is not None:
        assert np.prod(wider.box.shape) > np.prod(region.box.shape)
        region = wider
    sizes = zip(region.box.shape, shape, region.spacing, strict=True)
    assert all(n == whole or s >= COARSEST_MM for n, whole, s in sizes)


STEPS = [(1, 1, 1), (2, 2, 2), (2, 2, 1), (3, 1, 2), (4, 3, 5)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", [(40, 30, 25), (41, 31, 27)])
def test_what_is_linear_comes_back_exactly(step: tuple[int, int, int], shape: tuple[int, int, int]) -> None:
    region = Region(Box.whole(shape), step, 64, a_geometry(shape, (1, 1, 1)))
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    height = (0.9 * i - 0.7 * j + 0.4 * k - 9.3173).astype(np.float32)
    coarse = region.sampled(height)
    native = np.zeros(shape, dtype=bool)
    back = brought_back(coarse > 0, coarse, np.zeros(coarse.shape, dtype=bool), native, region)
    inner = tuple(slice(s, n - 2 * s) for s, n in zip(step, shape, strict=True))  # beyond the last sample it is level
    assert (back == (height > 0))[inner].all()


@pytest.mark.parametrize("step", STEPS[1:])
def test_only_a_band_is_interpolated_and_yet_all_is_as_if_everything_were(step: tuple[int, int, int]) -> None:
    shape = (40, 36, 30)
    region = Region(Box.whole(shape), step, 64, a_geometry(shape, (1, 1, 1)))
    rng = np.random.default_rng(4)
    logits = ndimage.gaussian_filter(rng.normal(size=region.counts), 1.2).astype(np.float32)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    places = (places - np.reshape([s // 2 for s in step], (3, 1, 1, 1))) / np.reshape(step, (3, 1, 1, 1))
    everywhere = ndimage.map_coordinates(logits, places, order=1, mode="nearest") > 0
    empty = np.zeros(shape, dtype=bool)
    before = np.asarray(logits <= 0)  # everything changes
    assert (brought_back(logits > 0, logits, before, empty, region) == everywhere).all()


def test_where_nothing_changes_the_ct_s_own_voxels_stay() -> None:
    shape = (40, 36, 30)
    region = Region(Box.whole(shape), (2, 2, 2), 64, a_geometry(shape, (1, 1, 1)))
    native = np.random.default_rng(1).random(shape) < 0.5
    before = region.sampled(native)
    after = before.copy()
    after[5, 5, 5] ^= True
    back = brought_back(after, None, before, native, region)
    near = np.zeros(shape, dtype=bool)
    near[8:14, 8:14, 8:14] = True
    assert (back == native)[~near].all()
    assert (back != native)[near].any()


@pytest.mark.parametrize("step", STEPS)
def test_a_thin_line_is_still_there_on_a_coarser_grid(step: tuple[int, int, int]) -> None:
    shape = (41, 36, 30)
    region = Region(Box.whole(shape), step, 64, a_geometry(shape, (1, 1, 1)))
    line = np.zeros(shape, dtype=bool)
    line[:, 17, 11] = True
    pooled = region.pooled(line)
    assert pooled.shape == region.counts
    assert {tuple(v) for v in np.argwhere(pooled)} == {
        (n, 17 // step[1], 11 // step[2]) for n in range(region.counts[0])
    }
