"""What each command does in the process that learns."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import GenesisError
from ...core.home import DATABASE_NAME, store_folder
from ...core.i18n import _
from ...core.jobs import Job
from ...core.learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningState,
    LearningStatus,
    Pause,
    UseVersion,
    VersionInfo,
)
from ...core.protocol import Command, Done, Event, Hello, ListModels
from ..packages import ready
from .rounds import Rounds

if TYPE_CHECKING:
    from ...engine.learning.versions import Version, VersionStore
    from ...engine.store import CaseStore

Send = Callable[[Event], None]
APART = (Learn, Pause)
"""Commands that do not wait for others."""


class LearnerService:
    """Answers commands; each imports what it needs, and none of them PyTorch."""

    def __init__(self, rounds: Rounds | None = None) -> None:
        self._rounds = rounds or Rounds(is_in_the_way=is_a_lock_held, on_abandoned=abandon_round)
        self._store: CaseStore | None = None
        self._handlers: dict[type, Callable[[Any, Job, Send], Event]] = {
            Hello: lambda command, job, send: ready(command.id),
            ListModels: self._list_models,
            Ingest: self._ingest,
            LearningStatus: lambda command, job, send: self._state(command.id),
            UseVersion: self._use,
            Learn: lambda command, job, send: self._rounds.run(command, job, send),
            Pause: self._pause,
        }

    def run(self, command: Command, job: Job, send: Send) -> Event:
        """See :class:`..server.Handler`."""
        job.check()
        handler = self._handlers.get(type(command))
        if handler is None:
            raise GenesisError(
                _("The process that learns cannot do {command}.").format(command=command.type),
                _("Update GenesisSegment."),
            )
        return handler(command, job, send)

    def rest(self) -> None:
        """See :class:`..server.Handler`."""

    def leave(self) -> None:
        """This process is about to end."""
        self._rounds.leave()

    def _list_models(self, command: ListModels, job: Job, send: Send) -> Event:
        from ...engine.models.store import ModelStore
        from ..models import listed

        return listed(command.id, ModelStore.of_this_person())

    def _ingest(self, command: Ingest, job: Job, send: Send) -> Event:
        from ...core.outbox import Outbox

        store = self._opened()
        report = store.ingest(Outbox(Path(command.outbox), store.salt), job)
        return Ingested(command.id, report.added, report.before, report.damaged)

    def _use(self, command: UseVersion, job: Job, send: Send) -> Event:
        versions = _versions()
        if command.version:
            versions.use(command.version)
        else:
            versions.rollback()
        return self._state(command.id)

    def _pause(self, command: Pause, job: Job, send: Send) -> Event:
        self._rounds.pause(command.is_paused)
        return Done(command.id)

    def _state(self, command_id: str) -> LearningState:
        store, versions = self._opened(), _versions()
        counts, rounds = store.counts(), store.rounds()
        last = rounds[-1] if rounds else None
        current = versions.current()
        name = current.name if current is not None else ""
        return LearningState(
            id=command_id,
            cases=counts.cases,
            corrections=counts.corrections,
            fresh=store.fresh_since(last),
            train=counts.train,
            validation=counts.validation,
            holdout=counts.holdout,
            versions=tuple(_info(version, name) for version in versions.versions() if version.is_offered),
            last_state=last.state if last else "",
            last_reason=last.reason if last else "",
            last_classes=last.classes if last else (),
            last_report=last.report if last else "",
        )

    def _opened(self) -> CaseStore:
        from ...engine.store import CaseStore

        if self._store is None:
            self._store = CaseStore.open_default()
        return self._store


def abandon_round() -> None:
    """The person cancelled a round whose process had to be killed: nobody goes on with it."""
    from ...engine.learning.ending import abandon
    from ...engine.store import CaseStore

    with CaseStore.open_default() as store:
        abandon(store)


def is_a_lock_held() -> bool:
    """Whether some process changes the case store or the versions right now."""
    return _is_database_locked() or _are_versions_locked()


def _is_database_locked() -> bool:
    """Of SQLite; in PostgreSQL nobody waits for rows that another has added."""
    file = store_folder() / DATABASE_NAME
    if not file.is_file():
        return False
    try:
        with closing(
            sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)
        ) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    return False


def _are_versions_locked() -> bool:
    from filelock import FileLock, Timeout

    file = _versions().folder / ".lock"
    if not file.is_file():
        return False
    try:
        FileLock(file).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    except OSError:
        return False
    return False


def _versions() -> VersionStore:
    from ...engine.learning.versions import VersionStore

    return VersionStore.of_this_person()


def _info(version: Version, current: str) -> VersionInfo:
    is_current = version.name == current
    return VersionInfo(
        version.name, version.title, version.parent, version.state, version.created, is_current, version.is_trial
    )
