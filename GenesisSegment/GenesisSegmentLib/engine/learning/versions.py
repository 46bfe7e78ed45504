"""The model versions that learning made: kept, one of them in use, and the way back.

Layout of the folder: ``v1/``, ``v2/``... with ``version.json``, the file of the model and what belongs to it; and
``current.json``, which says which version is in use. A version's folder appears whole by one rename, after everything
in it is on disk; ``current.json`` is replaced in one step after that. Killing the process at any moment therefore
leaves either the old state or the new one. Needs neither torch nor onnx.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...core.errors import ModelError
from ...core.files import atomic_file, fsync, fsync_folder, output_errors
from ...core.home import versions_folder
from ...core.i18n import _
from ...core.leftovers import new_folder, release, sweep
from ...core.rounds import RoundState
from ..models.cache import model_digest
from ..models.catalogue import ModelFacts, facts_document, facts_of
from ..models.offer import Licence
from ..models.resolved import ResolvedModel

KEPT = 5
"""Versions that are kept, besides the one in use, its parent and what one may go back to."""
CURRENT = "current"
_NAME = re.compile(r"v[1-9]\d*")
_REMEMBERED = 20


@dataclass(frozen=True)
class Version:
    """A model that a round made. ``name`` is "v1", "v2"..., given when it is added.

    ``parent`` is the version or model that it was trained from, ``base_model`` the model of the catalogue at the root
    of all. ``state`` is that of its round: "promoted", "unproven" (a trial) or "rejected" (kept aside, not offered).
    ``labels`` are the names of all channels, in channel order. ``cases`` (hashed) it was trained on; ``accepted`` says
    when the latest mask that it learned of each was accepted. ``sha256`` and ``file`` are those of the model's file;
    ``licence`` is None where nothing is known of it.
    """

    title: str
    parent: str
    base_model: str
    state: RoundState
    facts: ModelFacts
    labels: tuple[str, ...]
    file: str
    sha256: str
    created: str
    licence: Licence | None = None
    note: str = ""
    cases: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    round: str = ""
    name: str = ""

    @property
    def is_offered(self) -> bool:
        """Whether a person may switch it on: it was not rejected, and knows a class of the table."""
        return self.state in ("promoted", "unproven") and bool(self.facts.offered)

    @property
    def is_trial(self) -> bool:
        """Whether too few cases were there to prove it better."""
        return self.state == "unproven"


@dataclass(frozen=True)
class Use:
    """What ``current.json`` holds: the version in use ("" none), those before it, and rounds that were promoted."""

    version: str = ""
    before: tuple[str, ...] = ()
    promoted: tuple[str, ...] = ()


class VersionStore:
    """The versions in ``folder``. Safe to use from several processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_this_person(cls) -> VersionStore:
        """The versions in the user's data folder."""
        return cls(versions_folder())

    def versions(self) -> tuple[Version, ...]:
        """All versions, oldest first, rejected ones included.

        Raises:
            ModelError: the description of one is damaged.
        """
        return tuple(_read(self.folder / name) for name in self._names())

    def __contains__(self, name: str) -> bool:
        return bool(_NAME.fullmatch(name)) and (self.folder / name / "version.json").is_file()

    def __getitem__(self, name: str) -> Version:
        """The version called ``name``.

        Raises:
            ModelError: there is none; the remedy lists the names.
        """
        if name not in self:
            known = ", ".join(self._names())
            remedy = (
                _("There are: {names}.").format(names=known)
                if known
                else _("Accept corrections and run: genesis-segment learn")
            )
            raise ModelError(_('There is no model version "{name}".').format(name=name), remedy)
        return _read(self.folder / name)

    def path_of(self, version: Version) -> Path:
        """The file of its model."""
        return self.folder / version.name / version.file

    def current(self) -> Version | None:
        """The version in use; None while it is the model that came before all versions.

        Raises:
            ModelError: the version in use is gone or damaged.
        """
        name = self._use().version
        return self[name] if name else None

    def resolve(self, name: str) -> ResolvedModel:
        """A version, ready to use; its file is read and compared with the recorded SHA-256.

        Raises:
            ModelError: there is no such version, or it is damaged.
        """
        version = self[name]
        path = self.path_of(version)
        if not path.is_file() or model_digest(path) != version.sha256:
            raise ModelError(
                _("The model version {name} is damaged: {path} is not the file that was recorded.").format(
                    name=name, path=path
                ),
                _("Go back to another: genesis-segment models rollback"),
            )
        notes = (version.note,) if version.note else ()
        if version.is_trial:
            what = _("{name} is a trial: it is not proven to be better than the model that was in use before.")
            notes = (what.format(name=name), *notes)
        return ResolvedModel(name, version.title, path, version.sha256, version.facts, version.licence, notes)

    def add(self, version: Version, fill: Callable[[Path], None]) -> Version:
        """Keeps a new version; ``fill`` puts its files into the folder that it is given. Returns it with its name.

        A version of the same round that is there already is returned as it is: a round that is run again after it was
        killed adds one version, not two. Old versions beyond :data:`KEPT` go.

        Raises:
            ModelError: the file that ``fill`` brought is not the one that ``version`` describes.
            OutputError: it could not be written; nothing half-written is left.
        """
        with self._locked():
            there = [v for v in self.versions() if version.round and v.round == version.round]
            if there:
                return there[0]
            named = replace(version, name=self._next_name())
            with _whole_folder(self.folder / named.name) as folder:
                fill(folder)
                if model_digest(folder / named.file) != named.sha256:
                    raise ModelError(_("The new model changed while it was copied."), _("Run the round again."))
                _write_json(folder / "version.json", _document(named))
            self._forget_old(named.name)
        return named

    def use(self, name: str) -> Version | None:
        """Makes a version the current model; with "" the one before all versions. Returns what is current now.

        Raises:
            ModelError: there is no such version, it is damaged, or it was rejected.
            OutputError: it could not be written down; the current model stays.
        """
        with self._locked():
            return self._switch(name, self._use())

    def promote(self, name: str, round_id: str, rival: str) -> bool:
        """Makes the version of a round the current model, once: a round that is run again changes nothing.

        Only in the place of ``rival`` ("" the model before all versions), which it was compared with. Where another one
        is in use by now, that stays, and the version becomes a trial for good. Returns whether it was promoted.

        Raises:
            ModelError, OutputError: see :meth:`use`.
        """
        with self._locked():
            use = self._use()
            if round_id in use.promoted:
                return True
            version = self[name]
            if use.version not in (rival, name) and not version.is_trial:
                version = replace(version, state="unproven")
                with atomic_file(self.folder / name / "version.json") as temporary:
                    _write_json(temporary, _document(version))
            if version.is_trial:
                return False
            self._switch(name, replace(use, promoted=(*use.promoted, round_id)[-_REMEMBERED:]))
            return True

    def rollback(self) -> Version | None:
        """Goes back to the model that was current before; None: to the one before all versions.

        Raises:
            ModelError: there is nothing to go back to.
            OutputError: it could not be written down; the current model stays.
        """
        with self._locked():
            use = self._use()
            before = [name for name in use.before if not name or name in self]
            if not before:
                raise ModelError(_("There is no model to go back to."), _("models versions lists what there is."))
            name = before[-1]
            self._write_use(replace(use, version=name, before=tuple(before[:-1])))
            return self[name] if name else None

    def _switch(self, name: str, use: Use) -> Version | None:
        if name:
            version = self[name]
            if version.state == "rejected":
                raise ModelError(
                    _("{name} was rejected: {note}").format(name=name, note=version.note or _("it is not better.")),
                    _("Choose another one."),
                )
            if version.is_offered:
                self.resolve(name)  # raises where its file is damaged
            else:
                raise ModelError(
                    _(
                        "{name} knows structures of your own only; as the current model it would find nothing else."
                    ).format(name=name),
                    _("Choose another version."),
                )
        before = use.before if name == use.version else (*use.before, use.version)[-_REMEMBERED:]
        self._write_use(replace(use, version=name, before=before))
        return self[name] if name else None

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        found = [p.name for p in self.folder.iterdir() if p.name in self]
        return sorted(found, key=lambda name: int(name[1:]))

    def _next_name(self) -> str:
        """One above all that were ever given: a name is never used twice."""
        counter = self.folder / "last.json"
        given = _read_json(counter).get("last", 0) if counter.is_file() else 0
        number = max([given, *(int(name[1:]) for name in self._names())]) + 1
        with atomic_file(counter) as temporary:
            temporary.write_text(json.dumps({"last": number}), encoding="utf-8")
        return f"v{number}"

    def _forget_old(self, newest: str) -> None:
        """Deletes the oldest versions beyond the last five; never the current one, its parent, or the newest."""
        use = self._use()
        parents = {self[name].parent for name in (newest, use.version) if name in self}
        needed = {newest, use.version, *use.before[-1:], *parents}
        for name in self._names()[:-KEPT]:
            if name not in needed:
                doomed = self.folder / name
                with output_errors(doomed):
                    (doomed / "version.json").unlink()  # from now on it is no version
                    shutil.rmtree(doomed, ignore_errors=True)

    def _use(self) -> Use:
        path = self.folder / "current.json"
        if not path.is_file():
            return Use()
        found = _read_json(path)
        try:
            return Use(str(found["version"]), tuple(found["before"]), tuple(found["promoted"]))
        except (KeyError, TypeError) as error:
            raise _damaged(path) from error

    def _write_use(self, use: Use) -> None:
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.folder / "current.json") as temporary:
            temporary.write_text(json.dumps(asdict(use), indent=1) + "\n", encoding="utf-8")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with output_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes ``target``, which must not exist, by one rename."""
    with output_errors(target):
        sweep(target.parent)
        folder, lock = new_folder(target.parent)
        inner = folder / target.name
        try:
            inner.mkdir()
            yield inner
            for path in inner.rglob("*"):
                if path.is_file():
                    fsync(path)
            fsync_folder(inner)
            shutil.rmtree(target, ignore_errors=True)  # what a killed clean-up left of a version that was forgotten
            inner.rename(target)
            fsync_folder(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            release(lock)


def _document(version: Version) -> dict[str, Any]:
    licence = asdict(version.licence) if version.licence else None
    return {**vars(version), "facts": facts_document(version.facts), "licence": licence}


def _read(folder: Path) -> Version:
    path = folder / "version.json"
    found = _read_json(path)
    try:
        facts, labels = facts_of(found["facts"]), tuple(found["labels"])
        return Version(
            **{
                **found,
                "facts": replace(facts, own=labels[len(facts.classes) :]),
                "licence": Licence(**found["licence"]) if found["licence"] else None,
                "labels": labels,
                "cases": tuple(found["cases"]),
                "accepted": tuple(found.get("accepted", ())),
            }
        )
    except (KeyError, TypeError) as error:
        raise _damaged(path) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> ModelError:
    return ModelError(_("{path} is damaged.").format(path=path), _("Delete it, or put back a copy of it."))


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
