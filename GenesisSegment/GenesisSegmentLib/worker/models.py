"""The catalogue in plain types, and models brought to this machine by hand or from their host, with consent."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ConsentError
from ..core.jobs import Job
from ..core.protocol import Done, DownloadModel, ImportModel, Models
from ..core.reports import ModelInfo
from ..engine.models.catalogue import ModelEntry
from ..engine.models.store import ModelStore


def listed(command_id: str, store: ModelStore) -> Models:
    """Every model of the catalogue, with its licence and what of it is on this machine."""
    return Models(command_id, tuple(_info(entry, store) for entry in store.catalogue))


def import_model(command: ImportModel, store: ModelStore, job: Job) -> Done:
    """Installs a model from a file.

    Raises:
        ConsentError: its licence was not agreed to.
        ModelError, OutputError, Cancelled: see :meth:`.ModelStore.import_file`.
    """
    _require_consent(command.is_agreed, store.catalogue[command.name])
    path = store.import_file(command.name, Path(command.file), job)
    return Done(command.id, f"{command.name} is installed: {path}")


def download_model(command: DownloadModel, store: ModelStore, job: Job) -> Done:
    """Fetches a model from its host.

    Raises:
        ConsentError: address, size and licence were not agreed to; nothing was requested.
        NetworkError, ModelError, OutputError, Cancelled: see :meth:`.ModelStore.download`.
    """
    _require_consent(command.is_agreed, store.catalogue[command.name])
    path = store.download(command.name, lambda offer: command.is_agreed, job)
    return Done(command.id, f"{command.name} is installed: {path}")


def _require_consent(is_agreed: bool, entry: ModelEntry) -> None:
    if not is_agreed:
        raise ConsentError(f"The licence of {entry.title} was not agreed to.", "Read it and agree, or choose another.")


def _info(entry: ModelEntry, store: ModelStore) -> ModelInfo:
    licence = entry.licence
    return ModelInfo(
        id=entry.id,
        title=entry.title,
        purpose=entry.purpose,
        note=entry.note or "",
        state=store.status(entry.id),
        usable_for=entry.usable_for,
        offered=tuple(entry.facts.offered),
        is_onnx=Path(entry.source.file).suffix == ".onnx",
        size_bytes=store.size_bytes(entry.id),
        licence=licence.name,
        licence_url=licence.url,
        licence_summary=licence.summary,
        commercial_use=licence.commercial_use,
        clinical_use=licence.clinical_use,
        url=entry.source.url,
        page=entry.source.page,
        citation=entry.citation,
    )
