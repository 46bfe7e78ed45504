"""The lungs told apart, against a second implementation, and every published fault beside its mending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.segmentation import pack
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.postprocess import postprocess, postprocess_bits
from mask_builders import (
    LEFT,
    RIGHT,
    SHAPE,
    box,
    channels,
    mirrored,
    of,
    random_masks,
    reference_abdomenatlas_lungs,
    zoomed,
)


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas"])
@pytest.mark.parametrize(
    "lungs",
    [
        {"lung_right": box((14, 22))},
        {"lung_right": box((12, 22)), "lung_left": box((2, 12))},
        {},
    ],
    ids=["single lung", "touching lungs", "no lungs"],
)
def test_published_erases_the_lungs_where_they_are_one_component(variant, lungs):
    masks = channels(pancreas=box((1, 2)), **lungs)
    result = postprocess(masks, variant)
    assert not of(result, RIGHT).any()
    assert not of(result, LEFT).any()


def test_published_gives_joined_lungs_to_one_class_when_there_is_a_fragment():
    fragment = box((1, 2), y=(1, 2))
    masks = channels(lung_right=box((12, 22)) | fragment, lung_left=box((3, 12)), pancreas=box((1, 2)))
    result = postprocess(masks, "published")
    assert np.array_equal(of(result, RIGHT), box((3, 22)))
    assert np.array_equal(of(result, LEFT), fragment)


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas", "safe"])
@pytest.mark.parametrize("mirror", [False, True])
def test_two_separate_lungs_keep_their_sides(variant, mirror):
    masks = channels(lung_right=box((13, 22)), lung_left=box((3, 10)), pancreas=box((12, 13)))
    masks = mirrored(masks) if mirror else masks
    assert np.array_equal(postprocess(masks, variant), masks)


# --- AbdomenAtlas lungs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "is_filled"), [("published", False), ("published_abdomenatlas", True), ("safe", True)]
)
def test_holes_of_the_lungs(variant, is_filled):
    right, left = box((13, 22)), box((3, 10))
    right[16:18, 9:11, 9:11] = left[5, 8, 8] = False
    result = postprocess(channels(lung_right=right, lung_left=left, pancreas=left), variant)
    assert np.array_equal(of(result, RIGHT), box((13, 22)) if is_filled else right)
    assert np.array_equal(of(result, LEFT), box((3, 10)) if is_filled else left)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    fill=st.sampled_from([0.1, 0.25, 0.4, 0.6]),
    size=st.sampled_from([(6, 5, 5), (12, 10, 10)]),
)
def test_abdomenatlas_lungs_equal_the_second_implementation(seed, fill, size):
    rough = zoomed(random_masks(seed, fill)[0][tuple(slice(0, n) for n in size)], (32, 30, 24))
    slab = np.zeros_like(rough)
    slab[..., seed % 24] = seed % 3 == 0
    masks = channels(rough.shape, lung_right=rough | slab)
    result = postprocess(masks, "published_abdomenatlas")
    right, left = reference_abdomenatlas_lungs(rough | slab)
    assert np.array_equal(of(result, RIGHT), right)
    assert np.array_equal(of(result, LEFT), left)


@pytest.mark.parametrize(("x", "side"), [((14, 22), RIGHT), ((2, 10), LEFT)])
def test_abdomenatlas_keeps_a_single_lung_that_comes_with_a_fragment(x, side):
    masks = channels(lung_right=box(x), lung_left=box((11, 12), y=(1, 3)))
    result = postprocess(masks, "published_abdomenatlas")
    assert np.array_equal(of(result, side), box(x))
    assert not of(result, RIGHT + LEFT - side).any()


def test_abdomenatlas_parts_joined_lungs_by_erosion():
    bridge = box((10, 14), y=(10, 12), z=(10, 12))
    masks = channels(lung_right=box((14, 22)) | box((2, 10)) | bridge, lung_left=box((0, 1), y=(1, 3)))
    result = postprocess(masks, "published_abdomenatlas")
    assert np.array_equal(of(result, RIGHT), box((14, 22)) | box((12, 14), y=(10, 12), z=(10, 12)))
    assert np.array_equal(of(result, LEFT), box((2, 10)) | box((10, 12), y=(10, 12), z=(10, 12)))


def test_abdomenatlas_blanks_slices_that_join_the_lungs():
    shape = (48, 24, 40)
    lungs = box((4, 20), (4, 20), (4, 36), shape) | box((28, 44), (4, 20), (4, 36), shape)
    slab = box((0, 48), (0, 24), (20, 21), shape)
    fragment = box((0, 2), (0, 2), (0, 2), shape)
    result = postprocess(channels(shape, lung_right=lungs | slab | fragment), "published_abdomenatlas")
    # Blanking cuts each lung in two at the slab: the two largest of the four pieces remain.
    below_or_above = lungs & ~slab
    assert of(result, RIGHT).any()
    assert of(result, LEFT).any()
    assert not (of(result, RIGHT) & ~below_or_above).any()
    assert not (of(result, RIGHT) & slab).any()


JOINED = {
    "a slab in every fourth slice is not an outlier": ((40, 30, 24), (0, 24), slice(2, None, 4), True),
    "slices without lung count too": ((40, 30, 40), (10, 14), slice(12, 13), False),
}


@pytest.mark.parametrize("case", JOINED)
def test_abdomenatlas_slice_areas_as_in_the_second_implementation(case):
    shape, z, slabs, is_kept = JOINED[case]
    lungs = (
        box((4, 18), (4, 26), z, shape)
        | box((22, 36), (4, 26), z, shape)
        | box((0, 2), (0, 2), (z[0], z[0] + 1), shape)
    )
    slab = np.zeros(shape, bool)
    slab[..., slabs] = True
    result = postprocess(channels(shape, lung_right=lungs | slab), "published_abdomenatlas")
    right, left = reference_abdomenatlas_lungs(lungs | slab)
    assert np.array_equal(of(result, RIGHT), right)
    assert np.array_equal(of(result, LEFT), left)
    assert right.any()
    assert ((right | left) & slab).any() == is_kept


# --- safe -----------------------------------------------------------------------------------------------------------


LUNG_FAULTS = {
    "single lung named right": ({"lung_right": box((14, 22))}, box((14, 22)), None),
    "single lung named left": ({"lung_left": box((14, 22))}, box((14, 22)), None),
    "single lung named both": ({"lung_left": box((14, 22)), "lung_right": box((14, 22))}, box((14, 22)), None),
    "single lung across the midline": ({"lung_right": box((7, 18))}, box((7, 18)), None),
    "single lung with a fragment": (
        {"lung_right": box((14, 22)), "lung_left": box((1, 2), y=(1, 2), z=(1, 2))},
        box((14, 22)),
        None,
    ),
    "touching lungs, named": ({"lung_right": box((13, 22)), "lung_left": box((3, 13))}, box((13, 22)), box((3, 13))),
    "touching lungs with a fragment": (
        {"lung_right": box((13, 22)) | box((0, 1), y=(0, 2)), "lung_left": box((3, 13))},
        box((13, 22)),
        box((3, 13)),
    ),
    "lungs joined by a bridge, all named right": (
        {"lung_right": box((13, 22)) | box((2, 11)) | box((11, 13), y=(10, 12), z=(10, 12))},
        box((13, 22)) | box((12, 13), y=(10, 12), z=(10, 12)),
        box((2, 11)) | box((11, 12), y=(10, 12), z=(10, 12)),
    ),
    "lungs joined by a bridge, all named right, with a fragment": (
        {
            "lung_right": box((13, 22)) | box((2, 11)) | box((11, 13), y=(10, 12), z=(10, 12)),
            "lung_left": box((0, 1), y=(0, 2)),
        },
        box((13, 22)) | box((12, 13), y=(10, 12), z=(10, 12)),
        box((2, 11)) | box((11, 12), y=(10, 12), z=(10, 12)),
    ),
    "both lungs named right": ({"lung_right": box((13, 22)) | box((3, 10))}, box((13, 22)), box((3, 10))),
    "one lung in two pieces": (
        {"lung_right": box((14, 22), z=(2, 8)) | box((14, 22), z=(9, 15))},
        box((14, 22), z=(2, 8)) | box((14, 22), z=(9, 15)),
        None,
    ),
    "scan that is not centred": (
        {"lung_right": box((18, 23)), "lung_left": box((13, 17))},
        box((18, 23)),
        box((13, 17)),
    ),
    "scan that is not centred, names exchanged": (
        {"lung_left": box((18, 23)), "lung_right": box((13, 17))},
        box((18, 23)),
        box((13, 17)),
    ),
    "one lung in two pieces with two names": (
        {"lung_right": box((14, 22), z=(2, 8)), "lung_left": box((15, 22), z=(9, 15))},
        box((14, 22), z=(2, 8)) | box((15, 22), z=(9, 15)),
        None,
    ),
    "a small piece beside a lung": (
        {"lung_right": box((13, 22)) | box((18, 22), y=(2, 5), z=(1, 4)), "lung_left": box((3, 10))},
        box((13, 22)),
        box((3, 10)),
    ),
    "no lungs": ({}, None, None),
}


@pytest.mark.parametrize("mirror", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("case", LUNG_FAULTS)
def test_safe_mends_the_lungs(case, mirror):
    given_masks, right, left = LUNG_FAULTS[case]
    nothing = np.zeros(SHAPE, bool)
    masks = channels(**given_masks)
    expected = channels(lung_right=nothing if right is None else right, lung_left=nothing if left is None else left)
    if mirror:
        masks, expected = mirrored(masks), mirrored(expected)
    result = postprocess(masks, "safe")
    assert np.array_equal(of(result, RIGHT), of(expected, RIGHT))
    assert np.array_equal(of(result, LEFT), of(expected, LEFT))


@pytest.mark.parametrize("named", ["as annotated", "all right"])
def test_real_lungs_that_touch_are_erased_as_published_and_kept_by_safe(shared_data, named):
    reference = read_labels(shared_data / "nsclc_radiomics" / "lung1_002").segmentation
    to_ras = reference.geometry.to_ras
    right, left = (to_ras.apply(reference.mask(c)) for c in (RIGHT, LEFT))
    shown = {RIGHT: right, LEFT: left} if named == "as annotated" else {RIGHT: right | left}
    spacing = reference.geometry.reoriented(to_ras).spacing
    bits = pack(shown.items(), right.shape)
    assert not postprocess_bits(bits, (RIGHT, LEFT), "published", spacing).any()
    cleaned = postprocess_bits(bits, (RIGHT, LEFT), "safe", spacing)
    for index, lung in ((RIGHT, right), (LEFT, left)):
        found = (cleaned >> np.uint32(index - 1) & 1).astype(bool)
        assert 2 * (found & lung).sum() / (found.sum() + lung.sum()) > 0.99


def test_the_body_midline_can_be_stated():
    bits = pack([(LEFT, box((14, 20)))], SHAPE)
    cleaned = postprocess_bits(bits, (RIGHT, LEFT), "safe", middle=22)
    assert np.array_equal(cleaned, bits)
