from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import MAX_CLASSES, Segmentation, pack

LIVER, LIVER_TUMOR, SPLEEN, KIDNEY_CYST = 6, 27, 1, 32
SHAPE = (3, 4, 5)

masks_by_class = st.dictionaries(st.integers(1, MAX_CLASSES), hnp.arrays(bool, SHAPE), max_size=8)


def a_segmentation(masks: dict[int, np.ndarray], classes: tuple[int, ...] | None = None) -> Segmentation:
    bits = pack(masks.items(), SHAPE)
    return Segmentation(bits, Geometry(SHAPE, np.eye(4)), tuple(sorted(masks)) if classes is None else classes)


def a_mask(*voxels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


@given(masks_by_class)
def test_overlapping_masks_come_back_as_they_went_in(masks):
    segmentation = a_segmentation(masks)
    for index in range(1, MAX_CLASSES + 1):
        expected = masks.get(index, np.zeros(SHAPE, dtype=bool))
        np.testing.assert_array_equal(segmentation.mask(index), expected)
    assert segmentation.present() == tuple(sorted(c for c, mask in masks.items() if mask.any()))


def test_pack_adds_masks_of_one_class_together():
    bits = pack([(LIVER, a_mask((0, 0, 0))), (LIVER, a_mask((1, 1, 1)))], SHAPE)
    np.testing.assert_array_equal(bits != 0, a_mask((0, 0, 0), (1, 1, 1)))


def test_class_that_was_looked_for_but_not_found_is_not_present():
    segmentation = a_segmentation({LIVER: a_mask((0, 0, 0))}, classes=(SPLEEN, LIVER))
    assert segmentation.present() == (LIVER,)


def test_label_map_paints_lesions_over_organs_and_cysts_last():
    both = a_mask((1, 2, 3))
    segmentation = a_segmentation({LIVER_TUMOR: both, LIVER: both | a_mask((0, 0, 0)), KIDNEY_CYST: a_mask((2, 0, 4))})
    labels = segmentation.label_map()
    assert labels.dtype == np.uint8
    assert (labels[1, 2, 3], labels[0, 0, 0], labels[2, 0, 4]) == (LIVER_TUMOR, LIVER, KIDNEY_CYST)
    assert np.count_nonzero(labels) == 3


def test_label_map_follows_a_given_paint_order():
    both = a_mask((1, 2, 3))
    segmentation = a_segmentation({LIVER: both, LIVER_TUMOR: both})
    assert segmentation.label_map((LIVER_TUMOR, LIVER))[1, 2, 3] == LIVER
    assert segmentation.label_map((LIVER, LIVER_TUMOR))[1, 2, 3] == LIVER_TUMOR


@pytest.mark.parametrize("bits", [np.zeros(SHAPE, np.uint8), np.zeros((3, 4, 6), np.uint32)], ids=["type", "shape"])
def test_bits_that_do_not_fit_the_grid_are_refused(bits):
    with pytest.raises(GeometryError, match="do not fit"):
        Segmentation(bits, Geometry(SHAPE, np.eye(4)), ())
