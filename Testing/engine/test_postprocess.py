"""Post-processing against a straightforward second implementation, and every published fault beside its mending."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import Cancelled, GenesisError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.segmentation import bit_of, class_boxes, pack
from GenesisSegmentLib.engine.components import fill_holes, largest
from GenesisSegmentLib.engine.postprocess import (
    LESIONS,
    PostprocessError,
    needed_classes,
    postprocess,
    postprocess_bits,
)
from mask_builders import (
    AORTA,
    BIG_CUBE,
    COLON,
    COLON_TUMOR,
    CUBE,
    CYST,
    KIDNEY_TUMOR,
    LEFT,
    LEFT_KIDNEY,
    LIVER,
    LIVER_TUMOR,
    LUNG_TUMOR,
    PANCREAS,
    PANCREAS_TUMOR,
    RIGHT,
    RIGHT_KIDNEY,
    SHAPE,
    SPLEEN,
    VEIN,
    VESSEL,
    VESSEL_TUMOR,
    box,
    channels,
    of,
    random_masks,
    reference_components,
    reference_host,
    reference_largest,
    reference_published,
)

# --- published -------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.05, 0.2, 0.4]))
def test_published_equals_the_second_implementation(seed, fill):
    masks = random_masks(seed, fill)
    assert np.array_equal(postprocess(masks, "published"), reference_published(masks))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.05, 0.2, 0.4]))
def test_abdomenatlas_cleans_organs_as_published_and_lesions_by_its_own_table(seed, fill):
    masks = random_masks(seed, fill)
    result = postprocess(masks, "published_abdomenatlas")
    expected = reference_published(masks)
    table = {26: (5, 80), 27: (20, 20), 28: (1, 100), 29: (10, 80), 30: (10, 30), 31: (3, 100), 32: (20, 20)}
    for c, (count, above) in table.items():
        expected[c - 1] = reference_largest(expected[c - 1], count, above)
    others = [c - 1 for c in range(1, 33) if c not in (RIGHT, LEFT)]
    assert np.array_equal(result[others], expected[others])


def test_published_raises_on_an_empty_pancreas_when_the_portal_vein_is_asked_for_too():
    masks = random_masks(1)
    masks[PANCREAS - 1] = False
    with pytest.raises(PostprocessError, match="pancreas") as error:
        postprocess(masks, "published")
    assert isinstance(error.value, GenesisError)
    assert "safe" in error.value.remedy


@pytest.mark.parametrize("asked", [(VEIN,), (PANCREAS,)])
def test_published_does_not_raise_when_only_one_of_the_two_is_asked_for(asked):
    bits = pack([(VEIN, box((4, 9)))], SHAPE)
    cleaned = postprocess_bits(bits, (VEIN, PANCREAS), "published", asked=asked)
    assert np.array_equal(cleaned, bits if asked == (VEIN,) else np.zeros_like(bits))


@pytest.mark.parametrize("variant", ["published_abdomenatlas", "safe"])
def test_an_empty_pancreas_leaves_the_portal_vein_alone(variant):
    masks = channels(portal_vein_and_splenic_vein=box((4, 9)) | box((12, 13)))
    assert np.array_equal(of(postprocess(masks, variant), VEIN), of(masks, VEIN))


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas", "safe"])
def test_the_portal_vein_ends_at_the_lowest_slice_of_the_largest_pancreas_component(variant):
    pancreas = box((4, 9), z=(8, 12)) | box((15, 16), z=(2, 4))
    masks = channels(pancreas=pancreas, portal_vein_and_splenic_vein=box((4, 9), z=(3, 15)))
    assert np.array_equal(of(postprocess(masks, variant), VEIN), box((4, 9), z=(8, 15)))


# --- safe ------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.01, 0.05, 0.2, 0.5]), empty=st.sets(st.integers(1, 32)))
def test_safe_never_raises_and_adds_nothing_but_filled_holes_of_lungs(seed, fill, empty):
    masks = random_masks(seed, fill)
    for c in empty:
        masks[c - 1] = False
    result = postprocess(masks, "safe")
    union = of(masks, RIGHT) | of(masks, LEFT)
    for c in range(1, 33):
        allowed = ndimage.binary_fill_holes(union) if c in (RIGHT, LEFT) else of(masks, c)
        assert not (of(result, c) & ~allowed).any()
    assert not (of(result, RIGHT) & of(result, LEFT)).any()
    if union.any():
        assert (of(result, RIGHT) | of(result, LEFT)).any()


def reference_near(masks, hosts):
    """All raw hosts, closed and widened."""
    union = np.any([masks[h - 1] for h in hosts], axis=0)
    return ndimage.binary_dilation(ndimage.binary_closing(union, structure=BIG_CUBE), structure=BIG_CUBE)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.05, 0.2, 0.4]), own=st.booleans())
def test_safe_gives_organs_in_pieces_and_lesions_what_each_class_alone_would_get(seed, fill, own):
    """Masks overlap at random; a structure of one's own, which takes bits of 64, stays as it is."""
    masks = random_masks(seed, fill)
    index = 40 if own else VESSEL
    bits = pack([*((c, masks[c - 1]) for c in range(1, 33)), (index, masks[VESSEL - 1])], SHAPE)
    cleaned = postprocess_bits(bits, {*range(1, 33), index}, "safe")
    expected = {index: masks[VESSEL - 1]}
    for c in {*range(1, 26)} - {AORTA, VEIN, VESSEL, RIGHT, LEFT}:
        parts = reference_components(masks[c - 1])
        sizeable = [part for part in parts if part.sum() >= 0.1 * parts[0].sum()] if c in (COLON, 19) else parts[:1]
        expected[c] = np.any(sizeable, axis=0)
    for c, above in ((26, 80), (27, 20), (28, 100), (32, 20)):
        hosts = {26: (2, 3), 27: (6,), 28: (11,), 32: (2, 3)}[c]
        expected[c] = reference_largest(masks[c - 1] & reference_host(masks, hosts), None, above)
    for c, above, hosts in ((29, 80, (LIVER, VESSEL)), (30, 30, (RIGHT, LEFT)), (31, 100, (COLON,))):
        near = reference_near(masks, hosts)
        parts = [p for p in reference_components(masks[c - 1]) if p.sum() > above and (p & near).any()]
        expected[c] = np.any([np.zeros(SHAPE, bool), *parts], axis=0)
    for c, mask in expected.items():
        assert np.array_equal((cleaned & bit_of(c)) != 0, mask), c


@pytest.mark.parametrize("index", [AORTA, COLON, 19])
def test_safe_keeps_sizeable_pieces_of_organs_that_enter_the_scan_in_pieces(index):
    ascending, descending, speck = box((2, 6)), box((14, 17)), box((22, 23), y=(1, 2), z=(1, 2))
    masks = np.zeros((32, *SHAPE), bool)
    masks[index - 1] = ascending | descending | speck
    assert np.array_equal(of(postprocess(masks, "safe"), index), ascending | descending)
    masks[PANCREAS - 1] = True
    assert np.array_equal(of(postprocess(masks, "published"), index), ascending)


@pytest.mark.parametrize(
    ("lesion", "host"),
    [
        ("kidney_tumor", "kidney_right"),
        ("kidney_tumor", "kidney_left"),
        ("liver_tumor", "liver"),
        ("pancreas_tumor", "pancreas"),
        ("kidney_cyst", "kidney_left"),
    ],
)
def test_safe_cuts_lesions_to_their_host_and_three_millimetres_round_it(lesion, host):
    masks = channels(**{host: box((8, 16)), lesion: box((4, 12))})
    index = next(c.index for c in class_table().values() if c.slug == lesion)
    assert np.array_equal(of(postprocess(masks, "safe"), index), box((6, 12)))


HOSTS_TOUCHED = (
    *(("hepatic_vessel_tumor", "hepatic_vessel"), ("hepatic_vessel_tumor", "liver"), ("colon_tumor", "colon")),
    *(("lung_tumor", "lung_right"), ("lung_tumor", "lung_left")),
)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.1, 0.4]))
def test_round_a_small_lesion_the_host_is_what_it_is_in_the_whole_volume(seed, fill):
    """Only what lies near a lesion is closed and widened; at the edge of the volume, closing erodes as published."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.2)
    labels, _ = ndimage.label(noise > np.quantile(noise, 1 - fill), structure=CUBE)
    liver, tumor = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]), np.zeros(SHAPE, bool)
    start = rng.integers(0, SHAPE)
    tumor[tuple(slice(s, s + n) for s, n in zip(start, rng.integers(1, 4, 3), strict=True))] = True
    bits = pack([(LIVER, liver), (LIVER_TUMOR, tumor)], SHAPE)
    host = ndimage.binary_dilation(ndimage.binary_closing(liver, structure=BIG_CUBE), structure=BIG_CUBE)
    cleaned = postprocess_bits(bits, (LIVER, LIVER_TUMOR), "published", asked=(LIVER_TUMOR,))
    assert np.array_equal(cleaned != 0, tumor & host)


@pytest.mark.parametrize(("lesion", "host"), HOSTS_TOUCHED)
def test_safe_keeps_lesions_whole_where_they_touch_their_host(lesion, host):
    beside, away = box((4, 13)), box((18, 23))
    masks = channels(**{host: box((14, 16)), lesion: beside | away})
    index = next(c.index for c in class_table().values() if c.slug == lesion)
    assert np.array_equal(of(postprocess(masks, "safe"), index), beside)


@pytest.mark.parametrize("index", sorted(LESIONS))
def test_safe_removes_lesions_without_a_host(index):
    masks = np.zeros((32, *SHAPE), bool)
    masks[index - 1] = box((4, 12))
    assert not postprocess(masks, "safe").any()


def test_safe_keeps_more_lesions_than_abdomenatlas_allows():
    lesions = box((3, 9), y=(3, 9)) | box((12, 18), y=(3, 9)) | box((3, 9), y=(12, 18))
    masks = channels(pancreas=box((0, 24), (0, 22), (0, 20)), pancreas_tumor=lesions)
    assert np.array_equal(of(postprocess(masks, "safe"), PANCREAS_TUMOR), lesions)
    assert of(postprocess(masks, "published_abdomenatlas"), PANCREAS_TUMOR).sum() == lesions.sum() / 3


@pytest.mark.parametrize(("spacing", "kept"), [(1.5, False), (3.0, True)])
def test_smallest_lesion_is_a_volume_not_a_voxel_count(spacing, kept):
    """100 voxels of 1.5 mm are 12.5 voxels of 3 mm."""
    masks = channels(pancreas=np.ones(SHAPE, bool), pancreas_tumor=box((6, 10), y=(6, 10), z=(6, 8)))
    result = postprocess(masks, "safe", spacing_mm=(spacing,) * 3)
    assert of(result, PANCREAS_TUMOR).any() == kept


def test_host_margin_is_a_length_on_every_axis():
    liver = box((8, 16))
    bits = pack([(LIVER, liver), (LIVER_TUMOR, np.ones(SHAPE, bool))], SHAPE)
    cleaned = postprocess_bits(bits, (LIVER, LIVER_TUMOR), "published", spacing_mm=(1.0, 1.5, 3.0))
    tumour = (cleaned >> np.uint32(LIVER_TUMOR - 1) & 1).astype(bool)
    assert np.array_equal(tumour, box((5, 19), y=(4, 18), z=(5, 17)))


# --- which classes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "variant", "needed"),
    [
        ((SPLEEN,), "safe", (SPLEEN,)),
        ((VEIN,), "safe", (VEIN, PANCREAS)),
        ((RIGHT,), "published", (RIGHT, LEFT)),
        ((LIVER_TUMOR,), "published", (LIVER, LIVER_TUMOR)),
        ((KIDNEY_TUMOR, CYST), "safe", (RIGHT_KIDNEY, LEFT_KIDNEY, KIDNEY_TUMOR, CYST)),
        ((CYST,), "published", (CYST,)),
        ((LUNG_TUMOR,), "safe", (RIGHT, LEFT, LUNG_TUMOR)),
        ((VESSEL_TUMOR,), "safe", (LIVER, VESSEL, VESSEL_TUMOR)),
        ((COLON_TUMOR,), "safe", (COLON, COLON_TUMOR)),
    ],
)
def test_needed_classes(asked, variant, needed):
    assert needed_classes(asked, variant) == needed


def test_only_asked_classes_come_back_and_the_others_serve_as_hosts():
    masks = channels(liver=box((8, 16)), liver_tumor=box((4, 12)))
    bits = pack([(LIVER, of(masks, LIVER)), (LIVER_TUMOR, of(masks, LIVER_TUMOR))], SHAPE)
    cleaned = postprocess_bits(bits, needed_classes((LIVER_TUMOR,)), "safe", asked=(LIVER_TUMOR,))
    assert np.array_equal(cleaned, pack([(LIVER_TUMOR, box((6, 12)))], SHAPE))


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas", "safe"])
@pytest.mark.parametrize("index", [VEIN, RIGHT, LEFT, KIDNEY_TUMOR, LIVER_TUMOR])
def test_a_rule_whose_classes_were_not_computed_is_skipped(variant, index):
    bits = pack([(index, box((2, 6)) | box((12, 20)))], SHAPE)
    assert np.array_equal(postprocess_bits(bits, (index,), variant), bits)


@pytest.mark.parametrize("index", [VEIN, RIGHT, LIVER_TUMOR, SPLEEN])
def test_an_empty_class_alone_stays_empty(index):
    bits = np.zeros(SHAPE, np.uint32)
    assert not postprocess_bits(bits, (index,), "safe").any()


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas", "safe"])
def test_bits_and_masks_give_the_same_in_either_memory_order_and_input_is_untouched(variant):
    masks = random_masks(7)
    before = masks.copy()
    expected = postprocess(masks, variant)
    bits = pack(((c, masks[c - 1]) for c in range(1, 33)), SHAPE)
    for given_bits in (bits, np.asfortranarray(bits)):
        copy = given_bits.copy()
        cleaned = postprocess_bits(given_bits, range(1, 33), variant)
        assert np.array_equal(cleaned, pack(((c, expected[c - 1]) for c in range(1, 33)), SHAPE))
        assert np.array_equal(given_bits, copy)
    assert np.array_equal(masks, before)
    assert not np.shares_memory(masks, expected)


@pytest.mark.parametrize("variant", ["published", "published_abdomenatlas", "safe"])
def test_progress_is_told_class_by_class(variant):
    masks = random_masks(7)
    bits = pack(((c, masks[c - 1]) for c in range(1, 33)), SHAPE)
    shares = []
    cleaned = postprocess_bits(bits, range(1, 33), variant, advance=shares.append)
    assert np.array_equal(cleaned, postprocess_bits(bits, range(1, 33), variant))
    assert sorted(set(shares)) == [n / 32 for n in range(32)]
    assert shares == sorted(shares)


JOINED_LUNGS = {
    RIGHT: box((13, 22)) | box((2, 11)) | box((11, 13), y=(10, 12), z=(10, 12)),
    LEFT: box((0, 1), y=(0, 2)),
}
LESION = {LIVER: box((4, 12)), LIVER_TUMOR: box((6, 10))}


@pytest.mark.parametrize(
    ("variant", "shown", "least"),
    [
        ("published_abdomenatlas", JOINED_LUNGS, 6),
        ("safe", JOINED_LUNGS, 10),
        ("published_abdomenatlas", LESION, 4),
        ("safe", LESION, 4),
    ],
)
def test_cleaning_can_be_stopped_within_a_long_class(variant, shown, least):
    """One class at a time would not do: lungs that touch take seconds."""
    bits = pack(shown.items(), SHAPE)
    index, told = max(shown, key=lambda c: c in (RIGHT, LIVER_TUMOR)), []
    classes = needed_classes((index,), variant)
    postprocess_bits(bits, classes, variant, asked=(index,), advance=told.append)
    assert len(told) >= least
    for last in range(1, len(told) + 1):
        calls = []

        def stop(share, last=last, calls=calls):
            calls.append(share)
            if len(calls) == last:
                raise Cancelled

        with pytest.raises(Cancelled):
            postprocess_bits(bits, classes, variant, asked=(index,), advance=stop)
        assert len(calls) == last


@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_components_rank_by_lowest_mean_first_index_in_either_memory_order(order):
    """The bar begins first along every axis, yet lies further up on average."""
    bar, block = box((3, 15), y=(3, 4), z=(3, 4)), box((4, 8), y=(8, 11), z=(8, 9))
    mask = np.array(bar | block, order=order)
    assert np.array_equal(largest(mask), block)
    assert np.array_equal(largest(mask[::-1])[::-1], bar)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_fill_holes_equals_scipy(seed):
    mask = random_masks(seed, 0.6)[0]
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@pytest.mark.parametrize("bad", [{"variant": "unknown"}, {"masks": np.zeros(SHAPE, bool)}])
def test_wrong_use_is_refused(bad):
    with pytest.raises(InputError):
        postprocess(**{"masks": np.zeros((32, *SHAPE), bool), "variant": "safe", **bad})


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), fill=st.sampled_from([0.0005, 0.01, 0.3]))
def test_class_boxes_are_the_smallest_boxes_of_all_masks(seed, fill):
    masks = random_masks(seed, fill)
    masks[seed % 32] = False
    boxes = class_boxes(pack(((c, masks[c - 1]) for c in range(1, 33)), SHAPE))
    expected = {c: Box.around(masks[c - 1]) for c in range(1, 33)}
    assert boxes == {c: found for c, found in expected.items() if found is not None}
