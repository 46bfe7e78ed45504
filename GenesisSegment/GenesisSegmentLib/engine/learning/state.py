"""Where learning stands, in one file that is always whole: what a killed run goes on from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ...core.errors import LearningError
from ...core.files import atomic_file
from ...core.i18n import _
from .channels import Channels
from .material import LearningCase
from .recipe import LearningRecipe

_RUNG = ("mode", "precision", "items_per_forward")


@dataclass
class LearningState:
    """``net`` and ``optimizer`` are state dicts; ``rung`` is what the recipe came down to for want of memory."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    rung: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    net: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)


def rung_of(recipe: LearningRecipe) -> dict[str, Any]:
    """What the ladder of memory changes of a recipe."""
    crop = list(recipe.crop) if recipe.crop else None
    return {name: getattr(recipe, name) for name in _RUNG} | {"crop": crop}


def on_rung(recipe: LearningRecipe, rung: dict[str, Any]) -> LearningRecipe:
    """The recipe as it came down."""
    crop = rung["crop"]
    return replace(recipe, **{name: rung[name] for name in _RUNG}, crop=tuple(crop) if crop else None)


def fingerprint(recipe: LearningRecipe, channels: Channels, cases: Sequence[LearningCase]) -> str:
    """Tells whether a state belongs to this recipe, these channels and these cases."""
    seen = [[c.case, c.is_replayed, *sorted(c.labels)] for c in cases]
    text = json.dumps([recipe.what_counts(), channels.labels, seen], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_state(path: Path, state: LearningState, mark: str) -> None:
    """Replaces the file in one step.

    Raises:
        OutputError: disk full or read-only; the state before is untouched.
    """
    with atomic_file(path) as temporary:
        torch.save({**vars(state), "fingerprint": mark}, temporary)


def load_state(path: Path, mark: str) -> LearningState | None:
    """The state to go on from; None where nothing was learned yet.

    Raises:
        LearningError: it belongs to other cases or another recipe, or is damaged.
    """
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        found_mark = found.pop("fingerprint")
        state = LearningState(**found)
    except (OSError, RuntimeError, UnpicklingError, KeyError, TypeError, AttributeError, EOFError, ValueError) as error:
        raise LearningError(
            _("{path} is damaged: {reason}.").format(path=path, reason=error),
            _("Delete it: the round then begins anew."),
        ) from error
    if found_mark != mark:
        raise LearningError(
            _("{path} belongs to another round: its cases or its settings are not these.").format(path=path),
            _("Choose another folder."),
        )
    return state
