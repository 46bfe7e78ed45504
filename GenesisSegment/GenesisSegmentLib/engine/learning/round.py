"""A round: learn from what was accepted, prove it on what was never trained on, decide, and end exactly once.

Every step leaves its result on disk before the next one begins (:mod:`.round_folder`), and every step that changes
something outside the round's folder may be done again without harm. So a round that was killed at any moment goes on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.corrections import now
from ...core.errors import Cancelled, GenesisError, InputError, OutputError
from ...core.gate import decide
from ...core.home import data_home
from ...core.i18n import _, together
from ...core.jobs import Job
from ...core.rounds import Agreement, ClassVerdict, Decision, PairedScore, RoundRecord, RoundState
from ..models.cache import model_digest
from ..models.catalogue import ModelFacts, facts_document, facts_of, load_catalogue
from ..models.resolved import ResolvedModel
from ..models.store import STARTER, ModelStore
from .base import Base, offered_after
from .beginning import base_of, begin
from .doubting import doubted_cases
from .ending import abandon, closed, end
from .pictures import draw_losses
from .proving import Proving, open_examiner
from .report import HTML_FILE, Material, Picture, RoundReport, write_report
from .round_folder import DECISION, RoundFolder, RoundFolders, RoundRequest
from .surroundings import Cases, Surroundings
from .teaching import Lesson, teach
from .team import Learn, PartnerLostError, alone
from .version_files import facts_of_network, write_network
from .versions import Version, VersionStore

if TYPE_CHECKING:
    from ..store.records import TrainingRecord

CANDIDATE, JUDGES = "candidate.json", "judges.json"
_STAGES = {"preparing": 5, "learning": 60, "proving": 32, "reporting": 3}
_LOOKING = 0.05
"""Share of the comparison that the look at the judging cases takes."""


def run_round(
    store: Cases,
    versions: VersionStore,
    request: RoundRequest,
    job: Job | None = None,
    gate: Callable[[], None] = lambda: None,
    *,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    folders: RoundFolders | None = None,
    surroundings: Surroundings | None = None,
    learn: Learn = alone,
) -> RoundRecord:
    """Runs a round to its end, or goes on with the one that was interrupted, whatever is asked now.

    However it ends, it has been saved in ``store`` when this returns: "promoted" (then it is the current model),
    "unproven" (a trial), "rejected", "cancelled" or "failed". For a round that failed by an error of ours, the
    settings of the record hold its code ("error") and what the command line returns for it ("exit_code").
    ``learn`` does the learning, by default in this process.

    Raises:
        InputError: there is nothing to learn from; no round began.
        ModelError: the base cannot be had; no round began.
        ResourceError: another round is running; no round began.
        OutputError: the disk is full or read-only: a round that has begun is gone on with the next time.
        PartnerLostError: another process that learned along ended; likewise.
    """
    around = surroundings or Surroundings(
        versions,
        ModelStore(data_home() / "models", load_catalogue(), versions=versions),
        folders or RoundFolders.of_this_person(),
        gate,
        on_step,
        partial(teach, learn=learn),
        partial(open_examiner, gate=gate),
    )
    with around.folders.locked():
        around.folders.tidy()
        folder = around.folders.unfinished()
        if folder is None:
            folder = begin(store, around, request)
        return _Round(store, around, folder, job or Job()).run()


class _Round:
    """One round on its way, in ``folder``."""

    def __init__(self, store: Cases, around: Surroundings, folder: RoundFolder, job: Job) -> None:
        self._store, self._around, self._folder, self._job = store, around, folder, job
        self._begun = folder.begun()

    def run(self) -> RoundRecord:
        """To the end; see :func:`run_round`."""
        self._job.plan(_STAGES)
        try:
            return self._run()
        except Cancelled:
            return self._end_early("cancelled", _("The person stopped it. The model in use stays."))
        except (OutputError, PartnerLostError):
            raise  # nothing can be written down now, or another process ended: the round can be gone on with
        except GenesisError as error:
            codes = {"error": error.code, "exit_code": str(error.exit_code), "remedy": error.remedy}
            return self._end_early("failed", error.what, codes)
        except Exception as error:  # a fault of ours: the round must not begin again and again
            what = _("A fault of GenesisSegment: {kind}: {reason}").format(kind=type(error).__name__, reason=error)
            self._end_early("failed", what)
            raise

    def _run(self) -> RoundRecord:
        base = base_of(self._begun.request, self._begun.base, self._around.models, self._begun.rival)
        if not self._folder.has(CANDIDATE):
            self._learn(base)
        candidate = self._folder.read(CANDIDATE)
        proving, doubted = self._proving(base)
        if self._folder.has(DECISION):
            decision = self._folder.read(DECISION)
        else:
            decision = self._decide(base, candidate, proving, doubted)
        record = self._record(decision, candidate)
        version = self._around.versions.add(self._version(base, candidate, record), self._copy_candidate)
        record = self._reported(base, candidate, replace(record, version=version.name), proving)
        with suppress(Cancelled):  # it has been decided: to stop now would change nothing
            self._job.advance("reporting", 1.0)
        rival = "" if base.rival.name == STARTER else base.rival.name
        if record.state == "promoted" and not self._around.versions.promote(version.name, record.id, rival):
            reason = _("It is better than {model}, but another model came into use while the round ran.")
            trial = replace(record, state="unproven", reason=reason.format(model=base.rival.name))
            record = self._reported(base, candidate, trial, proving)
        return end(self._store, self._folder, record)

    def _learn(self, base: Base) -> None:
        begun = self._begun
        records = {record.case: record for record in self._store.training()}
        fresh, earlier = (
            [records[case] for case in cases if case in records] for cases in (begun.fresh, begun.earlier)
        )
        if not fresh:
            raise InputError(_("The cases of this round were deleted."), _("Run it again with those that are left."))
        lesson = Lesson(base, fresh, earlier, self._store, begun.request, self._folder.path)
        taught = self._around.teach(lesson, self._job, self._around.gate, self._around.on_step)
        left_out = sum(record.case not in taught.fresh for record in fresh)
        fresh = [record for record in (*fresh, *earlier) if record.case in taught.fresh]
        learned, labels = taught.learned, sorted({label for record in fresh for label in record.labels})
        facts = facts_of_network(base.facts, learned.network, offered_after(base, labels), taught.channels.own())
        path = write_network(learned.network, facts, self._folder.path / "candidate")
        used = [*fresh, *(r for r in earlier if r.case in taught.replayed)]
        self._folder.write(
            CANDIDATE,
            {
                "file": path.name,
                "sha256": model_digest(path),
                "facts": facts_document(facts),
                "labels": taught.channels.labels,
                "corrected": sorted(corrected(fresh, begun.request.rule.margin)),
                "steps": learned.steps,
                "seconds": learned.seconds,
                "losses": learned.losses,
                "left_out": left_out,
                "notes": [*taught.notes, *learned.notes],
                "materials": [asdict(_material(r, r.case in taught.replayed)) for r in used],
            },
        )

    def _proving(self, base: Base) -> tuple[Proving, tuple[str, ...]]:
        """The comparison, and sentences on cases that do not judge because their own masks are doubted."""
        records = [r for r in (*self._store.proving("holdout"), *self._store.proving("validation")) if r.labels]
        finder = self._around.open_finder(self._begun.request.device)
        if not self._folder.has(JUDGES):
            self._folder.write(JUDGES, {"doubted": doubted_cases(base, records, self._store, self._judging)})
        doubted = self._folder.read(JUDGES)["doubted"]
        judges = [record for record in records if record.case not in doubted]
        return Proving(self._store, judges, self._folder, finder), tuple(doubted.values())

    def _decide(
        self, base: Base, candidate: dict[str, Any], proving: Proving, doubted: tuple[str, ...]
    ) -> dict[str, Any]:
        """What the gate says, as it is written down."""
        facts, path = facts_of(candidate["facts"]), self._folder.path / "candidate" / candidate["file"]
        model = ResolvedModel("the new model", "the new model", path, candidate["sha256"], facts, base.licence)
        compared = proving.run(base.rival, model, self._job, self._around.gate)
        rule, notes = self._begun.request.rule, compared.notes
        decision = decide(compared.scores, candidate["corrected"], rule, compared.agreements)
        decision = _kept_as_trial(decision, base, facts)
        if base.rival.name != base.name:
            what = _("It was compared with {model}, the model in use when the round began.")
            notes = (what.format(model=base.rival.name), *notes)
        document = {
            "state": decision.state,
            "reason": together(decision.reason, _left_out(candidate["left_out"] + len(doubted))),
            "classes": [asdict(verdict) for verdict in decision.classes],
            "scores": [asdict(score) for score in compared.scores],
            "agreements": [asdict(agreement) for agreement in compared.agreements],
            "ended": now(),
            "notes": [*doubted, *notes],
        }
        self._folder.write(DECISION, document)
        return document

    def _record(self, decision: dict[str, Any], candidate: dict[str, Any]) -> RoundRecord:
        return replace(
            closed(self._folder, decision["state"], decision["reason"]),
            ended=decision["ended"],
            steps=candidate["steps"],
            scores=tuple(PairedScore(**score) for score in decision["scores"]),
            classes=tuple(ClassVerdict(**verdict) for verdict in decision["classes"]),
            agreements=tuple(Agreement(**agreement) for agreement in decision.get("agreements", ())),
        )

    def _version(self, base: Base, candidate: dict[str, Any], record: RoundRecord) -> Version:
        cases = [material["case"] for material in candidate["materials"]]
        title = _("{model}, learned from 1 case") if len(cases) == 1 else _("{model}, learned from {count} cases")
        return Version(
            title=title.format(model=base.title, count=len(cases)),
            parent=base.name,
            base_model=base.base_model,
            state=record.state,
            facts=facts_of(candidate["facts"]),
            labels=tuple(candidate["labels"]),
            file=candidate["file"],
            sha256=candidate["sha256"],
            created=record.ended,
            licence=base.licence,
            note=base.note(),
            cases=tuple(cases),
            accepted=tuple(material["accepted"] for material in candidate["materials"]),
            round=record.id,
        )

    def _copy_candidate(self, folder: Path) -> None:
        shutil.copytree(self._folder.path / "candidate", folder, dirs_exist_ok=True)

    def _reported(self, base: Base, candidate: dict[str, Any], record: RoundRecord, proving: Proving) -> RoundRecord:
        pictures = list(proving.pictures(record.scores))
        if candidate["losses"]:
            curve = self._folder.path / "pictures" / "loss.png"
            draw_losses(curve, candidate["losses"])
            pictures.insert(0, Picture(curve, "Loss"))
        terms = f"{base.licence.name}: {base.licence.summary}" if base.licence else ""
        report = RoundReport(
            record=record,
            parents=self._parents(base),
            licence=" ".join(filter(None, (base.note(), terms))),
            materials=tuple(Material(**_tuples(material)) for material in candidate["materials"]),
            losses=tuple(candidate["losses"]),
            seconds=candidate["seconds"],
            notes=(*candidate["notes"], *self._folder.read(DECISION)["notes"]),
            pictures=tuple(pictures),
            sha256=candidate["sha256"],
            rule=self._begun.request.rule,
        )
        return replace(record, report=str(write_report(self._folder.path, report)))

    def _parents(self, base: Base) -> tuple[str, ...]:
        names, versions = [base.name], self._around.versions
        while names[-1] in versions:
            names.append(versions[names[-1]].parent)
        return tuple(names)

    def _judging(self, share: float) -> None:
        """Where the round may wait, or stop, while it looks at the cases that judge."""
        self._around.gate()
        self._job.advance("proving", _LOOKING * share)

    def _end_early(self, state: RoundState, reason: str, settings: dict[str, str] | None = None) -> RoundRecord:
        record = closed(self._folder, state, reason)
        return end(self._store, self._folder, replace(record, settings={**record.settings, **(settings or {})}))


def corrected(records: list[TrainingRecord], margin: float) -> set[str]:
    """The labels that were really corrected in some case: what was accepted differs from the proposal by more than
    ``margin`` of Dice, or there was no proposal. Where nothing was, all reviewed labels.

    Classes that a person accepted as they were cannot become better by it; the gate only sees to it that they stay.
    """
    found = set()
    for record in records:
        for c in record.corrections:
            error = c.changed_voxels / max(1, 2 * c.voxels)
            if not c.changed or error > margin:
                found.add(c.label)
    return found or {label for record in records for label in record.labels}


def _left_out(count: int) -> str:
    if count == 1:
        return _("1 case was left out: the report says why.")
    return _("{count} cases were left out: the report says why.").format(count=count) if count else ""


def _kept_as_trial(decision: Decision, base: Base, facts: ModelFacts) -> Decision:
    """A model that lacks classes or structures of the one in use never takes its place by itself."""
    rival = base.rival.facts
    lost = [base.rival_labels[rival.classes.index(c)] for c in rival.offered if c not in facts.offered]
    lost += [name for name in rival.own if name not in facts.own]
    if decision.state != "promoted" or not lost:
        return decision
    reason = _("It does not know {names}, though, which the model in use finds.").format(names=", ".join(lost))
    return Decision("unproven", together(decision.reason, reason), decision.classes)


def _material(record: TrainingRecord, is_replayed: bool) -> Material:
    return Material(record.case, record.labels, record.models, record.accepted, is_replayed)


def _tuples(document: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in document.items()}


__all__ = ["HTML_FILE", "Cases", "RoundRequest", "Surroundings", "abandon", "corrected", "run_round"]
