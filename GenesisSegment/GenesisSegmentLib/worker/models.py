"""The catalogue in plain types, and models brought to this machine by hand or from their host, with consent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..core.errors import ConsentError
from ..core.i18n import _, together
from ..core.jobs import Job
from ..core.protocol import Done, DownloadModel, ImportModel, Models
from ..core.reports import ModelInfo
from ..engine.learning.versions import Version, VersionStore
from ..engine.models.catalogue import ModelEntry
from ..engine.models.store import CURRENT, ModelStore


def listed(command_id: str, store: ModelStore) -> Models:
    """Every model of the catalogue, with its licence and what of it is on this machine; then what learning made.

    Versions come newest first, without those that were rejected or draw nothing; where one is in use, "current" stands
    at the very top.
    """
    entries = [_info(entry, store) for entry in store.catalogue]
    if store.versions is None:
        return Models(command_id, tuple(entries))
    made = [v for v in reversed(store.versions.versions()) if v.state != "rejected" and v.facts.drawn]
    infos = {v.name: _version_info(v, store.versions) for v in made}
    name = store.current_name()
    in_use = (
        [replace(infos[name], id=CURRENT, title=_("Current model ({name})").format(name=name))] if name in infos else []
    )
    return Models(command_id, (*in_use, *entries, *infos.values()))


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
        what = _("The licence of {model} was not agreed to.").format(model=entry.title)
        raise ConsentError(what, _("Read it and agree, or choose another."))


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


def _version_info(version: Version, versions: VersionStore) -> ModelInfo:
    path, licence = versions.path_of(version), version.licence
    return ModelInfo(
        id=version.name,
        title=f"{version.name}: {version.title}",
        purpose=_("Learned from the corrections of this machine, from {model}.").format(model=version.parent),
        note=together(_("A trial, not proven to be better.") if version.is_trial else "", version.note),
        state="installed" if path.is_file() else "missing",
        usable_for="segmentation",
        offered=version.facts.offered,
        is_onnx=path.suffix == ".onnx",
        size_bytes=path.stat().st_size if path.is_file() else None,
        licence=licence.name if licence else _("not known"),
        licence_url=licence.url if licence else None,
        licence_summary=licence.summary if licence else "",
        commercial_use=licence.commercial_use if licence else None,
        clinical_use=licence.clinical_use if licence else None,
        url=None,
        page=None,
        citation="",
        own=version.facts.own,
    )
