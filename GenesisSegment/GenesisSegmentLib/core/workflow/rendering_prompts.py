"""The part of the view with the tools that draw prompts."""

from __future__ import annotations

from ..class_names import structure_title
from ..classes import class_table
from ..i18n import _
from ..strokes import TOOLS
from .model import Model
from .obstacles import new_obstacle, prompt_obstacle, propagate_obstacle
from .view import Choice, PromptPart, control


def render_prompts(model: Model) -> PromptPart:
    """What it shows."""
    reason = prompt_obstacle(model)
    has_offer = model.offer is not None
    return PromptPart(
        tools=tuple((tool, control(reason, _tip(tool), is_checked=tool == model.tool)) for tool in TOOLS),
        tool=model.tool,
        new=_new(model),
        new_box=control(
            new_obstacle(model), _("Begins a structure that is not there yet, for a lesion or anything of your own.")
        ),
        add=control(
            reason,
            _("What you draw is added to the structure. With Shift held, it is taken away.")
            if model.is_adding
            else _("What you draw is taken away from the structure. With Shift held, it is added."),
            is_checked=model.is_adding,
        ),
        add_text=_("Add") if model.is_adding else _("Take away"),
        propagate=control(
            propagate_obstacle(model),
            _("The model learns from your prompts and draws the whole structure anew. It is shown first."),
        ),
        take=control("", _("Draws the structure as it is shown; Undo works."), is_visible=has_offer),
        drop=control("", _("Leaves the structure as it is."), is_visible=has_offer),
        note=_note(model),
    )


def _new(model: Model) -> tuple[Choice, ...]:
    table = model.info.structures if model.info else class_table()
    absent = sorted(model.absent, key=lambda c: (table[c].kind != "own", not table[c].is_lesion, c))
    return (
        Choice("", _("New structure ...")),
        Choice("0", _("One of your own"), _("Rename it in the Segment Editor. It may lie inside any other.")),
        *(Choice(str(index), structure_title(table[index])) for index in absent),
    )


def _tip(tool: str) -> str:
    return {
        "point": _("Click where the structure is, or drag to see what a place would do before you let go."),
        "scribble": _("Draw a line through the structure."),
        "lasso": _("Draw round a part of the structure in one slice."),
        "rectangle": _("Drag a rectangle: the structure in this slice lies in it."),
        "box": _("Drag a rectangle over the middle of a structure: a box as deep as it is wide, in which it lies."),
    }[tool]


def _note(model: Model) -> str:
    row = model.row(model.selected)
    if model.offer is not None:
        return _("Yellow is what the whole structure would be: take it, or leave it.")
    if not model.tool or row is None:
        return ""
    if model.is_answering:
        return _("Answering")
    if model.prompts:
        text = _("Prompts on {name}: {count}. Every answer keeps to all of them; Escape gives up a stroke.")
        return text.format(name=row.name, count=len(model.prompts))
    return _("Draw on {name} in any of the slice views. Other structures keep their voxels.").format(name=row.name)
