"""What the click network is told of geodesic distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.engine.refine import geodesic
from GenesisSegmentLib.engine.refine.geodesic_map import _doubled, _halved, geodesic_maps

SHAPE = (32, 24, 28)
SPACING = (1.0, 1.2, 2.0)


def two_bars() -> tuple[np.ndarray, np.ndarray]:
    """HU of two bright bars in fat, and the first of them."""
    first, second = np.zeros((2, *SHAPE), dtype=bool)
    first[6:14, 6:18, 6:22] = second[18:26, 6:18, 6:22] = True
    return np.where(first | second, 60, -90).astype(np.float32), first


def mark(*place: int) -> np.ndarray:
    marks = np.zeros(SHAPE, dtype=bool)
    marks[place] = True
    return marks


NOTHING = np.zeros(SHAPE, dtype=bool)


def test_what_a_prompt_lies_in_is_its_own_and_what_is_behind_an_edge_is_not() -> None:
    hu, _bar = two_bars()
    whose, near, far = geodesic_maps(hu, NOTHING, mark(10, 12, 14), mark(22, 12, 14), SPACING)
    core, other = np.s_[8:12, 8:16, 8:20], np.s_[20:24, 8:16, 8:20]
    assert whose[core].min() > 0
    assert whose[other].max() < 0
    assert near[core].min() > near[other].max()
    assert far[other].min() > far[core].max()


def test_the_segment_speaks_where_there_is_one() -> None:
    hu, bar = two_bars()
    whose, near, far = geodesic_maps(hu, bar, NOTHING, NOTHING, SPACING)
    assert whose[bar].mean() > 0.3
    assert whose[~bar].mean() < -0.3
    assert not near.any()
    assert not far.any()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([0, 1, 50]), st.sampled_from([0, 1, 50]), st.booleans())
def test_maps_are_numbers_in_their_range_whatever_is_drawn(seed: int, yes: int, no: int, has_segment: bool) -> None:
    rng = np.random.default_rng(seed)
    hu = rng.normal(0, 500, SHAPE).astype(np.float32)
    inside, outside = NOTHING.copy(), NOTHING.copy()
    inside.ravel()[rng.integers(0, inside.size, yes)] = True
    outside.ravel()[rng.integers(0, inside.size, no)] = True
    mask = rng.random(SHAPE) < 0.3 if has_segment else NOTHING
    whose, near, far = geodesic_maps(hu, mask, inside, outside, SPACING)
    for values, least in ((whose, -1), (near, 0), (far, 0)):
        assert values.shape == SHAPE
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert least - 1e-5 <= values.min() <= values.max() <= 1 + 1e-5
    assert near.any() == bool(yes)
    assert far.any() == bool(no)


@pytest.mark.parametrize("axis", range(3))
def test_a_mirrored_region_has_mirrored_maps(axis: int) -> None:
    """No axis and no direction is another's: what is left of a prompt stays left of it."""
    hu, bar = two_bars()
    said = (hu, bar & (np.indices(SHAPE)[2] > 12), mark(8, 9, 9), mark(21, 12, 12))
    flipped = geodesic_maps(*(np.ascontiguousarray(np.flip(a, axis)) for a in said), SPACING)
    for straight, mirrored in zip(geodesic_maps(*said, SPACING), flipped, strict=True):
        assert np.allclose(straight, np.flip(mirrored, axis), atol=1e-4)


def test_spacing_is_part_of_the_way() -> None:
    hu = np.zeros(SHAPE, dtype=np.float32)
    near = geodesic_maps(hu, NOTHING, mark(16, 12, 14), NOTHING, (1.0, 1.0, 4.0))[1]
    assert near[26, 12, 14] > near[16, 12, 24]


def test_without_numba_maps_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if not geodesic.is_compiled():
        pytest.skip("numba is not installed")
    hu, bar = two_bars()
    said = (hu, bar, mark(10, 12, 14), mark(22, 12, 14), SPACING)
    compiled = geodesic_maps(*said)
    monkeypatch.setattr(geodesic, "_compiled", lambda: None)
    for one, other in zip(compiled, geodesic_maps(*said), strict=True):
        assert np.allclose(one, other, atol=1e-4)


def test_halving_and_doubling_keep_places() -> None:
    ramp = np.indices(SHAPE).astype(np.float32)
    for axis in range(3):
        back = _doubled(_halved(ramp[axis]) / 8)
        inner = tuple(slice(1, -1) if a == axis else slice(None) for a in range(3))
        assert np.allclose(back[inner], ramp[axis][inner])
