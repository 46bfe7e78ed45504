from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.rounds import ClassVerdict, PairedScore
from GenesisSegmentLib.engine.phantom import phantom_ct, phantom_labels
from GenesisSegmentLib.engine.showing.clinic import SHIFT_MM, Clinic, Patient, mistaken
from GenesisSegmentLib.engine.showing.corrections import Run, correction_runs
from GenesisSegmentLib.engine.showing.figure import draw, tables
from GenesisSegmentLib.engine.showing.structure import StructureRun
from GenesisSegmentLib.engine.store import CaseStore

SPACING_MM = 6.0


@pytest.fixture
def patient(tmp_path):
    """A phantom with its labels, as a case of the data lies there."""
    folder = tmp_path / "data" / "phantom"
    folder.mkdir(parents=True)
    ct, (labels, _) = phantom_ct(SPACING_MM), phantom_labels(SPACING_MM)
    labels = np.where(labels > 32, 0, labels)
    for name, voxels in (("ct", ct.voxels.astype(np.int16)), ("labels", labels.astype(np.uint8))):
        nib.save(nib.Nifti1Image(voxels, ct.geometry.ijk_to_ras), folder / f"{name}.nii.gz")
    classes = sorted(set(np.unique(labels).tolist()) & set(range(1, 33)))
    table = {"universal_model": {str(c): c for c in classes}, "universal_model_annotated": classes}
    (folder / "labels.json").write_text(json.dumps({"labels": {}, **table}))
    return Patient(folder, ("liver", "kidney_left"))


def run(name: str, before: float, after: float, split: str = "holdout", label: str = "lung_left", **changes) -> Run:
    kind, _, seed = name.rpartition("-")
    score = PairedScore(label, "case", "patient", split, before, after)  # type: ignore[arg-type]
    return Run(
        **{
            **{"name": name, "seed": int(seed), "mistake": "none", "is_protected": kind == "protected", "judge": "j"},
            **{"state": "promoted", "reason": "", "steps": 3, "seconds": 1.0},
            **{"scores": (score,), "classes": (ClassVerdict(label, True, 1, 4, before, after, None, "unproven"),)},
            **changes,
        }
    )


def test_the_clinician_accepts_the_reference_and_the_store_knows_what_was_changed(patient, tmp_path):
    Clinic(tmp_path / "clinic").accept(patient)
    truth, _ = phantom_labels(SPACING_MM)
    with CaseStore.open(tmp_path / "clinic" / "cases") as store:
        (record,) = store.training()
        assert set(record.labels) == set(patient.labels)
        np.testing.assert_array_equal(store.mask(record, "liver"), truth == 6)
        assert record.correction("liver").changed_voxels > 0
        assert record.models == ("starter",)


def test_a_class_that_the_reference_was_not_drawn_for_cannot_be_accepted(patient, tmp_path):
    other = "hepatic_vessel_tumor"
    with pytest.raises(InputError, match=f"was not drawn for {other}"):
        Clinic(tmp_path / "clinic").accept(Patient(patient.folder, (other,)))


def test_mistakes_are_what_they_say():
    geometry = phantom_ct(SPACING_MM).geometry
    left, right = np.zeros(geometry.shape, bool), np.zeros(geometry.shape, bool)
    left[2, 3, 3], right[5, 3, 3] = True, True
    masks = {"lung_left": left, "lung_right": right}
    swapped = mistaken(masks, "swapped", geometry)
    assert swapped["lung_left"] is right
    assert swapped["lung_right"] is left
    assert not any(mask.any() for mask in mistaken(masks, "empty", geometry).values())
    (moved,) = np.argwhere(mistaken(masks, "shifted", geometry)["lung_left"])
    assert moved.tolist() == [2 + round(SHIFT_MM / geometry.spacing[0]), 3, 3]
    assert mistaken(masks, "none", geometry) is masks


def test_table_gives_mean_and_range_over_seeds_of_the_patients_who_judge():
    runs = [
        run("protected-0", 0.5, 0.7),
        run("protected-1", 0.7, 0.8),
        run("protected-0", 0.9, 0.1, split="validation"),  # lungs are judged on the holdout alone
        run("protected-0", 0.9, 0.8, split="validation", label="liver"),
        run("unprotected-0", 0.5, 0.4),
    ]
    text = tables(runs, [])
    before_and_after = "0.600 (0.500 to 0.700) | 0.750 (0.700 to 0.800) | +0.150 (+0.100 to +0.200)"
    assert f"| lung_left | yes | {before_and_after} | 0.400 | -0.100 |" in text
    assert "| liver | no | 0.900 | 0.800 | -0.100 |  |  |" in text


def test_table_says_what_the_gate_makes_of_mistakes_by_both_rules():
    runs = [run("swapped-0", 0.5, 0.1), run("swapped-1", 0.5, 0.8)]
    assert "| swapped | 2 | 1 promoted, 1 rejected | 1 rejected, 1 unproven |" in tables(runs, [])


def test_results_that_are_there_are_shown_and_nothing_is_run(tmp_path):
    assert correction_runs(tmp_path, tmp_path, 3, 10, pytest.fail, is_reported_only=True) == []


def test_picture_shows_what_there_is(tmp_path):
    structures = [StructureRun(f"{s}-0", 0, s, ("a",), "b", ((10, 0.1), (20, 0.2))) for s in ("genesis", "scratch")]
    draw(tmp_path / "both.png", [run("protected-0", 0.5, 0.7)], structures)
    draw(tmp_path / "one.png", [run("protected-0", 0.5, 0.7)], [])
    widths = [int.from_bytes((tmp_path / f"{n}.png").read_bytes()[16:20], "big") for n in ("both", "one")]
    assert widths[0] == 2 * widths[1]
    assert "| a | b | genesis | 0.100 | 0.200 |" in tables([], structures)
