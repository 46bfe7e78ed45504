"""The gate promotes only what the holdout proves."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.core.gate import STEP, decide, kept_as_before, sign_flip_p
from GenesisSegmentLib.core.rounds import Agreement, GateRule, PairedScore

RANK = {"rejected": 0, "unproven": 1, "promoted": 2}
LABELS = ("liver", "spleen", "my structure")


def score(label="liver", patient="a", before=0.5, after=0.6, split="holdout", case="") -> PairedScore:
    return PairedScore(label, case or patient, patient, split, before, after)


def scores_of(gains: list[float], label: str = "liver", before: float = 0.5) -> list[PairedScore]:
    return [score(label, f"p{n}", before, before + gain) for n, gain in enumerate(gains)]


PROVEN = scores_of([0.1] * 6)
"""Of the liver."""


def agreement(dice: float, label="aorta", patient="a", before_ml=100.0, after_ml=100.0, case="") -> Agreement:
    return Agreement(label, case or patient, patient, dice, before_ml, after_ml)


dices = st.integers(0, 100).map(lambda n: n / 100)
pairs = st.builds(
    score,
    label=st.sampled_from(LABELS),
    patient=st.sampled_from("abcdefgh"),
    before=dices,
    after=dices,
    split=st.sampled_from(["holdout", "holdout", "holdout", "validation", "train"]),
    case=st.sampled_from(["1", "2"]),
)
many = st.lists(pairs, max_size=24)
agreed = st.lists(
    st.builds(
        Agreement,
        label=st.sampled_from((*LABELS, "aorta", "colon")),
        case=st.sampled_from(["1", "2"]),
        patient=st.sampled_from("abcdefgh"),
        dice=dices,
        before_ml=st.floats(0, 9),
        after_ml=st.floats(0, 9),
    ),
    max_size=12,
)
some = st.sets(st.sampled_from(LABELS))


@given(many, some, st.randoms(use_true_random=False))
def test_the_order_of_scores_and_labels_does_not_matter(scores, reviewed, rng: random.Random):
    mixed, labels = list(scores), sorted(reviewed)
    rng.shuffle(mixed)
    rng.shuffle(labels)
    assert decide(mixed, labels) == decide(scores, reviewed)


@given(many, some, st.integers(0, 23), st.floats(0, 1))
def test_a_better_score_never_makes_the_decision_worse(scores, reviewed, which, share):
    if not scores:
        return
    old = scores[which % len(scores)]
    raised = replace(old, dice_after=old.dice_after + share * (1 - old.dice_after))
    changed = [raised if s is old else s for s in scores]
    assert RANK[decide(changed, reviewed).state] >= RANK[decide(scores, reviewed).state]


@given(many, some, agreed, st.booleans())
def test_agreement_only_ever_turns_a_promotion_into_a_trial(scores, reviewed, agreements, is_proven):
    scores, reviewed = ([*PROVEN, *scores], {"liver"}) if is_proven else (scores, reviewed)
    bare, decision = decide(scores, reviewed), decide(scores, reviewed, None, agreements)
    assert decision.classes == bare.classes
    if decision != bare:
        assert (bare.state, decision.state) == ("promoted", "unproven")
        assert decision.reason.startswith(bare.reason)


@given(agreed, st.sets(st.sampled_from(LABELS[1:])), st.randoms(use_true_random=False))
def test_what_is_promoted_kept_every_class_that_nobody_reviewed(agreements, judged, rng: random.Random):
    scores, rule = [*PROVEN, *(score(label, "v", 0.5, 0.5, split="validation") for label in judged)], GateRule()
    decision = decide(scores, {"liver"}, rule, agreements)
    lost = []
    for label in sorted({a.label for a in agreements} - judged - {"liver"}):
        counted = [a for a in agreements if a.label == label and max(a.before_ml, a.after_ml) > rule.least_ml]
        patients = [[a.dice for a in counted if a.patient == p] for p in {a.patient for a in counted}]
        if patients and sum(sum(p) / len(p) for p in patients) / len(patients) < rule.kept - 1e-9:
            lost.append(label)
    assert decision.state == ("unproven" if lost else "promoted")
    assert all(f"{label} (Dice" in decision.reason for label in lost)
    rng.shuffle(agreements)
    assert decide(scores, {"liver"}, rule, agreements) == decision


@given(many, some)
def test_nothing_is_promoted_that_made_any_class_worse(scores, reviewed):
    decision, rule = decide(scores, reviewed), GateRule()
    for split, label in {(s.split, s.label) for s in scores if s.split != "train"}:
        by_patient = _means([s for s in scores if s.label == label and s.split == split])
        if sum(a - b for b, a in by_patient) / len(by_patient) < -rule.epsilon - 1e-6:
            assert decision.state == "rejected"


@given(many, some)
def test_what_is_promoted_gained_enough_on_enough_patients(scores, reviewed):
    decision, rule = decide(scores, reviewed), GateRule()
    if decision.state != "promoted":
        return
    assert reviewed
    for label in reviewed:
        by_patient = _means([s for s in scores if s.label == label and s.split == "holdout"])
        assert len(by_patient) >= rule.needed
        assert sum(a - b for b, a in by_patient) / len(by_patient) >= rule.margin - 1e-6
        assert _brute_force(by_patient) <= rule.level


@given(many, some, st.sampled_from([math.nan, math.inf, -0.1, 1.1]), st.booleans())
def test_a_score_that_is_no_dice_never_promotes(scores, reviewed, bad, is_before):
    extra = score("liver", "z", **({"before": bad} if is_before else {"after": bad}))
    decision = decide([*scores, extra], reviewed)
    assert decision.state == "rejected"
    assert "liver" in decision.reason


@given(st.lists(st.integers(-2000, 2000).map(lambda n: n * STEP), max_size=9))
def test_the_p_value_is_that_of_all_sign_flips(differences):
    observed = sum(round(d / STEP) for d in differences)
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    reached = sum(
        sum(sign * round(d / STEP) for sign, d in zip(signs, differences, strict=True)) >= observed for signs in flips
    )
    assert sign_flip_p(differences) == pytest.approx(reached / len(flips), abs=1e-12)


def test_the_p_value_of_many_patients_is_exact():
    assert sign_flip_p([0.1] * 40) == pytest.approx(2.0**-40, rel=1e-9)


def test_a_clear_gain_on_enough_patients_is_promoted():
    decision = decide(scores_of([0.05, 0.02, 0.04, 0.03, 0.06]), {"liver"})
    assert decision.state == "promoted"
    assert decision.classes[0].verdict == "better"
    assert decision.classes[0].p_value == pytest.approx(1 / 32)


def test_too_few_patients_are_unproven_and_say_how_many_are_needed():
    decision = decide([*scores_of([0.3, 0.3]), *scores_of([0.2] * 4, "spleen")], {"liver", "spleen"})
    assert decision.state == "unproven"
    assert "3 more patients with liver and 1 more patient with spleen in the holdout are needed" in decision.reason
    assert [v.missing for v in decision.classes] == [3, 1]


def test_an_empty_holdout_is_unproven():
    decision = decide([score(split="validation")], {"liver"})
    assert decision.state == "unproven"
    assert "5 more patients with liver" in decision.reason


def test_several_cts_of_one_patient_count_once():
    one_patient = [score("liver", "a", 0.5, 0.6, case=str(n)) for n in range(9)]
    decision = decide(one_patient, {"liver"})
    assert decision.state == "unproven"
    assert decision.classes[0].patients == 1


def test_the_cts_of_a_patient_are_averaged():
    scores = [score("liver", "a", 0.5, 0.9, case="1"), score("liver", "a", 0.5, 0.5, case="2")]
    assert decide(scores, {"liver"}).classes[0].after == pytest.approx(0.7)


def test_a_drop_of_a_class_that_nobody_reviewed_rejects():
    decision = decide([*scores_of([0.1] * 6), *scores_of([-0.02] * 6, "spleen")], {"liver"})
    assert decision.state == "rejected"
    assert "spleen (-0.020 Dice on 6 patients)" in decision.reason


def test_a_drop_that_only_the_validation_cases_can_show_rejects():
    forgotten = [score("spleen", "v", 0.9, 0.84, split="validation")]
    decision = decide([*scores_of([0.1] * 6), *forgotten], {"liver"})
    assert decision.state == "rejected"
    assert "The validation cases say that this got worse: spleen (-0.060 Dice on 1 patient)" in decision.reason


def test_a_gain_on_the_validation_cases_proves_nothing():
    gained = [score("liver", f"v{n}", 0.5, 0.9, split="validation") for n in range(9)]
    assert decide(gained, {"liver"}).state == "unproven"


def test_a_reviewed_class_that_drops_on_few_patients_is_rejected_not_unproven():
    assert decide(scores_of([-0.2]), {"liver"}).state == "rejected"


def test_a_drop_within_epsilon_is_no_drop():
    decision = decide([*scores_of([0.1] * 5), *scores_of([-0.01] * 5, "spleen")], {"liver"})
    assert decision.state == "promoted"


def test_a_gain_of_exactly_the_margin_counts():
    assert decide(scores_of([0.01] * 5, before=0.7), {"liver"}).state == "promoted"


def test_no_gain_on_enough_patients_is_rejected():
    decision = decide(scores_of([0.001] * 6), {"liver"})
    assert decision.state == "rejected"
    assert "No gain" in decision.reason


def test_a_gain_that_chance_explains_is_not_promoted():
    assert decide(scores_of([0.3, -0.1, -0.1, -0.1, 0.2]), {"liver"}).state == "rejected"


def test_a_gain_beside_a_reviewed_class_without_one_stays_a_trial():
    decision = decide([*scores_of([0.1] * 6), *scores_of([0.0] * 6, "spleen")], {"liver", "spleen"})
    assert decision.state == "unproven"
    assert "spleen" in decision.reason


def test_a_class_that_nobody_reviewed_must_be_found_as_before():
    decision = decide(PROVEN, {"liver"}, None, [agreement(0.2), agreement(0.4, patient="b"), agreement(1.0, "colon")])
    assert decision.state == "unproven"
    assert decision.reason == (
        "Proven better on the holdout: liver (+0.100 Dice on 6 patients); no class that was compared got worse. "
        "But aorta (Dice 0.300 between both models on 2 patients) is not found as before: "
        "nobody has reviewed it in a case that judges, so nobody can tell whether that is better."
    )


def test_several_classes_that_nobody_reviewed_are_named_in_the_plural():
    reason = decide(PROVEN, {"liver"}, None, [agreement(0.2), agreement(0.4, "colon")]).reason
    assert "aorta (Dice 0.200 between both models on 1 patient) and colon (Dice 0.400" in reason
    assert "on 1 patient) are not found as before: nobody has reviewed them in a case" in reason


def test_an_agreement_that_is_no_number_is_none():
    assert decide(PROVEN, {"liver"}, None, [agreement(math.nan)]).state == "unproven"


@pytest.mark.parametrize(
    ("before_ml", "after_ml", "state"), [(2, 2, "promoted"), (0, 3, "unproven"), (3, 0, "unproven")]
)
def test_agreement_on_next_to_nothing_does_not_count(before_ml, after_ml, state):
    small = agreement(0.0, before_ml=before_ml, after_ml=after_ml)
    assert decide(PROVEN, {"liver"}, None, [small, agreement(1.0, "colon")]).state == state


@pytest.mark.parametrize(
    ("split", "state"), [("holdout", "promoted"), ("validation", "promoted"), ("train", "unproven")]
)
def test_agreement_is_not_asked_where_a_case_that_judges_knows_the_truth(split, state):
    known = score("aorta", "z", 0.5, 0.5, split=split)
    assert decide([*PROVEN, known], {"liver"}, None, [agreement(0.2)]).state == state


def test_agreement_is_the_mean_over_patients_and_exactly_the_limit_is_enough():
    found = [agreement(0.7, case="1"), agreement(0.9, case="2"), agreement(1.0, patient="b")]
    assert kept_as_before((), found, GateRule())["aorta"] == (pytest.approx(0.9), 2)
    assert decide(PROVEN, {"liver"}, None, found).state == "promoted"


def test_where_nothing_was_corrected_nothing_is_proven():
    assert decide(scores_of([0.1] * 6), ()).state == "unproven"


def _means(scores: list[PairedScore]) -> list[tuple[float, float]]:
    patients = {s.patient for s in scores}
    groups = [[s for s in scores if s.patient == patient] for patient in patients]
    return [
        (sum(s.dice_before for s in group) / len(group), sum(s.dice_after for s in group) / len(group))
        for group in groups
    ]


def _brute_force(pairs: list[tuple[float, float]]) -> float:
    differences = [round((a - b) / STEP) for b, a in pairs]
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(s >= sum(differences) for s in sums) / len(sums)
