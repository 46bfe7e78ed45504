"""Why something cannot be done now: one sentence, or "" where it can."""

from __future__ import annotations

from ..i18n import _
from .model import Model


def busy_obstacle(model: Model) -> str:
    """Another job is on."""
    if model.run is not None:
        return _("Wait until the run has ended, or cancel it.")
    for step in (model.accepting, model.exporting, model.side_job):
        if step is not None:
            return _("Wait until this has ended: {what}.").format(what=step.text)
    return ""


def setup_obstacle(model: Model) -> str:
    """Packages are missing."""
    if model.setup is None:
        return _("GenesisSegment has not looked yet at what is installed.")
    if model.setup.needs_restart:
        return _("Restart Slicer to finish the set-up.")
    return _("Some packages are missing: press Install first.") if model.setup.missing else ""


def model_obstacle(model: Model) -> str:
    """The model is not there or not good."""
    info = model.info
    if info is None:
        return _("Choose a model first.")
    if model.is_model_there:
        return ""
    if info.state == "damaged":
        return _("The file of this model is damaged: get it again.")
    if info.state == "unchecked":
        return _("The file of this model was put there without a check: import it first.")
    return _("This model is not on this computer yet: get it or import it first.")


def segment_obstacle(model: Model) -> str:
    """Why Segment cannot be pressed."""
    if reason := busy_obstacle(model):
        return reason
    if model.volume_id is None:
        return _("Choose a CT first.")
    if model.volume_problem:
        return model.volume_problem
    if reason := setup_obstacle(model) or model_obstacle(model):
        return reason
    return "" if model.wanted else _("Choose at least one class that this model offers.")


def estimate_obstacle(model: Model) -> str:
    """Why time and memory of a run cannot be told now, or ""."""
    return _("Correcting comes first.") if model.is_correcting else segment_obstacle(model)


def new_obstacle(model: Model) -> str:
    """Why no new structure can be begun."""
    return result_obstacle(model) or busy_obstacle(model) or setup_obstacle(model)


def prompt_obstacle(model: Model) -> str:
    """Why no prompt can be drawn."""
    if reason := new_obstacle(model):
        return reason
    row = model.row(model.selected)
    if row is None:
        return _("Choose a structure first.")
    if row.is_locked:
        return _("{name} is locked: open it first.").format(name=row.name)
    return _("{name} is reviewed: take the tick away first.").format(name=row.name) if row.is_reviewed else ""


def propagate_obstacle(model: Model) -> str:
    """Why the prompts cannot be carried on to the whole structure."""
    row = model.row(model.selected)
    if reason := prompt_obstacle(model):
        return reason
    if row is None or not row.class_index:
        return _("This structure is your own: the model knows nothing of it.")
    if not model.number_of(row):
        return _("The chosen model was not taught this structure: choose one that was, under Model.")
    if model.is_answering:
        return _("Wait for the answer.")
    return "" if model.prompts else _("Draw some prompts first: the model learns from them.")


def result_obstacle(model: Model) -> str:
    """Why nothing can be done with segments."""
    if model.run is not None:
        return busy_obstacle(model)
    return "" if model.segmentation_id else _("There is no result yet: segment a CT first.")
