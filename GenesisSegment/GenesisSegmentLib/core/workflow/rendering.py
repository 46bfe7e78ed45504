"""From what is known to what is shown: a pure function. Every control says what it does, or why it cannot be used."""

from __future__ import annotations

from ..i18n import _
from .model import Message, Model, Step
from .rendering_learning import is_awake, render_learn
from .rendering_prompts import render_prompts
from .rendering_result import render_correct, render_export
from .rendering_segment import render_segment
from .setting_up import import_obstacle, install_obstacle, self_test_obstacle
from .states import State
from .text import size_text, time_left_text
from .view import SetupPart, StatusStrip, View, control


def render(model: Model) -> View:
    """The view of a model."""
    return View(
        state=model.state,
        status=_status(model),
        setup=_setup(model),
        segment=render_segment(model),
        correct=render_correct(model),
        export=render_export(model),
        learn=render_learn(model),
        prompt=render_prompts(model),
        is_awake=is_awake(model) or model.is_refresh_due,
        is_working=bool(model.works) or bool(model.awaited),
    )


def _status(model: Model) -> StatusStrip:
    step, message = model.run or model.side_job or model.accepting or model.exporting, model.message
    log = message.log if message else ""
    shown = Message(step.text, "busy") if step else message or _idle(model)
    is_dismissable = message is not None and step is None
    return StatusStrip(
        text=shown.text,
        kind=shown.kind,
        fraction=step.fraction if step else None,
        time_left=time_left_text(step.seconds_left) if step else "",
        cancel=control(_cancel_obstacle(model, step), _("Stops what is running. Nothing is changed.")),
        show_log=control(
            "" if log else _("There is no log for this."), _("Opens the log, which says more."), is_visible=bool(log)
        ),
        log=log,
        dismiss=control(
            "" if is_dismissable else _("There is no message."),
            _("Takes this message away."),
            is_visible=is_dismissable,
        ),
    )


def _cancel_obstacle(model: Model, step: Step | None) -> str:
    if step is None:
        return _("Nothing is running.")
    if step is model.accepting:
        return _("It takes a moment only, and nothing half-written is left.")
    if step.is_cancelling:
        return _("It is being cancelled.")
    return "" if step.can_cancel else _("An installation cannot be stopped half way.")


def _idle(model: Model) -> Message:
    """What the strip says while nothing happens: what to do next."""
    text, kind = {
        State.NO_VOLUME: (_("Choose a CT."), "idle"),
        State.NEEDS_SETUP: (_("Some packages are missing: press Install."), "warning"),
        State.READY: (_("Press Segment."), "idle"),
        State.PREDICTING: (_("Segmenting"), "busy"),
        State.REVIEWING: (_("Look at each structure, correct it where needed, and tick it."), "idle"),
        State.CORRECTING: (_("Correct with the tools of the Segment Editor."), "idle"),
        State.FAILED: (_("The run failed."), "error"),
    }[model.state]
    if model.volume_problem:
        return Message(model.volume_problem, "warning")
    if model.setup is not None and model.setup.needs_restart:
        return Message(_("Restart Slicer to finish the set-up."), "warning")
    return Message(text, kind)


def _setup(model: Model) -> SetupPart:
    report = model.setup
    is_missing = report is not None and (bool(report.missing) or report.needs_restart)
    is_model_missing = model.is_set_up and model.info is not None and not model.is_model_there
    is_installing = model.side_job is not None and not model.side_job.can_cancel
    return SetupPart(
        is_visible=is_missing or is_model_missing or is_installing or bool(model.verdicts),
        text=_setup_text(model, is_model_missing),
        packages=report.packages if report else (),
        install=control(
            install_obstacle(model),
            _("Shows what would be installed, with sizes and licences, and asks before it does."),
        ),
        import_model=control(import_obstacle(model), _("Takes a model from a file on this computer.")),
        self_test=control(
            self_test_obstacle(model), _("Tries the chosen model out on the chosen device; takes a few seconds.")
        ),
        verdicts=model.verdicts,
    )


def _setup_text(model: Model, is_model_missing: bool) -> str:
    report = model.setup
    if report is None:
        return ""
    lines: list[str] = []
    if report.needs_restart:
        lines.append(_("The packages are installed. Restart Slicer; the set-up then goes on by itself."))
    elif report.missing:
        size = size_text(1e6 * sum(package.download_mb for package in report.missing))
        text = _("This model needs {count} more packages: a download of about {size}. Free disk space: {free}.")
        free = size_text(1e9 * report.free_disk_gb)
        lines.append(text.format(count=len(report.missing), size=size, free=free))
        lines.append(_("Nothing is installed before you agreed."))
    elif is_model_missing and model.info is not None:
        lines.append(_("{model} is not on this computer yet.").format(model=model.info.title))
    return "\n".join((*lines, *report.obstacles, *report.warnings))
