"""How a round begins: what it learns from, and from which model. How it ends: :mod:`.ending`."""

from __future__ import annotations

from pathlib import Path

from ...core.corrections import now
from ...core.errors import InputError, OutputError
from ...core.i18n import _
from ..models.store import CURRENT, ModelStore
from .base import Base, genesis_base, open_base
from .ending import closed
from .round_folder import Begun, RoundFolder, RoundRequest
from .surroundings import Cases, Surroundings
from .versions import VersionStore

_LEAST_FREE_BYTES = 1024**3
"""Disk space that a round must find: its state, masks of the comparison, the new model."""


def begin(store: Cases, around: Surroundings, request: RoundRequest) -> RoundFolder:
    """Writes down what a round learns from and which model it begins with; from then on it can be gone on with.

    Raises:
        InputError: there is nothing to learn from.
        OutputError: there is too little space on the disk, or nothing can be written.
        ModelError: the base cannot be had.
    """
    records = store.training()
    if not any(record.labels for record in records):
        raise InputError(
            _("There is nothing to learn from yet: no accepted case is one that may teach."),
            _("Accept corrections of further patients; of five patients three teach, the others judge."),
        )
    around.folders.folder.mkdir(parents=True, exist_ok=True)
    free = around.free_bytes(around.folders.folder)
    if free < _LEAST_FREE_BYTES:
        raise OutputError(
            _("A round needs about {needed} GB of free disk space in {folder}; {free} GB are free.").format(
                needed=f"{_LEAST_FREE_BYTES / 1e9:.0f}",
                folder=around.folders.folder,
                free=f"{free / 1e9:.1f}",
            ),
            _("Free some space."),
        )
    base = base_of(request, request.base, around.models, CURRENT)
    learned = _learned_before(base.name, around.versions)
    fresh = [r.case for r in records if r.labels and (r.case not in learned or r.accepted > learned[r.case])]
    if not fresh:  # everything again, for longer
        fresh = [r.case for r in records if r.labels]
    earlier = [r.case for r in records if r.labels and r.case not in fresh]
    folder = around.folders.new()
    begun = Begun(folder.id, request, base.name, tuple(fresh), tuple(earlier), now(), base.rival.name)
    folder.begin(begun)
    store.save_round(closed(folder, "running", _("It is running.")))
    return folder


def base_of(request: RoundRequest, name: str, models: ModelStore, rival: str) -> Base:
    """The model to learn further, as a request says; ``rival`` is the one that the new one must beat.

    Raises:
        ModelError: it cannot be had.
    """
    if request.is_from_genesis:
        return genesis_base(models, Path(request.weights) if request.weights else None, request.seed, rival)
    return open_base(name, models, rival)


def _learned_before(name: str, versions: VersionStore) -> dict[str, str]:
    """The cases that a model has learned from, and when the latest mask of each that is in it was accepted."""
    found: dict[str, str] = {}
    while name in versions:
        version = versions[name]
        accepted = version.accepted or [version.created] * len(version.cases)
        found = {**dict(zip(version.cases, accepted, strict=True)), **found}
        name = version.parent
    return found
