"""The models of this machine: what is installed, fetched with consent, imported from files, and found for a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...core.errors import ModelError
from ...core.home import data_home
from ...core.i18n import _
from ...core.jobs import Job
from ...core.resources import resource
from .cache import FileCache, State, model_digest
from .catalogue import Catalogue, ModelEntry, load_catalogue, read_metadata
from .offer import Consent, Offer
from .resolved import ResolvedModel

if TYPE_CHECKING:
    from ..learning.versions import VersionStore

STARTER, CURRENT = "starter", "current"

__all__ = ["CURRENT", "STARTER", "CheckpointFacts", "ModelStore", "ResolvedModel"]


class CheckpointFacts(Protocol):
    """What the store must know of a checkpoint: the result of ``engine.checkpoints.load``."""

    @property
    def architecture(self) -> str:
        """Name of the network."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Its options."""

    @property
    def sha256(self) -> str:
        """Of the file."""


ReadCheckpoint = Callable[[Path], CheckpointFacts]


class ModelStore:
    """Finds and keeps the files of the models of ``catalogue`` in ``folder``.

    ``read_checkpoint`` reads a PyTorch checkpoint safely; by default ``engine.checkpoints.load``, imported when needed.
    ``versions`` are the models that learning made on this machine, None: there are none.
    """

    def __init__(
        self,
        folder: Path,
        catalogue: Catalogue,
        read_checkpoint: ReadCheckpoint | None = None,
        versions: VersionStore | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.versions = versions
        self._cache = FileCache(folder)
        self._read_checkpoint = read_checkpoint or _load_checkpoint

    @classmethod
    def of_this_person(cls) -> ModelStore:
        """The store in the user's data folder with the catalogue that comes with GenesisSegment."""
        from ..learning.versions import VersionStore

        return cls(data_home() / "models", load_catalogue(), versions=VersionStore.of_this_person())

    @property
    def folder(self) -> Path:
        """Where the files are kept."""
        return self._cache.folder

    def status(self, name: str) -> State:
        """Whether the model is there, judged quickly by presence and size.

        Raises:
            ModelError: there is no such model.
        """
        entry = self.catalogue[name]
        if entry.is_bundled:
            return "bundled" if self._bundled(entry).is_file() else "missing"
        return self._cache.state(entry.source)

    def verify(self, name: str) -> State:
        """Whether the model is there and is, bit by bit, what was published or recorded.

        Raises:
            ModelError: there is no such model.
        """
        entry = self.catalogue[name]
        if not entry.is_bundled:
            return self._cache.verified_state(entry.source)
        state, expected = self.status(name), entry.source.sha256
        if state == "bundled" and expected and model_digest(self._bundled(entry)) != expected:
            return "damaged"
        return state

    def sha256(self, name: str) -> str | None:
        """The published SHA-256, else the one recorded at first trusted use, else None."""
        entry = self.catalogue[name]
        record = None if entry.is_bundled else self._cache.record(entry.source.file)
        return entry.source.sha256 or (record.sha256 if record else None)

    def size_bytes(self, name: str) -> int | None:
        """The size that the publisher states, else that of the installed file, else None."""
        entry = self.catalogue[name]
        if entry.is_bundled:
            path = self._bundled(entry)
            return path.stat().st_size if path.is_file() else None
        record = self._cache.record(entry.source.file)
        return entry.source.size_bytes or (record.size_bytes if record else None)

    def path_of(self, name: str) -> Path:
        """The file of a model, checked.

        Raises:
            ModelError: there is no such model, it is not installed, or it is damaged; says how to mend that.
        """
        entry, state = self.catalogue[name], self.verify(name)
        if state == "bundled":
            return self._bundled(entry)
        if state == "installed":
            return self._cache.path(entry.source.file)
        if entry.is_bundled:
            raise ModelError(
                _("The file of the model {name} is {state}.").format(name=name, state=state),
                _("Install GenesisSegment again."),
            )
        path = self._cache.path(entry.source.file)
        what = {
            "missing": _("The model {name} is not installed."),
            "damaged": _("The model {name} is damaged: {path} is not the file that was recorded."),
            "unchecked": _("The model {name} was put at {path} without a check."),
        }[state]
        if state == "unchecked":
            remedy = _('Run: genesis-segment models import {name} "{path}"').format(name=name, path=path)
        else:
            remedy = _("Run: genesis-segment models download {name}").format(name=name)
        raise ModelError(what.format(name=name, path=path), remedy)

    def offer(self, name: str) -> Offer:
        """What a person must agree to before the model is downloaded.

        Raises:
            ModelError: there is no such model, or it comes with GenesisSegment.
        """
        entry = self.catalogue[name]
        if entry.is_bundled:
            raise ModelError(
                _("The model {name} comes with GenesisSegment.").format(name=name), _("There is nothing to download.")
            )
        page = entry.source.page or entry.source.url
        by_hand = _("Or get the file from {page} and run: genesis-segment models import {name} FILE").format(
            page=page, name=name
        )
        return Offer(entry.title, entry.source, entry.licence, by_hand)

    def download(self, name: str, consent: Consent, job: Job) -> Path:
        """The file of a model, downloaded if it is not installed; ``consent`` is asked before the first request.

        Raises:
            ConsentError: not agreed; nothing was requested.
            NetworkError, OutputError: it could not be fetched or stored; says why.
            ModelError: there is no such model, or what arrived is not it.
            Cancelled: by the job; what has arrived is kept for the next time.
        """
        offer = self.offer(name)
        return self._cache.download(offer, consent, job, accept=lambda path: self._accept(self.catalogue[name], path))

    def import_file(self, name: str, source: Path, job: Job | None = None) -> Path:
        """Installs a file that was brought here by hand, after looking into it.

        Raises:
            ModelError: there is no such model, or the file is not it.
            OutputError: it could not be stored.
        """
        entry = self.catalogue[name]
        if entry.is_bundled:
            raise ModelError(
                _("The model {name} comes with GenesisSegment.").format(name=name), _("There is nothing to import.")
            )
        return self._cache.adopt(entry.source, source, job or Job(), accept=lambda path: self._accept(entry, path))

    def check_removable(self, name: str) -> None:
        """Finds out, before a person is asked, whether a model may be removed.

        Raises:
            ModelError: there is no such model, or it comes with GenesisSegment.
        """
        if self.catalogue[name].is_bundled:
            raise ModelError(
                _("The model {name} comes with GenesisSegment and cannot be removed.").format(name=name),
                _("Only downloaded and imported models can."),
            )

    def remove(self, name: str) -> bool:
        """Deletes a model's file and record; says whether there was anything.

        Raises:
            ModelError: there is no such model, or it comes with GenesisSegment.
            OutputError: it could not be deleted.
        """
        self.check_removable(name)
        return self._cache.remove(self.catalogue[name].source)

    def resolve(self, name_or_path: str | Path) -> ResolvedModel:
        """The model to segment with, by its name in the catalogue, as a version (v3), or by a file.

        "current" is the version in use, and the starter as long as there is none. A file is a PyTorch checkpoint, or
        .onnx with a .json of the same name beside it (schema: "metadata").

        Raises:
            ModelError: there is no such model or file, it is not installed, damaged, or not for segmentation.
        """
        name = str(name_or_path)
        if name == CURRENT:
            name = self.current_name()
        if self.versions is not None and name in self.versions:
            return self.versions.resolve(name)
        if name in self.catalogue:
            return self._resolve_entry(self.catalogue[name])
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return _own_onnx(path) if path.suffix == ".onnx" else self._own_checkpoint(path)
        if path.suffix or len(path.parts) > 1:
            raise ModelError(
                _("There is no model file {path}.").format(path=path),
                _("Give an existing file, or the name of a model."),
            )
        return self._resolve_entry(self.catalogue[name])

    def current_name(self) -> str:
        """The name of the version in use, or that of the starter.

        Raises:
            ModelError: the version in use is gone or damaged.
        """
        version = self.versions.current() if self.versions else None
        return version.name if version else STARTER

    def _resolve_entry(self, entry: ModelEntry) -> ResolvedModel:
        if entry.usable_for != "segmentation":
            raise _not_for_segmentation(entry.id, self.catalogue)
        path = self.path_of(entry.id)
        # What was written with the network is surer than what the catalogue says of it.
        facts = read_metadata(path.with_suffix(".json")) if path.suffix == ".onnx" else entry.facts
        digest = self.sha256(entry.id) or model_digest(path)
        notes = (entry.note,) if entry.note else ()
        return ResolvedModel(entry.id, entry.title, path, digest, facts, entry.licence, notes)

    def _own_checkpoint(self, path: Path) -> ResolvedModel:
        """A checkpoint of the person's own: known by its file name if the network agrees, else used by its network."""
        checkpoint = self._read_checkpoint(path)
        architecture = checkpoint.architecture
        known = self.catalogue.by_file(path.name)
        if known is not None and known.facts.architecture == architecture:
            entry, licence = known, known.licence
            note = _("Taken for {model} by the name of the file.").format(model=known.id)
        else:
            default = self.catalogue.default_for(architecture)
            if default is None:
                what = _("{path} holds the network {architecture}, for which no way to segment is known.").format(
                    path=path, architecture=architecture
                )
                raise ModelError(what, _("Use a model in ONNX form with a .json that describes it."))
            entry, licence = default, None
            note = _("{file} has the network of {model} and is used in the same way. Its licence is not known.")
            note = note.format(file=path.name, model=entry.id)
        if entry.usable_for != "segmentation":
            raise _not_for_segmentation(path.name, self.catalogue)
        _require_outputs(path, checkpoint, entry)
        facts = replace(entry.facts, options=checkpoint.options)
        return ResolvedModel(path.name, path.name, path, checkpoint.sha256, facts, licence, (note,))

    def _accept(self, entry: ModelEntry, path: Path) -> None:
        """Raises if a file is not what the entry says, before it is trusted."""
        checkpoint = self._read_checkpoint(path)
        if checkpoint.architecture != entry.facts.architecture:
            give = _("Give the file {file} from {page}.") if entry.source.page else _("Give the file {file}.")
            raise ModelError(
                _("{path} holds the network {architecture}, but {model} has the network {expected}.").format(
                    path=path, architecture=checkpoint.architecture, model=entry.id, expected=entry.facts.architecture
                ),
                give.format(file=entry.source.file, page=entry.source.page or ""),
            )
        if entry.usable_for == "segmentation":
            _require_outputs(path, checkpoint, entry)

    def _bundled(self, entry: ModelEntry) -> Path:
        return resource(f"Models/{entry.source.file}")


def _own_onnx(path: Path) -> ResolvedModel:
    described = path.with_suffix(".json")
    if not described.is_file():
        raise ModelError(
            _(
                "{path} cannot be used alone: {description} is missing beside it, the file that says which "
                "class each output stands for and how a CT is prepared (spacing, intensities, window)."
            ).format(path=path, description=described.name),
            _(
                "Get it from whoever made the model, or copy {example} there as {description} and change every "
                "value to that of your model."
            ).format(example=resource("Models/genesis_starter.json"), description=described.name),
        )
    facts = read_metadata(described)
    note = _("{file} is a model of your own. Its licence is not known.").format(file=path.name)
    return ResolvedModel(path.name, path.name, path, model_digest(path), facts, None, (note,))


def _require_outputs(path: Path, checkpoint: CheckpointFacts, entry: ModelEntry) -> None:
    expected = len(entry.facts.classes)
    found = checkpoint.options.get("classes", expected)
    if found != expected:
        raise ModelError(
            _("{path} has {found} outputs where {model} has {expected}: what they stand for is not known.").format(
                path=path, found=found, model=entry.id, expected=expected
            ),
            _("Use a file with the published classes, or a model in ONNX form with a .json that describes it."),
        )


def _not_for_segmentation(name: str, catalogue: Catalogue) -> ModelError:
    usable = ", ".join(entry.id for entry in catalogue if entry.usable_for == "segmentation")
    return ModelError(
        _("{name} holds weights to start a training from; it segments nothing.").format(name=name),
        _("Choose from: {usable}.").format(usable=usable),
    )


def _load_checkpoint(path: Path) -> CheckpointFacts:
    try:
        from ..checkpoints import load
    except ModuleNotFoundError as error:
        raise ModelError(
            _("{file} cannot be checked: {package} is not installed.").format(file=path.name, package=error.name),
            _("Install PyTorch (pip install torch)."),
        ) from error
    return load(path)
