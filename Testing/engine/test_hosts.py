"""Organs include their lesions, in whatever form a segmentation was kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.evaluate import evaluate
from GenesisSegmentLib.engine.export import write_segmentation
from GenesisSegmentLib.engine.hosts import families, organs_with_lesions
from GenesisSegmentLib.engine.labels import read_labels

SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, LIVER, VESSEL, RIGHT_LUNG, LEFT_LUNG = 1, 2, 3, 6, 15, 16, 17
KIDNEY_TUMOR, LIVER_TUMOR, VESSEL_TUMOR, LUNG_TUMOR, CYST = 26, 27, 29, 30, 32
SHAPE = (40, 12, 12)
FORMS = ("out.seg.nrrd", "out.nii.gz", "out.mha", "masks")


def box(i, j=(2, 10), k=(2, 10)):
    mask = np.zeros(SHAPE, bool)
    mask[slice(*i), slice(*j), slice(*k)] = True
    return mask


def geometry():
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (14, -8, 33), degrees=True).as_matrix() @ np.diag((0.9, 1.1, 2.5))
    return Geometry(SHAPE, matrix)


def segmented(masks, classes=None):
    return Segmentation(pack(masks.items(), SHAPE), geometry(), tuple(sorted(classes or masks)))


def anatomy():
    """A liver with a tumour that stands out of it; kidneys, the right one with a tumour in a cyst; a lung tumour."""
    return segmented(
        {
            LIVER: box((2, 10)),
            LIVER_TUMOR: box((8, 11), (4, 8), (4, 8)),
            RIGHT_KIDNEY: box((14, 20)),
            LEFT_KIDNEY: box((22, 28)),
            CYST: box((15, 19), (4, 8), (4, 8)) & ~box((16, 18), (5, 7), (5, 7)),
            KIDNEY_TUMOR: box((16, 18), (5, 7), (5, 7)),
            LEFT_LUNG: box((30, 34)),
            RIGHT_LUNG: box((35, 40)),
            LUNG_TUMOR: box((36, 39), (3, 6), (3, 6)),
        }
    )


def read(folder: Path, name: str, segmentation: Segmentation):
    voxels = np.zeros(SHAPE, np.int16)
    volume = Volume(voxels, segmentation.geometry, Source(Path("scan.nii.gz"), "scan"))
    write_segmentation(segmentation, volume, folder / name)
    return read_labels(folder / name)


@pytest.mark.parametrize("reference", FORMS)
@pytest.mark.parametrize("prediction", FORMS)
def test_the_same_segmentation_scores_perfectly_in_all_its_forms(tmp_path, prediction, reference):
    one, other = read(tmp_path / "a", prediction, anatomy()), read(tmp_path / "b", reference, anatomy())
    scores = evaluate(one.segmentation, other.segmentation)
    assert [(s.index, s.dice, s.nsd, s.hd95_mm) for s in scores] == [(c, 1.0, 1.0, 0.0) for c in anatomy().classes]


def test_a_label_map_says_what_was_counted_as_organ_and_a_form_with_overlaps_says_nothing(tmp_path):
    (note,) = read(tmp_path, "out.nii.gz", anatomy()).notes
    for part in ("liver_tumor as liver", "kidney_tumor and kidney_cyst as kidney_right", "lung_tumor as lung_right"):
        assert part in note
    assert "kidney_left" not in note
    assert read(tmp_path, "out.seg.nrrd", anatomy()).notes == ()


def test_a_segmentation_without_overlaps_scores_like_one_with_them():
    painted = anatomy().label_map()
    apart = segmented({c: painted == c for c in anatomy().classes})
    assert {s.dice for s in evaluate(apart, anatomy())} == {1.0}


def test_an_organ_that_was_not_looked_for_does_not_appear():
    found, notes = organs_with_lesions(segmented({LIVER_TUMOR: box((2, 5)), SPLEEN: box((7, 9))}))
    assert found.present() == (SPLEEN, LIVER_TUMOR)
    assert notes == ()


@pytest.mark.parametrize("tumour", [box((20, 22)), box((31, 33))], ids=["between both", "beside none"])
def test_a_lesion_that_could_belong_to_either_side_is_left_and_said(tumour):
    kidneys = {RIGHT_KIDNEY: box((14, 20)), LEFT_KIDNEY: box((22, 28))}
    before = segmented({**kidneys, KIDNEY_TUMOR: tumour})
    found, (note,) = organs_with_lesions(before)
    assert np.array_equal(found.bits, before.bits)
    assert "1 of kidney_tumor" in note


def test_with_one_kidney_annotated_a_lesion_of_the_other_is_not_given_to_it():
    before = segmented({RIGHT_KIDNEY: box((14, 20)), KIDNEY_TUMOR: box((24, 26))})
    found, notes = organs_with_lesions(before)
    assert np.array_equal(found.bits, before.bits)
    assert notes == ()


def test_a_tumour_beside_the_hepatic_vessels_is_liver_and_no_vessel():
    before = segmented({LIVER: box((2, 12)) & ~box((5, 8)), VESSEL: box((12, 14)), VESSEL_TUMOR: box((5, 8))})
    found, _ = organs_with_lesions(before)
    assert np.array_equal(found.mask(LIVER), box((2, 12)))
    assert np.array_equal(found.mask(VESSEL), box((12, 14)))


def test_every_lesion_class_has_organs():
    assert sorted(c for lesions in families().values() for c in lesions) == list(range(26, 33))


def test_the_input_is_left_as_it_was():
    before = anatomy()
    bits = before.bits.copy()
    organs_with_lesions(before)
    assert np.array_equal(before.bits, bits)


def test_what_a_label_map_hides_besides_lesions_is_said(tmp_path):
    vessels = segmented({LIVER: box((2, 12)), VESSEL: box((5, 7))})
    (note,) = read(tmp_path, "out.nii.gz", vessels).notes
    assert "painted over parts of liver" in note
