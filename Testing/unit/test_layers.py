from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from GenesisSegmentLib.core import layers as layers_module
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.layers import Layer, color, overlaps, pack_layers, unpack_layers
from GenesisSegmentLib.core.segmentation import Segmentation, pack

ALL = tuple(range(1, 33))
SHAPES = st.tuples(*[st.integers(1, 6)] * 3)
BIT_VOLUMES = arrays.arrays(np.uint32, SHAPES, elements=st.integers(0, 2**32 - 1))


def a_segmentation(bits, classes=ALL):
    return Segmentation(bits, Geometry(bits.shape, np.eye(4)), classes)


def boxes(*placed, shape=(8, 8, 8)):
    """Bits of classes whose masks are the given boxes along i."""
    masks = []
    for index, start, stop in placed:
        mask = np.zeros(shape, dtype=bool)
        mask[start:stop] = True
        masks.append((index, mask))
    return pack(masks, shape)


@given(BIT_VOLUMES)
def test_layers_hold_all_that_the_bits_do(bits):
    segmentation = a_segmentation(bits)
    layers = pack_layers(segmentation)
    back = unpack_layers(layers, segmentation.geometry)
    assert np.array_equal(back.bits, bits)
    assert back.classes == ALL
    assert sorted(c for layer in layers for c in layer.classes) == list(ALL)
    assert all(layer.labels.dtype == np.uint8 for layer in layers)


@given(BIT_VOLUMES)
def test_each_layer_says_which_classes_lie_in_it(bits):
    for layer in pack_layers(a_segmentation(bits)):
        assert set(np.unique(layer.labels)) <= {0, *layer.classes}


@given(BIT_VOLUMES, st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_memory_order_makes_no_difference(bits, axes, flips):
    turned = np.ascontiguousarray(bits.transpose(axes)).transpose(np.argsort(axes))
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    turned = np.ascontiguousarray(turned[steps])[steps]
    one, other = pack_layers(a_segmentation(bits)), pack_layers(a_segmentation(turned))
    assert [layer.classes for layer in one] == [layer.classes for layer in other]
    assert all(np.array_equal(a.labels, b.labels) for a, b in zip(one, other, strict=True))


@given(BIT_VOLUMES)
def test_overlaps_are_those_of_the_masks(bits):
    segmentation = a_segmentation(bits)
    met = overlaps(bits)
    for a, b in combinations(ALL, 2):
        share = bool((segmentation.mask(a) & segmentation.mask(b)).any())
        assert bool(met.get(a, 0) >> (b - 1) & 1) == share
        assert bool(met.get(b, 0) >> (a - 1) & 1) == share


@given(BIT_VOLUMES, st.integers(1, 20))
def test_slabs_of_any_size_give_the_same(bits, voxels):
    whole = overlaps(bits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers_module, "_SLAB_VOXELS", voxels)
        assert overlaps(bits) == whole
        back = unpack_layers(pack_layers(a_segmentation(bits)), Geometry(bits.shape, np.eye(4)))
    assert np.array_equal(back.bits, bits)


def test_organs_that_do_not_overlap_lie_in_one_layer():
    bits = boxes(*((c, c % 8, c % 8 + 1) for c in range(1, 9)))
    (layer,) = pack_layers(a_segmentation(bits, (1, 2, 3, 4, 5, 6, 7, 8, 25)))
    assert layer.classes == (1, 2, 3, 4, 5, 6, 7, 8, 25)


def test_lesions_that_lie_in_different_organs_share_the_second_layer():
    bits = boxes((2, 0, 3), (6, 4, 8), (26, 1, 2), (27, 5, 6))
    groups = [layer.classes for layer in pack_layers(a_segmentation(bits, (2, 6, 26, 27)))]
    assert groups == [(2, 6), (26, 27)]


def test_lesion_in_a_lesion_in_an_organ_takes_three_layers():
    bits = boxes((6, 0, 8), (27, 1, 6), (32, 2, 3))
    assert [layer.classes for layer in pack_layers(a_segmentation(bits, (6, 27, 32)))] == [(6,), (27,), (32,)]


def test_classes_that_were_looked_for_and_not_found_have_their_place():
    (layer,) = pack_layers(a_segmentation(np.zeros((2, 2, 2), np.uint32), (1, 6)))
    assert layer.classes == (1, 6)
    assert not layer.labels.any()


@given(st.dictionaries(st.integers(1, 32), st.integers(0, 2**32 - 1), max_size=32))
def test_no_group_holds_classes_that_meet(rough):
    met = dict.fromkeys(ALL, 0)
    for a, mask in rough.items():
        for b in ALL:
            if mask >> (b - 1) & 1:
                met[a] |= 1 << (b - 1)
                met[b] |= 1 << (a - 1)
    groups = color(met, ALL)
    assert sorted(c for group in groups for c in group) == list(ALL)
    for group in groups:
        assert not any(met[a] >> (b - 1) & 1 for a, b in combinations(group, 2))


def test_busiest_class_first_saves_a_layer_where_that_helps():
    # A path 1 - 4 - 3 - 2: ascending, 1 and 2 take the first group and 3 and 4 can share none.
    met = {1: 0b1000, 4: 0b0101, 3: 0b1010, 2: 0b0100}
    assert len(color(met, (1, 2, 3, 4))) == 2


@pytest.mark.parametrize(
    "layer",
    [
        Layer(np.full((2, 2, 2), 7, np.uint8), (6,)),
        Layer(np.zeros((2, 2, 3), np.uint8), (6,)),
    ],
)
def test_layer_that_does_not_fit_is_refused(layer):
    with pytest.raises(InputError, match="does not fit"):
        unpack_layers([layer], Geometry((2, 2, 2), np.eye(4)))
