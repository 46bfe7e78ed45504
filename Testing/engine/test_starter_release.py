"""What the starter is measured on, and what its card says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.evaluate import ClassScore
from GenesisSegmentLib.engine.starter.failures import draw_failures
from GenesisSegmentLib.engine.starter.model_card import _figure_rows, _other_rows
from GenesisSegmentLib.engine.starter.release import CaseFigures, case_figures, offered_classes, unseen_cases

SPLEEN, LIVER, AORTA = 1, 6, 8
SHAPE = (24, 24, 20)
HEAD = "case,path,licence,region,labelled,label_kind,patient_group\n"


@pytest.fixture
def data(tmp_path):
    """Two crops of one patient, another patient whose label map alone is known, one without labels, one unclear."""
    (tmp_path / "labelmaps").mkdir()
    (tmp_path / "labelmaps" / "LABELMAPS.csv").write_text("case,patient_group\nmap_b,B\n")
    rows = ["a_whole,a,CC BY 4.0,chest,yes,manual,A", "a_crop,a2,CC BY-NC 3.0,chest,yes,manual,A"]
    rows += ["b_ct,b,CC BY 4.0,abdomen,yes,manual,B", "c,c,CC BY 4.0,abdomen,yes,manual,C"]
    rows += ["d,d,CC BY 4.0,abdomen,no,,D", "e,e,unclear (none stated),abdomen,yes,manual,E"]
    (tmp_path / "CASES.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("trained_on", "left"),
    [
        (set(), ["a_whole", "a_crop", "b_ct", "c"]),
        ({"a_whole"}, ["b_ct", "c"]),
        ({"map_b"}, ["a_whole", "a_crop", "c"]),
        ({"a_crop", "c"}, ["b_ct"]),
    ],
)
def test_no_case_of_a_patient_that_was_trained_on_is_measured(data, trained_on, left):
    assert [row["case"] for row in unseen_cases(data, trained_on)] == left


class Finds:
    """Stands for a segmenter that finds a liver, and a spleen of 64 voxels."""

    def segment(self, volume, options):
        liver, spleen = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
        liver[4:12, 4:12, 4:12] = spleen[16:20, 16:20, 4:8] = True
        bits = pack([(LIVER, liver), (SPLEEN, spleen)], SHAPE)
        return SimpleNamespace(segmentation=Segmentation(bits, volume.geometry, (SPLEEN, LIVER, AORTA)))


@pytest.fixture
def a_case(data):
    """The folder of case c: a body with a liver of 8 x 8 x 8 voxels; the spleen was looked for and is absent."""
    folder = data / "c"
    folder.mkdir()
    affine = np.diag([3.0, 3.0, 5.0, 1.0])
    ct = np.full(SHAPE, -1000, np.int16)
    ct[2:22, 2:22] = 40
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:12, 4:12, 4:12] = 1
    nibabel.save(nibabel.Nifti1Image(ct, affine), folder / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labels.nii.gz")
    table = {"labels": {"1": "liver"}, "universal_model": {"1": LIVER}, "universal_model_annotated": [SPLEEN, LIVER]}
    (folder / "labels.json").write_text(json.dumps(table))
    return folder


def test_classes_that_are_annotated_and_absent_are_measured_and_their_false_volume_is_in_the_card(data, a_case):
    (row,) = (row for row in unseen_cases(data, set()) if row["case"] == "c")
    figure = case_figures(data, row, Finds(), (SPLEEN, LIVER, AORTA))
    assert [(s.index, s.status, s.dice) for s in figure.scores] == [
        (SPLEEN, "false positive", None),
        (LIVER, "scored", 1.0),
    ]
    assert figure.scores[0].predicted_ml == pytest.approx(64 * 45 / 1000)
    assert "| c | spleen | - | - | - | false positive (2.9 ml) |" in _figure_rows((figure,))
    assert case_figures(data, row, Finds(), (AORTA,)) is None


def figures_of(**dices: float | None) -> CaseFigures:
    """Of one CT: Dice by slug."""
    indices = {"spleen": SPLEEN, "liver": LIVER, "aorta": AORTA}
    scores = (
        ClassScore(indices[slug], slug, "scored" if dice is not None else "false positive", dice, None, None, 1.0, 1.0)
        for slug, dice in dices.items()
    )
    return CaseFigures("x", "", "", "", tuple(scores))


def test_a_class_is_offered_only_if_it_was_measured_and_good_enough_everywhere():
    assert offered_classes([figures_of(liver=0.9, spleen=0.65, aorta=None)]) == (LIVER,)
    assert offered_classes([figures_of(liver=0.95), figures_of(liver=0.49)]) == ()
    assert offered_classes([figures_of(liver=0.95), figures_of(liver=0.55)]) == (LIVER,)
    assert offered_classes([]) == ()


def test_every_class_that_is_not_offered_is_listed_with_the_reason():
    rows = _other_rows((figures_of(liver=0.9, spleen=0.65),), (LIVER,), (SPLEEN, LIVER, AORTA))
    assert len(rows) == 31
    assert "| spleen | taught; Dice 0.65 |" in rows
    assert "| aorta | taught, but no CT that was kept out has it: not measured |" in rows
    assert "| colon | not taught |" in rows
    assert not any(row.startswith("| liver |") for row in rows)


class FindsTooLittle:
    """Stands for a segmenter that finds half of the liver."""

    def segment(self, volume, options):
        liver = np.zeros(SHAPE, bool)
        liver[4:8, 4:12, 4:12] = True
        return SimpleNamespace(segmentation=Segmentation(pack([(LIVER, liver)], SHAPE), volume.geometry, (LIVER,)))


def test_what_is_found_worst_is_pictured_and_closed_licences_are_not(data, a_case, tmp_path):
    mine = replace(figures_of(liver=0.67), case="c", licence="CC BY 4.0")
    closed = replace(figures_of(liver=0.1), case="a_crop", licence="CC BY-NC 3.0")
    (failure,) = draw_failures(data, (mine, closed), (LIVER,), FindsTooLittle(), tmp_path)
    assert (failure.case, failure.class_name, failure.dice) == ("c", "liver", 0.67)
    assert (tmp_path / failure.file).is_file()
    assert draw_failures(data, (mine,), (SPLEEN,), FindsTooLittle(), tmp_path) == ()
