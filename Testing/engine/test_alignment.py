"""Predictions and references on one grid: borders that a file lacks, and grids that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Box, Geometry, Reorientation
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.alignment import brought_together, cropped
from GenesisSegmentLib.engine.evaluate import evaluate
from GenesisSegmentLib.engine.labels import Labels

LIVER = 6
SHAPE = (14, 12, 10)


def scan(rotation=(14, -8, 33)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ np.diag((0.9, 1.1, 2.5))
    matrix[:3, 3] = (-20.0, 30.0, 500.0)
    return Geometry(SHAPE, matrix)


def liver(*corner):
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(c, c + 4) for c in corner)] = True
    return Segmentation(pack([(LIVER, mask)], SHAPE), scan(), (LIVER,))


WHOLE = liver(5, 4, 3)
PART = Box((3, 4, 2), (11, 9, 8))


def turned(segmentation, change):
    return Segmentation(change.apply(segmentation.bits), segmentation.geometry.reoriented(change), segmentation.classes)


def moved(segmentation, by_mm):
    matrix = segmentation.geometry.ijk_to_ras.copy()
    matrix[:3, 3] += by_mm
    return Segmentation(segmentation.bits, Geometry(segmentation.geometry.shape, matrix), segmentation.classes)


@pytest.mark.parametrize(
    "change", [Reorientation((0, 1, 2), (False,) * 3), Reorientation((2, 0, 1), (True, False, True))]
)
@pytest.mark.parametrize("is_reference", [False, True])
def test_a_file_with_the_extent_of_its_segments_is_compared_with_a_whole_one(is_reference, change):
    part = Labels(turned(cropped(WHOLE, PART), change), is_empty_outside=True)
    pair = (Labels(WHOLE), part) if is_reference else (part, Labels(WHOLE))
    one, other = brought_together(*pair)
    assert one.geometry.matches(other.geometry)
    assert sorted(one.geometry.shape) == sorted(SHAPE)
    (score,) = evaluate(one, other)
    assert (score.dice, score.nsd, score.hd95_mm) == (1.0, 1.0, 0.0)


def test_two_parts_of_one_scan_that_do_not_even_meet_are_compared():
    parts = (cropped(liver(0, 0, 0), Box((0, 0, 0), (4, 4, 4))), cropped(liver(9, 7, 5), Box((8, 7, 5), (14, 12, 10))))
    one, other = brought_together(*(Labels(part, is_empty_outside=True) for part in parts))
    assert one.geometry.shape == SHAPE
    assert np.array_equal(one.mask(LIVER), liver(0, 0, 0).mask(LIVER))
    assert np.array_equal(other.mask(LIVER), liver(9, 7, 5).mask(LIVER))
    assert one.geometry.matches(scan())


@pytest.mark.parametrize("is_reference", [False, True])
def test_a_label_map_of_a_part_is_refused_as_it_says_nothing_about_the_rest(is_reference):
    part = Labels(cropped(WHOLE, PART))
    with pytest.raises(GeometryError, match="different grids") as error:
        brought_together(*((Labels(WHOLE), part) if is_reference else (part, Labels(WHOLE))))
    assert error.value.remedy


@pytest.mark.parametrize("by_mm", [(0.45, 0, 0), (0, 0, 1.2), (1e7, 0, 0)])
def test_a_part_that_lies_between_the_voxels_or_elsewhere_is_refused(by_mm):
    part = Labels(moved(cropped(WHOLE, PART), by_mm), is_empty_outside=True)
    with pytest.raises(GeometryError, match="different grids"):
        brought_together(Labels(WHOLE, is_empty_outside=True), part)


def test_parts_that_are_absurdly_far_from_each_other_are_refused_before_memory_is_taken():
    far = scan().ijk_to_ras[:3, 0] * 10**9  # a whole number of voxels
    part = Labels(moved(cropped(WHOLE, PART), far), is_empty_outside=True)
    with pytest.raises(GeometryError, match="different grids"):
        brought_together(Labels(WHOLE, is_empty_outside=True), part)


def test_a_part_of_another_lattice_is_refused():
    coarse = Geometry((5, 5, 5), scan((0, 0, 20)).ijk_to_ras)
    part = Labels(Segmentation(np.zeros((5, 5, 5), np.uint32), coarse, (LIVER,)), is_empty_outside=True)
    with pytest.raises(GeometryError, match="different grids"):
        brought_together(Labels(WHOLE), part)


def test_joined_is_the_smallest_box_around_all():
    assert Box.joined([Box((1, 5, 2), (4, 6, 9)), Box((0, 7, 3), (2, 8, 4))]) == Box((0, 5, 2), (4, 8, 9))
