"""Rounds on corrections of a class that the starter is weak at: what is gained, forgotten, and kept out.

Per seed another one of three chest CTs judges, and the two others are corrected. The clinic has learned from two
abdomens before, which are there to be replayed. The gate's usual rule asks for five patients, which so few CTs cannot
give: these rounds use a rule that is content with one, and a real clinic's would have ended as unproven. The same round
is done once more with the head alone, which learns on cached features.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...core.errors import InputError, ModelError
from ...core.files import atomic_file
from ...core.gate import decide
from ...core.rounds import Agreement, ClassVerdict, GateRule, Mode, PairedScore, RoundRecord, RoundState
from ..learning.report import JSON_FILE
from ..learning.round import RoundRequest
from .clinic import MISTAKES, Clinic, Mistake, Patient

LUNGS = ("lung_right", "lung_left")
ORGANS = ("spleen", "kidney_right", "kidney_left", "liver", "aorta")
CHESTS = ("nsclc_radiomics/lung1_001", "nsclc_radiomics/lung1_002", "unclear_licence/cip/cip_ct64")
EARLIER = ("totalsegmentator/ts_example_abdomen", "colorectal_liver_metastases/crlm_1004")
OTHER_JUDGE = "cptac_pda/cptac_pda_C3N-00249"
RULE = GateRule(needed=1, level=0.5)
_WARM_UP_STEPS = 10


@dataclass(frozen=True)
class Plan:
    """A round that is to be done. ``is_protected``: with pseudo-labels and replay."""

    kind: str
    seed: int
    steps: int
    mistake: Mistake = "none"
    is_protected: bool = True
    mode: Mode = "all"

    @property
    def name(self) -> str:
        """Of the run, and of its file."""
        return f"{self.kind}-{self.seed}"


@dataclass(frozen=True)
class Run:
    """One round: what was corrected with which ``mistake``, whether earlier classes were protected, how it ended.

    ``learning_s`` of its ``seconds`` were those of learning. ``left_out`` of the corrected cases were not learned from.
    """

    name: str
    seed: int
    mistake: Mistake
    is_protected: bool
    judge: str
    state: RoundState
    reason: str
    steps: int
    seconds: float
    scores: tuple[PairedScore, ...]
    classes: tuple[ClassVerdict, ...]
    agreements: tuple[Agreement, ...] = ()
    mode: Mode = "all"
    learning_s: float = 0.0
    left_out: int = 0

    def judged_by(self, rule: GateRule) -> RoundState:
        """What the gate says of the scores by another rule; a round that failed has none."""
        if self.state == "failed":
            return self.state
        return decide(self.scores, {v.label for v in self.classes if v.is_reviewed}, rule, self.agreements).state


def correction_runs(
    data: Path,
    out: Path,
    seeds: int,
    steps: int,
    head_steps: int,
    report: Callable[[str], None],
    is_reported_only: bool = False,
) -> list[Run]:
    """All rounds of all seeds; those whose result lies in ``out`` already are not run again.

    ``is_reported_only``: nothing is run at all.

    Raises:
        InputError: a case is missing in ``data``.
    """
    plans = [Plan("protected", seed, steps) for seed in range(seeds)]
    plans += [Plan("head", seed, head_steps, mode="head") for seed in range(seeds)]
    plans += [Plan("unprotected", seed, steps, is_protected=False) for seed in range(seeds)]
    plans += [Plan(mistake, seed, steps, mistake) for seed in range(seeds) for mistake in MISTAKES]
    runs = []
    for plan in plans:
        file = out / "runs" / f"{plan.name}.json"
        if not file.is_file() and not is_reported_only:
            report(f"seed {plan.seed}: {plan.kind}")
            _write(file, _run(data, out / "work", plan, report))
        if file.is_file():
            runs.append(read_run(file))
    return runs


def read_run(file: Path) -> Run:
    """A result that was written before."""
    found = json.loads(file.read_text(encoding="utf-8"))
    scores = tuple(PairedScore(**score) for score in found.pop("scores"))
    classes = tuple(ClassVerdict(**verdict) for verdict in found.pop("classes"))
    agreements = tuple(Agreement(**agreement) for agreement in found.pop("agreements", ()))
    return Run(**found, scores=scores, classes=classes, agreements=agreements)


def _run(data: Path, work: Path, plan: Plan, report: Callable[[str], None]) -> Run:
    judge, *corrected = _roles(plan.seed)
    name, folder = plan.name, work / plan.name
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_experienced(data, work, plan.seed, report), folder)
    clinic = Clinic(folder)
    # In the order of arrival the places are: train, train, holdout (so far), train, validation, train.
    clinic.accept(Patient(data / corrected[0], LUNGS), plan.mistake)
    clinic.accept(Patient(data / OTHER_JUDGE, (*ORGANS, *LUNGS)))
    clinic.accept(Patient(data / corrected[1], LUNGS), plan.mistake)
    request = RoundRequest(
        steps=plan.steps,
        budget_s=0,
        mode=plan.mode,
        seed=plan.seed,
        replay=plan.is_protected,
        pseudo=plan.is_protected,
        rule=RULE,
        device="cpu",
    )
    record = clinic.learn(request, lambda step, loss: report(f"  {name} step {step}: loss {loss:.3f}"))
    report(f"  {name}: {record.state}. {record.reason}")
    learning_s, left_out = _learning(record)
    shutil.rmtree(folder, ignore_errors=True)
    return Run(
        name=name,
        seed=plan.seed,
        mistake=plan.mistake,
        is_protected=plan.is_protected,
        judge=Path(judge).name,
        state=record.state,
        reason=record.reason,
        steps=record.steps,
        seconds=time.monotonic() - started,
        scores=record.scores,
        classes=record.classes,
        agreements=record.agreements,
        mode=plan.mode,
        learning_s=learning_s,
        left_out=left_out,
    )


def _learning(record: RoundRecord) -> tuple[float, int]:
    """The seconds of learning, and how many of the new cases were left out; all, where the round found none to use."""
    if not record.report:
        return 0.0, len(record.cases) if record.settings.get("error") == InputError.code else 0
    told = json.loads(Path(record.report).with_name(JSON_FILE).read_text(encoding="utf-8"))
    learned = [material for material in told["materials"] if not material["is_replayed"]]
    return told["seconds"], len(record.cases) - len(learned)


def _roles(seed: int) -> tuple[str, str, str]:
    """Who judges, and the two who are corrected."""
    turn = seed % len(CHESTS)
    first, second, third = (*CHESTS[turn:], *CHESTS[:turn])
    return first, second, third


def _experienced(data: Path, work: Path, seed: int, report: Callable[[str], None]) -> Path:
    """The folder of a clinic that has learned from two abdomens, and whose holdout is the judge of this seed."""
    folder = work / f"clinic-{seed}"
    if folder.is_dir():
        return folder
    growing = folder.with_suffix(".growing")
    shutil.rmtree(growing, ignore_errors=True)
    clinic = Clinic(growing)
    for case in EARLIER:
        clinic.accept(Patient(data / case, ORGANS))
    clinic.accept(Patient(data / _roles(seed)[0], LUNGS))
    anything = replace(
        RULE, epsilon=1.0, kept=0.0
    )  # this round only makes the clinic's past; nothing is concluded from it
    request = RoundRequest(steps=_WARM_UP_STEPS, budget_s=0, seed=seed, rule=anything, device="cpu")
    record = clinic.learn(request, lambda step, loss: report(f"  clinic {seed} step {step}: loss {loss:.3f}"))
    current = clinic.versions.current()
    if current is None:
        try:
            clinic.versions.use(record.version)
        except ModelError as error:
            report(f"  clinic {seed}: {error}")
    growing.rename(folder)
    return folder


def _write(file: Path, run: Run) -> None:
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")
