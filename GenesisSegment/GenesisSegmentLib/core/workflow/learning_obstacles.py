"""Why something of the Learn part cannot be done now: one sentence, or "" where it can."""

from __future__ import annotations

from ..i18n import _
from .learning_model import CURRENT, LearningModel
from .model import Model
from .obstacles import busy_obstacle


def round_obstacle(model: Model) -> str:
    """A round is on, whose process an installation would end."""
    return _("Wait until the round of learning has ended, or stop it.") if model.learning.round is not None else ""


def learn_obstacle(model: Model) -> str:
    """Why no round can begin now, or ""."""
    shown = model.learning
    if not shown.is_possible:
        return _("Nothing can be learned here.")
    if shown.round is not None:
        return _("A round is on already.")
    if not shown.is_set_up:
        return _("Learning needs more packages: press Install first.")
    if shown.is_switching:
        return _("Wait until the model has been switched.")
    if shown.state is None and shown.problem is not None:
        return f"{shown.problem.what} {shown.problem.remedy}".strip()
    if shown.state is None:
        return _("Wait until the accepted cases have been counted.")
    if shown.state.train == 0:
        return _("There is nothing to learn from yet: accept corrections first.")
    return ""


def install_learning_obstacle(model: Model) -> str:
    """Why nothing can be installed for learning now, or ""."""
    setup = model.learning.setup
    if reason := busy_obstacle(model) or round_obstacle(model):
        return reason
    if setup is not None and setup.needs_restart:
        return _("Restart Slicer to finish the set-up.")
    if setup is None or not setup.missing:
        return _("Everything that learning needs is installed.")
    return " ".join(setup.obstacles)


def pause_obstacle(shown: LearningModel) -> str:
    """Why a round can neither be paused nor go on now, or ""."""
    if shown.round is None:
        return _("No round is on.")
    if shown.round.is_stopping:
        return _("The round is being stopped.")
    return _("Wait a moment.") if shown.round.is_pausing else ""


def stop_obstacle(shown: LearningModel) -> str:
    """Why no round can be stopped now, or ""."""
    if shown.round is None:
        return _("No round is on.")
    return _("The round is being stopped.") if shown.round.is_stopping else ""


def use_obstacle(model: Model) -> str:
    """Why no new model can be taken into use now, or ""."""
    shown = model.learning
    if shown.is_switching:
        return _("Wait until the model has been switched.")
    if shown.newest is not None:
        return ""
    if shown.current is None:
        return _("There is no new model yet: a round has to make one.")
    return _("The new model is in use already.") if model.model == CURRENT else ""


def back_obstacle(model: Model) -> str:
    """Why one cannot go back to the model before now, or ""."""
    shown = model.learning
    if shown.is_switching:
        return _("Wait until the model has been switched.")
    return "" if shown.current is not None else _("The model from before all versions is in use already.")
