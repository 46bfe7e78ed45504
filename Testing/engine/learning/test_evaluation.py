"""Accepted cases are judged on their own grid, organs with their lesions, structures of one's own among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from GenesisSegmentLib.core.corrections import BoxedMask
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.learning import evaluation
from GenesisSegmentLib.engine.learning.evaluation import (
    EMPTY_ML,
    Examiner,
    Found,
    Score,
    agreements,
    paired,
    reference_of,
    scores_of,
)
from GenesisSegmentLib.engine.models.catalogue import ModelFacts, Preprocessing
from GenesisSegmentLib.engine.models.resolved import ResolvedModel
from GenesisSegmentLib.engine.store.records import ProvingRecord
from inference_builders import COARSE, SPEC, StandIn, above
from segmenter_builders import a_grid, a_segmenter, abdomen, liver_depth, spleen_depth

GRID = a_grid()
LIVER, SPLEEN = liver_depth(GRID) > 0, spleen_depth(GRID) > 0
LESION = liver_depth(GRID) > 6


def found(**masks) -> Found:
    return Found(GRID, {name.replace("__", " "): BoxedMask.of(mask) for name, mask in masks.items()})


def test_what_is_the_same_scores_one():
    assert scores_of(found(liver=LIVER, mine=SPLEEN), found(liver=LIVER, mine=SPLEEN)) == {
        "liver": Score(1.0, 1.0),
        "mine": Score(1.0, 1.0),
    }


def test_a_structure_of_ones_own_scores_as_a_class_does():
    moved = np.roll(LIVER, 1, axis=0)
    scores = scores_of(found(liver=moved, mine=moved), found(liver=LIVER, mine=LIVER))
    assert 0 < scores["mine"].dice < 1
    assert scores["mine"].dice == pytest.approx(scores["liver"].dice)
    assert scores["mine"].nsd == pytest.approx(scores["liver"].nsd)


def test_an_organ_includes_its_lesion_on_both_sides():
    scores = scores_of(
        found(liver=LIVER & ~LESION, liver_tumor=LESION), found(liver=LIVER, liver_tumor=np.zeros_like(LIVER))
    )
    assert scores["liver"].dice == 1.0


def test_what_was_not_looked_for_is_not_found():
    scores = scores_of(found(), found(liver=LIVER, mine=SPLEEN))
    assert scores == {"liver": Score(0.0, 0.0), "mine": Score(0.0, 0.0)}


@pytest.mark.parametrize("name", ["liver_tumor", "mine"])
def test_where_there_is_nothing_every_voxel_found_costs(name):
    nothing = np.zeros_like(LIVER)
    right, wrong = (scores_of(found(**{name: m}), found(**{name: nothing}))[name] for m in (nothing, LESION))
    assert right == Score(1.0, is_empty=True)
    ml = np.count_nonzero(LESION) * GRID.voxel_ml
    assert wrong.dice == pytest.approx(EMPTY_ML / (EMPTY_ML + ml))
    assert not wrong.is_empty


def test_pairs_leave_out_what_is_absent_in_all_three():
    record = ProvingRecord("c", "p", "holdout", ("liver", "liver_tumor", "mine"))
    empty, wrong = Score(1.0, is_empty=True), Score(0.5)
    before = {"liver": Score(0.5, 0.4), "liver_tumor": empty, "mine": empty}
    after = {"liver": Score(0.6, 0.7), "liver_tumor": empty, "mine": wrong}
    pairs = {pair.label: pair for pair in paired(record, before, after)}
    assert set(pairs) == {"liver", "mine"}
    assert (pairs["liver"].dice_before, pairs["liver"].dice_after, pairs["liver"].nsd_after) == (0.5, 0.6, 0.7)
    assert (pairs["mine"].dice_before, pairs["mine"].dice_after) == (1.0, 0.5)
    assert (pairs["mine"].case, pairs["mine"].patient, pairs["mine"].split) == ("c", "p", "holdout")


def test_what_else_a_model_finds_changes_no_score():
    lesion = found(liver=LIVER & ~LESION, liver_tumor=LESION, mine=SPLEEN)
    assert scores_of(lesion, found(liver=LIVER)) == scores_of(found(liver=LIVER & ~LESION), found(liver=LIVER))


def test_agreement_is_between_both_models_on_what_nobody_reviewed():
    record, nothing = ProvingRecord("c", "p", "holdout", ("spleen",)), np.zeros_like(LIVER)
    before = found(liver=LIVER, spleen=SPLEEN, mine=LESION, colon=nothing, aorta=nothing, bladder=LESION)
    after = found(liver=LESION, spleen=LIVER, mine=LESION, colon=nothing, aorta=SPLEEN, prostate=SPLEEN)
    labels = ("spleen", "liver", "mine", "colon", "aorta", "bladder", "prostate")
    agreed = {a.label: a for a in agreements(record, before, after, labels)}
    assert set(agreed) == {"liver", "mine", "aorta", "bladder"}, (
        "not what was reviewed, absent or not looked for before"
    )
    small, large = np.count_nonzero(LESION), np.count_nonzero(LIVER)
    assert agreed["liver"].dice == pytest.approx(2 * small / (small + large))
    assert (agreed["liver"].case, agreed["liver"].patient) == ("c", "p")
    assert agreed["liver"].before_ml == pytest.approx(large * GRID.voxel_ml)
    assert agreed["liver"].after_ml == pytest.approx(small * GRID.voxel_ml)
    assert (agreed["mine"].dice, agreed["aorta"].dice, agreed["bladder"].dice) == (1.0, 0.0, 0.0)
    assert agreed["aorta"].before_ml == 0
    assert agreed["bladder"].after_ml == 0, "not looked for is not found"


def test_masks_come_back_from_disk_as_they_were(tmp_path):
    one = found(liver=LIVER, mine=LESION, spleen=np.zeros_like(LIVER))
    one.save(tmp_path / "masks.npz")
    again = Found.load(tmp_path / "masks.npz", GRID)
    assert list(again.masks) == list(one.masks)
    for name, mask in one.masks.items():
        np.testing.assert_array_equal(again.masks[name].whole(), mask.whole())


def test_a_reference_holds_what_was_reviewed():
    class Store:
        def mask(self, record, label):
            return {"liver": LIVER, "mine": SPLEEN}[label]

    truth = reference_of(ProvingRecord("c", "p", "holdout", ("liver", "mine")), Store(), GRID)
    np.testing.assert_array_equal(truth.masks["mine"].whole(), SPLEEN)
    assert truth.segmentation().classes == (6,)


@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole scan"])
def test_an_examiner_finds_classes_and_own_structures_on_an_oblique_grid(monkeypatch, tmp_path, spec):
    """Channel 0, the spleen, and channel 5, a structure of one's own, are both what is denser than 180 HU."""
    dense = above(180, spec)
    runtime = StandIn((dense, *[above(140, spec)] * 4, dense))
    learned = replace(spec, classes=(*spec.classes, 33), offered=(*spec.offered, 33), own=("dense",))
    monkeypatch.setattr(evaluation, "open_segmenter", lambda model, job, device: a_segmenter(runtime, learned, job=job))
    window = Preprocessing("RAS", spec.spacing_mm, spec.window_hu, spec.window, 0.5)
    facts = ModelFacts("starter", {}, spec.classes, (6,), window, own=("dense",))
    model = ResolvedModel("m", "m", tmp_path, "", facts, None)
    wanted = ["liver", "spleen", "dense", "unknown"]
    masks = Examiner(model, wanted).find(abdomen(GRID), wanted, Job()).masks
    assert set(masks) == {"liver", "spleen", "dense"}
    np.testing.assert_array_equal(masks["dense"].whole(), masks["spleen"].whole())
    scores = scores_of(Found(GRID, masks), found(dense=SPLEEN))
    assert scores["dense"].dice > (0.6 if spec is SPEC else 0.4), "the spleen is small for a grid of 4 mm"


def test_a_class_that_the_model_does_not_offer_is_looked_for(tmp_path):
    window = Preprocessing("RAS", SPEC.spacing_mm, SPEC.window_hu, SPEC.window, 0.5)
    model = ResolvedModel("m", "m", tmp_path, "", ModelFacts("starter", {}, (1, 6), (1,), window), None)
    examiner = Examiner(model, ["liver", "pancreas", "mine"])
    assert examiner._model.facts.offered == (1, 6)
