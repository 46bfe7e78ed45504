"""How a round of learning ends, and what is compared to decide it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "validation", "holdout"]
RoundState = Literal["running", "promoted", "rejected", "unproven", "cancelled", "failed"]
ENDED: tuple[RoundState, ...] = ("promoted", "rejected", "unproven", "cancelled", "failed")
Mode = Literal["head", "decoder", "all"]


@dataclass(frozen=True)
class PairedScore:
    """One class of one case that was never trained on, before and after: Dice in 0..1, NSD where defined.

    ``patient`` is the hashed patient: several CTs of one patient are not independent evidence.
    """

    label: str
    case: str
    patient: str
    split: Split
    dice_before: float
    dice_after: float
    nsd_before: float | None = None
    nsd_after: float | None = None


@dataclass(frozen=True)
class Agreement:
    """One class of one case, in which nobody reviewed it, as two models find it: this tells whether it changed, not
    whether for the better. ``dice`` is that of the two masks in 0..1, the volumes are those of each in millilitres.
    """

    label: str
    case: str
    patient: str
    dice: float
    before_ml: float
    after_ml: float


@dataclass(frozen=True)
class GateRule:
    """When a model counts as better.

    Per reviewed class: a mean gain of at least ``margin`` Dice over at least ``needed`` patients, and a one-sided exact
    sign-flip test at ``level``. For every class: no mean drop of more than ``epsilon``. ``needed`` is the smallest
    number of patients with which the test can reach the level: ``level >= 2 ** -needed``.

    For every class that no case which judges has reviewed: what the new model finds agrees with what was found before
    by at least ``kept`` Dice in the mean; where neither finds more than ``least_ml``, there is nothing to compare.
    """

    margin: float = 0.01
    epsilon: float = 0.01
    level: float = 0.05
    needed: int = 5
    kept: float = 0.9
    least_ml: float = 2.0


@dataclass(frozen=True)
class ClassVerdict:
    """What the holdout says of one class. ``missing`` patients are still needed to prove anything (0: enough)."""

    label: str
    is_reviewed: bool
    patients: int
    missing: int
    before: float
    after: float
    p_value: float | None
    verdict: Literal["better", "same", "worse", "unproven"]


@dataclass(frozen=True)
class Decision:
    """What the gate says: "promoted", "rejected" or "unproven", a sentence why, and the classes one by one."""

    state: RoundState
    reason: str
    classes: tuple[ClassVerdict, ...] = ()


@dataclass(frozen=True)
class RoundRecord:
    """A round, in plain types: what the store keeps and what the panel shows.

    ``base`` and ``version`` are names of model versions ("" where none came out); ``report`` is the path of the report.
    """

    id: str
    state: RoundState
    reason: str
    base: str
    version: str
    started: str
    ended: str
    steps: int
    cases: tuple[str, ...] = ()
    scores: tuple[PairedScore, ...] = ()
    classes: tuple[ClassVerdict, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    report: str = ""
    settings: dict[str, str] = field(default_factory=dict)
