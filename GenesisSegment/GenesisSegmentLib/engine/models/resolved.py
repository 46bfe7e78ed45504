"""A model that is ready to use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .catalogue import ModelFacts
from .offer import Licence


@dataclass(frozen=True)
class ResolvedModel:
    """A model that is ready to use: its file and what inference must know of it.

    ``name`` is the id in the catalogue, the name of a version, or the file name of a model of the person's own;
    ``licence`` is None where nothing is known of it. ``notes`` are sentences that the person should read.
    """

    name: str
    title: str
    path: Path
    sha256: str
    facts: ModelFacts
    licence: Licence | None
    notes: tuple[str, ...] = ()
