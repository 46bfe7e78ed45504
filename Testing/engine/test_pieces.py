"""Components of many classes in one pass are those that each class has alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.engine.components import largest, touching
from GenesisSegmentLib.engine.pieces import Pieces, keep_largest
from mask_builders import CUBE, reference_components, reference_largest

SHAPES = st.one_of(
    st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from([(1, 1, 7), (8, 1, 1), (4, 5, 20), (16, 16, 16)])
)


def random_labels(seed: int, shape: tuple[int, int, int], classes: int, fill: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, classes + 1, shape).astype(np.uint8)
    coarse = ndimage.zoom(labels, 2, order=0)[tuple(slice(n) for n in shape)] if rng.random() < 0.5 else labels
    return np.where(rng.random(shape) < fill, coarse, 0).astype(np.uint8)


cases = given(
    seed=st.integers(0, 10**6),
    shape=SHAPES,
    classes=st.integers(1, 5),
    fill=st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]),
    order=st.sampled_from("CF"),
)


@cases
@settings(max_examples=150, deadline=None)
def test_every_class_has_the_components_that_it_has_alone(seed, shape, classes, fill, order) -> None:
    labels = np.asarray(random_labels(seed, shape, classes, fill), order=order)
    pieces = Pieces.of(labels)
    assert pieces.sizes[0] == pieces.classes[0] == 0
    assert np.array_equal(pieces.numbers != 0, labels != 0)
    for index in range(1, classes + 1):
        found = {pieces.mask([n]).tobytes() for n in np.flatnonzero(pieces.classes == index)}
        alone = reference_components(labels == index)
        assert found == {part.tobytes() for part in alone}
        assert sorted(pieces.sizes[pieces.classes == index]) == sorted(int(part.sum()) for part in alone)


@cases
@settings(max_examples=150, deadline=None)
def test_the_largest_of_a_class_are_those_that_it_has_alone_also_of_equal_size(
    seed, shape, classes, fill, order
) -> None:
    labels = np.asarray(random_labels(seed, shape, classes, fill), order=order)
    pieces = Pieces.of(labels)
    for index in range(1, classes + 1):
        mask = labels == index
        for count, above in ((1, 0), (2, 0), (3, 1), (None, 2), (5, 3)):
            expected = reference_largest(mask, count, above)
            assert np.array_equal(pieces.mask(pieces.largest(index, count, above)), expected)
            assert np.array_equal(largest(mask, count, above), expected)


@cases
@settings(max_examples=100, deadline=None)
def test_each_class_keeps_its_largest_component_in_one_pass(seed, shape, classes, fill, order) -> None:
    labels = np.asarray(random_labels(seed, shape, classes, fill), order=order)
    expected = np.zeros_like(labels)
    for index in range(1, classes + 1):
        expected[reference_largest(labels == index, 1)] = index
    before = labels.copy()
    assert np.array_equal(keep_largest(labels), expected)
    assert np.array_equal(labels, before)


@cases
@settings(max_examples=60, deadline=None)
def test_components_that_touch_a_region_are_whole(seed, shape, classes, fill, order) -> None:
    mask = np.asarray(random_labels(seed, shape, classes, fill), order=order) == 1
    region = np.random.default_rng(seed).random(shape) < 0.1
    labels, _ = ndimage.label(mask, structure=CUBE)
    assert np.array_equal(touching(mask, region), np.isin(labels, labels[region & mask]) & mask)


def test_small_components_beside_a_large_one_are_dropped_by_their_share() -> None:
    labels = np.zeros((20, 6, 6), np.uint8)
    labels[:5], labels[7:8, :3], labels[10:11, :2] = 3, 3, 3  # 180, 18 and 12 voxels
    pieces = Pieces.of(labels)
    assert sorted(pieces.sizes[pieces.largest(3, None, share=0.1)]) == [18, 180]
    assert pieces.largest(2).size == 0


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
def test_bits_are_added_to_those_that_are_there(kind) -> None:
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[0, 0, 0], labels[2, 2, 2] = 1, 2
    pieces = Pieces.of(labels)
    out = np.full(labels.shape, 8, kind)
    values = np.zeros(3, kind)
    values[pieces.largest(1)], values[pieces.largest(2)] = kind(1), kind(2)
    pieces.draw(values, out)
    assert (out[0, 0, 0], out[2, 2, 2], out[1, 1, 1]) == (9, 10, 8)
