"""What a round leaves on disk on its way: enough to go on after a kill, and to end exactly once.

``rounds/<id>/`` holds ``request.json`` from the beginning and ``ended.json`` at the end. In between: ``material`` and
``learning`` (the trainer's), ``candidate`` with the new model, ``before`` and ``after`` with masks and scores, and
``decision.json``. After the end only the report stays.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ...core.errors import ResourceError
from ...core.files import atomic_file, output_errors, private_folder
from ...core.home import data_home
from ...core.i18n import _
from ...core.rounds import GateRule, Mode
from .report import HTML_FILE, JSON_FILE, forget_case

if TYPE_CHECKING:
    from ..store.records import Record

REQUEST, DECISION, ENDED = "request.json", "decision.json", "ended.json"
_KEPT_FILES = {REQUEST, ENDED, HTML_FILE, JSON_FILE}
_KEPT_FOLDERS = {"tensorboard"}


@dataclass(frozen=True)
class RoundRequest:
    """What is asked of a round.

    ``base`` is a model, a version, or "current". With ``is_from_genesis`` it starts from Genesis-style weights:
    ``weights``, or those that are installed. ``steps`` 0 or ``budget_s`` 0: no limit of that kind. ``replay`` and
    ``pseudo`` protect what is not in the new cases; to leave them out is an experiment.
    """

    base: str = "current"
    is_from_genesis: bool = False
    weights: str = ""
    steps: int = 0
    budget_s: float = 1800.0
    mode: Mode = "all"
    device: str = "auto"
    seed: int = 7
    learning_rate: float | None = None
    replay: bool = True
    pseudo: bool = True
    rule: GateRule = field(default_factory=GateRule)

    def settings(self) -> dict[str, str]:
        """In words, for people and the record."""
        limits = [f"{self.steps} steps"] * bool(self.steps) + [f"{self.budget_s:g} s"] * bool(self.budget_s)
        return {
            "mode": self.mode,
            "limit": " or ".join(limits),
            "device": self.device,
            "seed": str(self.seed),
            "replay": "on" if self.replay else "off",
            "pseudo-labels": "on" if self.pseudo else "off",
            "gate": f"margin {self.rule.margin:g}, epsilon {self.rule.epsilon:g}, level {self.rule.level:g}, "
            f"{self.rule.needed} patients; unreviewed classes: agreement {self.rule.kept:g} above "
            f"{self.rule.least_ml:g} ml",
        }


@dataclass(frozen=True)
class Begun:
    """A round that has begun: its request with the base by its own name, the cases it learns from, and since when.

    ``rival`` is the model that was in use then, which the new one must beat.
    """

    id: str
    request: RoundRequest
    base: str
    fresh: tuple[str, ...]
    earlier: tuple[str, ...]
    started: str
    rival: str


def file_stem(record: Record) -> str:
    """A name for files that are made of a case: another one as soon as its CT or any of its accepted masks changed."""
    made_of = [record.case, record.ct, *(f"{c.label} {c.mask} {c.changed}" for c in record.corrections)]
    return hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:24]


class RoundFolder:
    """The folder of one round."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        """Of the round."""
        return self.path.name

    @property
    def is_open(self) -> bool:
        """Whether the round has begun and not ended."""
        return (self.path / REQUEST).is_file() and not (self.path / ENDED).is_file()

    def begin(self, begun: Begun) -> None:
        """Writes down what is to be done; from now on the round can be gone on with."""
        self.write(REQUEST, asdict(begun))

    def begun(self) -> Begun:
        """What is to be done."""
        found = self.read(REQUEST)
        request = RoundRequest(**{**found["request"], "rule": GateRule(**found["request"]["rule"])})
        fresh, earlier = tuple(found["fresh"]), tuple(found["earlier"])
        rival = found.get("rival", "current")  # an older program did not write it down
        return Begun(found["id"], request, found["base"], fresh, earlier, found["started"], rival)

    def has(self, name: str) -> bool:
        """Whether a file is there; it is whole, then."""
        return (self.path / name).is_file()

    def read(self, name: str) -> Any:
        """A JSON file."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Replaces a JSON file in one step.

        Raises:
            OutputError: disk full or read-only.
        """
        with atomic_file(self.path / name) as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def clear(self) -> None:
        """Deletes what only a running round needs."""
        for path in self.path.iterdir():
            if path.is_dir() and path.name not in _KEPT_FOLDERS:
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file() and path.name not in _KEPT_FILES:
                path.unlink(missing_ok=True)


class RoundFolders:
    """All rounds of this person, in ``folder``, which is for this person alone: reports show slices of CTs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_this_person(cls) -> RoundFolders:
        """In the user's data folder."""
        return cls(data_home() / "rounds")

    def new(self) -> RoundFolder:
        """The folder of a new round."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        path = self.folder / f"{stamp}-{secrets.token_hex(3)}"
        with output_errors(path):
            private_folder(path)
        return RoundFolder(path)

    def unfinished(self) -> RoundFolder | None:
        """The latest round that has begun and not ended."""
        found = [RoundFolder(path) for path in sorted(self.folder.glob("*T*-*"))] if self.folder.is_dir() else []
        return next((folder for folder in reversed(found) if folder.is_open), None)

    def tidy(self) -> None:
        """Deletes what killed rounds left behind: folders without a request, and what an ended one needs no more."""
        for path in self.folder.glob("*T*-*") if self.folder.is_dir() else ():
            folder = RoundFolder(path)
            if not folder.has(REQUEST):
                shutil.rmtree(path, ignore_errors=True)
            elif not folder.is_open:
                folder.clear()

    def forget(self, case: str) -> None:
        """Takes the pictures of a case out of all reports: see :func:`.report.forget_case`.

        To be called before the case is deleted (after a kill in between, the person deletes it again), and once more
        after: a running round may have written a report in between.
        """
        for path in sorted(self.folder.glob(f"*T*-*/{HTML_FILE}")):
            forget_case(path, case)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One round at a time.

        Raises:
            ResourceError: another process runs one.
        """
        with output_errors(self.folder):
            private_folder(self.folder)
            lock = FileLock(self.folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise ResourceError(
                    _("Another round is running on this machine."), _("Wait until it has ended.")
                ) from error
        try:
            yield
        finally:
            lock.release()
