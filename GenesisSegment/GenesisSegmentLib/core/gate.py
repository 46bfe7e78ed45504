"""The gate: whether the frozen holdout proves that a new model is better and that nothing got worse.

Patients are the independent pieces of evidence: the CTs of one patient are averaged. The test is the exact one-sided
sign-flip (paired permutation) test (Fisher, The Design of Experiments, 1935): under the null hypothesis that the model
did not change, each patient's difference is as likely to have the other sign. Every reviewed class must pass at the
level by itself, so that no correction for several tests is needed (Berger, Technometrics 24:295, 1982).

Of a class that nobody reviewed in a case that judges there is no truth. Whether it changed can be told all the same, by
comparing what both models find; and a model that changed it is left to a person to judge.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from .i18n import _, listed, together
from .rounds import Agreement, ClassVerdict, Decision, GateRule, PairedScore

STEP = 1e-4
"""Differences of Dice are counted in these steps, so that the test is exact and free of rounding errors."""


def decide(
    scores: Sequence[PairedScore],
    reviewed: Collection[str],
    rule: GateRule | None = None,
    agreements: Sequence[Agreement] = (),
) -> Decision:
    """Whether the new model is promoted, from its scores on the holdout.

    The validation cases, which are not trained on either, can only stand in its way: a class may be in none of the few
    CTs of the holdout. So can the ``agreements`` of classes that neither has reviewed. Scores of the train split are
    passed over.

    * "rejected": the mean Dice of any class dropped by more than ``epsilon`` on the holdout or on the validation cases,
      reviewed or not and however few the patients (a model that may have got worse is not worth a trial), a score is no
      number, or no reviewed class gained anything although there were enough patients.
    * "promoted": every reviewed class gained at least ``margin`` in the mean over at least ``needed`` patients, and
      the sign-flip test is passed at ``level``, and every class that nobody reviewed is still found as before
      (``kept``).
    * "unproven": all else; the reason says how many patients are missing, or which class showed no gain or changed
      where nobody can tell whether that is better.

    The order of the scores, the labels and the agreements does not matter.
    """
    rule = rule or GateRule()
    held, validated = ([s for s in scores if s.split == split] for split in ("holdout", "validation"))
    invalid = sorted({s.label for s in (*held, *validated) if not (_is_dice(s.dice_before) and _is_dice(s.dice_after))})
    labels = sorted({score.label for score in held} | set(reviewed))
    verdicts = tuple(
        _verdict(label, label in reviewed, [s for s in held if s.label == label], rule)
        for label in labels
        if label not in invalid
    )
    if invalid:
        reason = _("The scores of {classes} are no numbers between 0 and 1: nothing can be concluded from them.")
        return Decision("rejected", reason.format(classes=listed(invalid)), verdicts)
    decision = _decision(verdicts, rule)
    drops = [v for label in sorted({s.label for s in validated}) if (v := _drop(label, validated, rule))]
    if decision.state != "rejected" and drops:
        reason = _("The validation cases say that this got worse: {drops}.").format(drops=listed(drops))
        return Decision("rejected", reason, verdicts)
    changed = [(label, k) for label, k in kept_as_before(scores, agreements, rule).items() if not k.dice >= rule.kept]
    if decision.state != "promoted" or not changed:
        return decision
    return Decision("unproven", together(decision.reason, _but_changed(changed)), verdicts)


class Kept(NamedTuple):
    """How much of a class is found as before: Dice between both models, the mean over so many patients."""

    dice: float
    patients: int


def kept_as_before(scores: Sequence[PairedScore], agreements: Sequence[Agreement], rule: GateRule) -> dict[str, Kept]:
    """The agreement on each class that no case which judges has reviewed, by label in alphabetical order."""
    judged = {score.label for score in scores if score.split != "train"}
    found: dict[str, dict[str, list[float]]] = {}
    for a in agreements:
        if a.label not in judged and max(a.before_ml, a.after_ml) > rule.least_ml:
            found.setdefault(a.label, {}).setdefault(a.patient, []).append(a.dice)
    means = {
        label: [math.fsum(each) / len(each) for each in patients.values()] for label, patients in sorted(found.items())
    }
    return {label: Kept(_rounded(math.fsum(some) / len(some)), len(some)) for label, some in means.items()}


def sign_flip_p(differences: Iterable[float]) -> float:
    """One-sided p-value of the sum of ``differences``: the share of sign flips that reach the sum observed.

    Exact for differences in steps of :data:`STEP`, for any number of them: a set of flipped differences keeps or
    raises the sum where it does not add up to more than nothing, and such sets are counted by adding up one
    difference after the other.
    """
    steps = [round(d / STEP) for d in differences]
    reach = sum(abs(s) for s in steps)
    shares: np.ndarray = np.zeros(2 * reach + 1)  # of all sets, by what they add up to; index ``reach`` is nothing
    shares[reach] = 1.0
    for step in steps:
        moved = np.zeros_like(shares)
        source = slice(max(0, -step), len(shares) - max(0, step))
        target = slice(max(0, step), len(shares) - max(0, -step))
        moved[target] = shares[source]
        shares = (shares + moved) / 2
    return float(shares[: reach + 1].sum())


def _verdict(label: str, is_reviewed: bool, scores: Sequence[PairedScore], rule: GateRule) -> ClassVerdict:
    pairs = _by_patient(scores)
    patients, missing = len(pairs), max(0, rule.needed - len(pairs)) if is_reviewed else 0
    if not pairs:
        return ClassVerdict(label, is_reviewed, 0, missing, 0.0, 0.0, None, "unproven")
    before, after = (math.fsum(pair[n] for pair in pairs) / patients for n in (0, 1))
    p_value = sign_flip_p(a - b for b, a in pairs)
    gain = _rounded(after - before)
    if gain < -rule.epsilon:
        verdict = "worse"
    elif missing:
        verdict = "unproven"
    else:
        is_better = patients >= rule.needed and gain >= rule.margin and p_value <= rule.level
        verdict = "better" if is_better else "same"
    return ClassVerdict(label, is_reviewed, patients, missing, before, after, p_value, verdict)  # type: ignore[arg-type]


def _drop(label: str, validated: Sequence[PairedScore], rule: GateRule) -> str:
    """The drop of a class on the validation cases in words, where it is too large."""
    verdict = _verdict(label, False, [s for s in validated if s.label == label], rule)
    return _changed_on(verdict) if verdict.verdict == "worse" else ""


def _decision(verdicts: tuple[ClassVerdict, ...], rule: GateRule) -> Decision:
    reviewed = [v for v in verdicts if v.is_reviewed]
    worse, unproven, same, better = (
        [v for v in among if v.verdict == verdict]
        for among, verdict in ((verdicts, "worse"), (reviewed, "unproven"), (reviewed, "same"), (reviewed, "better"))
    )
    if worse:
        reason = _("The holdout says that this got worse: {drops}.").format(drops=listed(map(_changed_on, worse)))
        return Decision("rejected", reason, verdicts)
    if unproven:
        return Decision("unproven", _too_few(unproven), verdicts)
    if not reviewed:
        reason = _("No class was corrected, so there is nothing to be proven better.")
        return Decision("unproven", reason, verdicts)
    if not same:
        reason = _("Proven better on the holdout: {gains}; no class that was compared got worse.")
        return Decision("promoted", reason.format(gains=listed(map(_changed_on, better))), verdicts)
    stuck, margin, level = listed(map(_changed, same)), f"{rule.margin:+.3f}", f"{rule.level:g}"
    if better:
        gained = _("Better: {gains}.").format(gains=listed(map(_changed, better)))
        reason = _("No gain is proven for {stuck}: at least {margin}, with p at most {level}, is asked.")
        reason = together(gained, reason.format(stuck=stuck, margin=margin, level=level))
        return Decision("unproven", reason, verdicts)
    reason = _("No gain was found for {stuck}: at least {margin}, with p at most {level}, is asked.")
    return Decision("rejected", reason.format(stuck=stuck, margin=margin, level=level), verdicts)


def _but_changed(changed: Sequence[tuple[str, Kept]]) -> str:
    """A sentence on classes that are not found as before."""
    one = _("{label} (Dice {dice} between both models on {patients})")
    found = listed(one.format(label=v, dice=f"{k.dice:.3f}", patients=_patients(k.patients)) for v, k in changed)
    if len(changed) == 1:
        what = _(
            "But {classes} is not found as before: nobody has reviewed it in a case that judges, so nobody can tell "
            "whether that is better."
        )
    else:
        what = _(
            "But {classes} are not found as before: nobody has reviewed them in a case that judges, so nobody can tell "
            "whether that is better."
        )
    return what.format(classes=found)


def _too_few(unproven: Sequence[ClassVerdict]) -> str:
    """A sentence on how many patients are missing."""
    one, many = _("1 more patient with {label}"), _("{count} more patients with {label}")
    needs = listed((one if v.missing == 1 else many).format(count=v.missing, label=v.label) for v in unproven)
    if len(unproven) == 1 and unproven[0].missing == 1:
        return _("Too few cases to tell: {needs} in the holdout is needed.").format(needs=needs)
    return _("Too few cases to tell: {needs} in the holdout are needed.").format(needs=needs)


def _by_patient(scores: Sequence[PairedScore]) -> list[tuple[float, float]]:
    """Mean Dice before and after of each patient."""
    groups: dict[str, list[PairedScore]] = {}
    for score in scores:
        groups.setdefault(score.patient, []).append(score)
    return [
        (math.fsum(s.dice_before for s in group) / len(group), math.fsum(s.dice_after for s in group) / len(group))
        for _patient, group in sorted(groups.items())
    ]


def _is_dice(value: float) -> bool:
    return 0.0 <= value <= 1.0  # not so for NaN


def _rounded(value: float) -> float:
    """Without the rounding errors of means: a gain of 0.01 must count as one."""
    return round(value, 9)


def _changed(verdict: ClassVerdict) -> str:
    return _("{label} ({change} Dice)").format(label=verdict.label, change=_change(verdict))


def _changed_on(verdict: ClassVerdict) -> str:
    what = _("{label} ({change} Dice on {patients})")
    return what.format(label=verdict.label, change=_change(verdict), patients=_patients(verdict.patients))


def _change(verdict: ClassVerdict) -> str:
    return f"{verdict.after - verdict.before:+.3f}"


def _patients(count: int) -> str:
    return _("1 patient") if count == 1 else _("{count} patients").format(count=count)
