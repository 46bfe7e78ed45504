from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.files import atomic_file
from GenesisSegmentLib.core.rounds import Agreement, ClassVerdict, GateRule, PairedScore, RoundRecord
from GenesisSegmentLib.engine.phantom import phantom_ct, phantom_labels
from GenesisSegmentLib.engine.showing import corrections
from GenesisSegmentLib.engine.showing.clinic import SHIFT_MM, Clinic, Patient, mistaken
from GenesisSegmentLib.engine.showing.corrections import RULE, Run, correction_runs
from GenesisSegmentLib.engine.showing.figure import draw, tables
from GenesisSegmentLib.engine.showing.misplaced import checked_masks, misplaced_table
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


def test_masks_that_are_moved_are_found_out_and_right_ones_are_not(patient, tmp_path):
    (patient.folder.parent / "no-ct").mkdir()
    (patient.folder.parent / "no-ct" / "labels.nii.gz").write_bytes(b"")
    out, told = tmp_path / "out", []
    masks = checked_masks(patient.folder.parent, out, told.append, False)
    assert {"liver", "spleen"} <= {mask.label for mask in masks}
    assert not any(mask.is_doubted for mask in masks)
    by_label = {mask.label: mask for mask in masks}
    for _, copies, found in by_label["liver"].moved:
        assert copies == 6
        assert found >= 5
    table = misplaced_table(masks)
    assert f"| right | {len(masks)} | 0 | |" in table
    told.clear()
    assert checked_masks(patient.folder.parent, out, told.append, True) == masks
    assert told == []
    assert checked_masks(patient.folder.parent, tmp_path / "nothing", told.append, True) == []


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
    assert "| swapped | 2 | 0 | 1 promoted, 1 rejected | 1 rejected, 1 unproven |" in tables(runs, [])


def test_a_round_that_had_nothing_to_learn_from_is_shown_without_numbers(tmp_path):
    failed = run("shifted-0", 0, 0, state="failed", scores=(), classes=(), left_out=2)
    trial = run("protected-0", 0, 0, state="unproven", scores=(), classes=(), left_out=1)
    text = tables([failed, trial], [])
    assert "| shifted | 1 | 2 | 1 failed | 1 failed |" in text
    assert "| right | 1 | 1 | 1 unproven | 1 unproven |" in text
    assert "per minute" not in text
    draw(tmp_path / "picture.png", [failed, trial], [])


def test_a_class_that_changed_where_nobody_reviewed_it_counts_when_a_run_is_judged_again():
    lost = run("head-0", 0.5, 0.7, agreements=(Agreement("aorta", "case", "patient", 0.2, 90.0, 50.0),))
    assert lost.judged_by(RULE) == "unproven"
    assert lost.judged_by(GateRule(needed=1, level=0.5, kept=0.1)) == "promoted"


def test_table_sets_the_gain_per_minute_of_the_head_beside_that_of_all_weights():
    runs = [
        run("protected-0", 0.5, 0.8, learning_s=120.0, steps=30),
        run("protected-1", 0.5, 0.6, learning_s=60.0, steps=30),
        run("head-0", 0.5, 0.6, learning_s=30.0, steps=200),
        run("head-1", 0.5, 0.6, learning_s=0.0, steps=200),  # of an older program, that did not say
        run("unprotected-0", 0.5, 0.9, learning_s=9.0),
    ]
    text = tables(runs, [])
    means = "90 (60 to 120) | +0.200 (+0.100 to +0.300) | +0.125 (+0.100 to +0.150)"
    assert f"| all weights | 30 | {means} |" in text
    assert "| the head, on cached features | 200 | 30 | +0.100 | +0.200 |" in text


def test_results_that_are_there_are_shown_and_nothing_is_run(tmp_path):
    assert correction_runs(tmp_path, tmp_path, 3, 10, 20, pytest.fail, is_reported_only=True) == []


def test_each_round_is_asked_for_as_planned_and_what_it_told_is_kept(tmp_path, monkeypatch):
    asked = []

    class Watched:
        """A clinic whose rounds learn from one of two cases, but find none to use where the masks are shifted."""

        def __init__(self, folder):
            self.folder, self.mistake = folder, "none"

        def accept(self, patient, mistake="none"):
            self.mistake = mistake if mistake != "none" else self.mistake

        def learn(self, request, report):
            asked.append((self.mistake, request.mode, request.steps, request.pseudo))
            record = RoundRecord("r", "unproven", "", "b", "v", "s", "e", request.steps, cases=("one", "two"))
            if self.mistake == "shifted":
                return replace(record, state="failed", settings={"error": "input"})
            materials = [{"case": "one", "is_replayed": False}, {"case": "old", "is_replayed": True}]
            told = {"seconds": 12.0, "materials": materials}
            with atomic_file(self.folder / "report.json") as file:
                file.write_text(json.dumps(told))
            agreements = (Agreement("aorta", "case", "patient", 0.9, 90.0, 50.0),)
            return replace(record, report=str(self.folder / "report.html"), agreements=agreements)

    monkeypatch.setattr(corrections, "Clinic", Watched)
    (tmp_path / "work" / "clinic-0").mkdir(parents=True)
    runs = correction_runs(tmp_path, tmp_path, 1, 10, 20, lambda line: None)
    assert asked == [
        ("none", "all", 10, True),
        ("none", "head", 20, True),
        ("none", "all", 10, False),
        ("swapped", "all", 10, True),
        ("empty", "all", 10, True),
        ("shifted", "all", 10, True),
    ]
    head, shifted = (next(r for r in runs if r.name == f"{kind}-0") for kind in ("head", "shifted"))
    assert (head.mode, head.steps, head.learning_s, head.left_out) == ("head", 20, 12.0, 1)
    assert head.agreements[0].dice == 0.9
    assert (shifted.state, shifted.learning_s, shifted.left_out) == ("failed", 0.0, 2)
    assert correction_runs(tmp_path, tmp_path, 1, 10, 20, pytest.fail) == runs, "nothing is run twice"


def test_picture_shows_what_there_is(tmp_path):
    structures = [StructureRun(f"{s}-0", 0, s, ("a",), "b", ((10, 0.1), (20, 0.2))) for s in ("genesis", "scratch")]
    draw(tmp_path / "both.png", [run("protected-0", 0.5, 0.7)], structures)
    draw(tmp_path / "one.png", [run("protected-0", 0.5, 0.7)], [])
    widths = [int.from_bytes((tmp_path / f"{n}.png").read_bytes()[16:20], "big") for n in ("both", "one")]
    assert widths[0] == 2 * widths[1]
    assert "| a | b | genesis | 0.100 | 0.200 |" in tables([], structures)
