"""The Learn part of the view."""

from __future__ import annotations

from pathlib import Path

from ..class_names import class_title
from ..classes import class_table
from ..i18n import _
from ..rounds import ClassVerdict
from ..versions import split_requirement
from .learning_model import CURRENT, LearningModel, RoundStep
from .learning_obstacles import (
    back_obstacle,
    install_learning_obstacle,
    learn_obstacle,
    pause_obstacle,
    stop_obstacle,
    use_obstacle,
)
from .model import Model
from .text import names_text, sentences, size_text, stage_text, time_left_text
from .view import Choice, LearnPart, ScoreRow, control


def render_learn(model: Model) -> LearnPart:
    """What the Learn part shows."""
    shown = model.learning
    if not (shown.is_possible and (shown.has_any or shown.round is not None)):
        return LearnPart()
    step, report = shown.round, _report(shown)
    return LearnPart(
        is_visible=True,
        counts=_counts(shown),
        note=_note(shown),
        round_text=_round_text(step) if step else "",
        fraction=(step.fraction or 0.0) if step else None,
        time_left=time_left_text(step.seconds_left) if step and step.state == "learning" else "",
        install=control(
            install_learning_obstacle(model),
            _("Shows what learning needs, with sizes and licences, and asks before it installs anything."),
            is_visible=not shown.is_set_up,
        ),
        learn=control(
            learn_obstacle(model),
            _("Learns from what was accepted, at low priority. A new model is used only where it is proven better."),
        ),
        pause=control(
            pause_obstacle(shown),
            _("Goes on where it stands.")
            if step and step.is_paused
            else _("Stops the round where it stands, for now."),
            is_checked=bool(step and step.is_paused),
        ),
        pause_text=_("Go on") if step and step.is_paused else _("Pause"),
        stop=control(stop_obstacle(shown), _("Ends the round. The model in use stays as it is.")),
        automatics=_automatics(),
        automatic=shown.automatic,
        count=shown.count,
        time=shown.time,
        count_box=control("", _("So many new corrections start a round."), is_visible=shown.automatic == "count"),
        time_box=control("", _("At this time of day a round begins."), is_visible=shown.automatic == "time"),
        outcome=_outcome(shown),
        rows=tuple(_row(verdict) for verdict in _verdicts(shown)),
        open_report=control(
            "" if report else _("There is no report yet: a round makes one."),
            _("Opens the report: curves, tables and pictures of what changed."),
        ),
        report=report,
        in_use=_in_use(model),
        use=control(use_obstacle(model), _use_tip(shown)),
        back=control(back_obstacle(model), _("Takes the model from before into use again. Nothing is deleted.")),
    )


def is_awake(model: Model) -> bool:
    """Whether something goes on here while the module is not in front."""
    shown = model.learning
    return shown.is_possible and (shown.round is not None or (shown.automatic != "off" and shown.has_any))


def _counts(shown: LearningModel) -> str:
    state = shown.state
    if not shown.is_set_up:
        return ""
    if state is None:
        return _("The accepted cases are being counted.") if shown.is_asking or not shown.problem else ""
    text = _(
        "Accepted cases: {cases}; corrections: {corrections}, of which new since the last round: {fresh}. "
        "Cases to learn from: {train}; to compare with: {validation}; never looked at before the end: {holdout}."
    )
    return text.format(
        corrections=state.corrections,
        cases=state.cases,
        fresh=state.fresh,
        train=state.train,
        validation=state.validation,
        holdout=state.holdout,
    )


def _note(shown: LearningModel) -> str:
    """What went wrong, or what waits."""
    lines = []
    if shown.setup is not None and shown.setup.needs_restart:
        lines.append(_("Restart Slicer to finish the set-up."))
    elif shown.setup is not None and shown.setup.missing:
        size = size_text(1e6 * sum(package.download_mb for package in shown.setup.missing))
        names = [split_requirement(package.requirement)[0] for package in shown.setup.missing]
        text = _("Learning needs more packages, a download of about {size}: {names}.")
        lines.append(text.format(size=size, names=names_text(names)))
        lines.extend((*shown.setup.obstacles, *shown.setup.warnings))
    if shown.problem is not None:
        lines.append(f"{shown.problem.what} {shown.problem.remedy}".strip())
    if shown.waiting:
        text = _("Accepted, safe on disk, and not yet taken into the case store: {count}.")
        lines.append(text.format(count=shown.waiting))
    if shown.damaged:
        text = _("Damaged files in the outbox were set aside: {names}.")
        lines.append(text.format(names=", ".join(shown.damaged)))
    return "\n".join(lines)


def _round_text(step: RoundStep) -> str:
    if step.is_stopping:
        return _("Stopping the round")
    what = {
        "waiting": _("Waiting while a segmentation has the device"),
        "paused": _("Paused"),
        "resuming": _("Going on after an interruption"),
    }.get(step.state, "")
    stages = {
        "": _("Starting"),
        "preparing": _("Preparing the cases"),
        "learning": _("Learning"),
        "proving": _("Comparing before and after"),
        "reporting": _("Writing the report"),
    }
    what = what or stages.get(step.stage) or stage_text(step.stage)
    if not step.step:
        return what
    at = _("step {step}, loss {loss}") if step.loss is not None else _("step {step}")
    loss = f"{step.loss:.3f}" if step.loss is not None else ""
    return f"{what}: {at.format(step=step.step, loss=loss)}"


def _automatics() -> tuple[Choice, ...]:
    return (
        Choice("off", _("By hand only"), _("A round begins when you press Learn now.")),
        Choice("count", _("After new corrections"), _("A round begins by itself after so many new corrections.")),
        Choice("time", _("At a time of day"), _("A round begins by itself once a day, if there are new corrections.")),
    )


def _outcome(shown: LearningModel) -> str:
    """How the last round ended."""
    state, reason = (shown.state.last_state, shown.state.last_reason) if shown.state else ("", "")
    if shown.ended is not None:
        state, reason = shown.ended.state, shown.ended.reason
    known = {
        "promoted": _("The last round made a better model."),
        "rejected": _("The last round made no better model, so nothing changes."),
        "unproven": _("The last round made a model that is not proven better: you can try it out."),
        "cancelled": _("The last round was stopped."),
        "failed": _("The last round failed."),
    }
    return sentences(known[state], reason) if state in known else ""


def _verdicts(shown: LearningModel) -> tuple[ClassVerdict, ...]:
    if shown.ended is not None:
        return shown.ended.classes
    return shown.state.last_classes if shown.state else ()


def _row(verdict: ClassVerdict) -> ScoreRow:
    names = {structure.slug: class_title(structure.index) for structure in class_table().values()}
    text, kind = {
        "better": (_("better"), "good"),
        "same": (_("as before"), "idle"),
        "worse": (_("worse"), "bad"),
        "unproven": (_("not proven"), "idle"),
    }[verdict.verdict]
    tip = _("Reviewed by you.") if verdict.is_reviewed else _("Not reviewed: it must not become worse.")
    if verdict.missing:
        more = _("More patients that are needed to prove anything: {count}.").format(count=verdict.missing)
        tip = sentences(tip, more)
    if verdict.p_value is not None:
        tip = sentences(tip, f"p = {verdict.p_value:.3f}.")
    return ScoreRow(
        name=names.get(verdict.label, verdict.label),
        before=f"{verdict.before:.3f}",
        after=f"{verdict.after:.3f}",
        cases=str(verdict.patients),
        verdict=text,
        kind=kind,
        tip=tip,
    )


def _report(shown: LearningModel) -> str:
    """The path of the last report that is there."""
    paths = (shown.ended.report if shown.ended else "", shown.state.last_report if shown.state else "")
    return next((path for path in paths if path and Path(path).exists()), "")


def _in_use(model: Model) -> str:
    current = model.learning.current
    if model.learning.state is None:
        return ""
    if current is None:
        return _("In use: the model that came before all versions.")
    text = _("In use: {model}.").format(model=_version_text(current.name, current.title))
    if current.is_trial:
        text = sentences(text, _("It is a trial: not proven to be better."))
    if model.model != CURRENT:
        text = sentences(text, _("Another model is chosen in the Segment part."))
    return text


def _version_text(name: str, title: str) -> str:
    return title if name in title else f"{title} ({name})"


def _use_tip(shown: LearningModel) -> str:
    newest = shown.newest
    if newest is None:
        return _("Chooses the new model in the Segment part.")
    text = _("Segments with {model} from now on.").format(model=_version_text(newest.name, newest.title))
    return sentences(text, _("It is a trial: not proven to be better.")) if newest.is_trial else text
