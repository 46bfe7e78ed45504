"""Accepted corrections, kept for ever: CTs and masks as files named after their content, and rows about them.

The files are written and flushed to disk first, then the rows in one transaction: a kill in between leaves files that
nobody needs, never a row without its files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np
from sqlalchemy import Connection, Engine, insert, select

from ...core.corrections import AcceptedClass, BoxedMask
from ...core.errors import InputError
from ...core.geometry import Box
from ...core.home import BLOBS_NAME, store_folder
from ...core.i18n import _
from ...core.identity import hashed, local_salt
from ...core.jobs import Job
from ...core.rounds import RoundRecord
from ...core.volume import Volume
from . import checking, queries
from .blobs import BlobStore
from .database import open_engine, reading, writing
from .entries import Entry, as_instant, insert_entry, instant, is_known
from .migrate import is_current, upgrade
from .records import (
    CaseDetail,
    CaseSummary,
    Correction,
    ImportReport,
    IngestReport,
    ProvingRecord,
    Record,
    StoreCounts,
    TrainingRecord,
    VerifyReport,
)
from .schema import marks
from .voxels import Content, mask_content, read_mask, read_volume, scan_keys, volume_content

if TYPE_CHECKING:
    from ...core.outbox import Outbox, StoredAcceptance

DATABASE_VARIABLE = "GENESIS_SEGMENT_DATABASE"


class CaseStore:
    """A store in ``folder``; made by :meth:`open`. Any number of processes may use one at the same time."""

    def __init__(self, folder: Path, engine: Engine, salt: bytes) -> None:
        self._folder, self._engine, self._salt = folder, engine, salt
        self._blobs = BlobStore(folder / BLOBS_NAME)

    @classmethod
    def open(cls, folder: Path, url: str | None = None) -> CaseStore:
        """The store in ``folder``, made where there is none, brought up to date where it is of an older version.

        ``url`` names a database, such as ``postgresql://user@host/name``, that several people share together with the
        folder; by default it is a SQLite file in the folder.

        Raises:
            InputError: it is damaged, of a newer version, or folder and database do not belong together.
            OutputError: it cannot be written.
            ResourceError: another program keeps it busy.
        """
        salt = local_salt(folder)
        store = cls(folder, open_engine(folder, url), salt)
        store._bring_up_to_date()
        return store

    @classmethod
    def open_default(cls) -> CaseStore:
        """This person's store, with the database that ``GENESIS_SEGMENT_DATABASE`` names, if it does.

        Raises:
            GenesisError: see :meth:`open`.
        """
        return cls.open(store_folder(), os.environ.get(DATABASE_VARIABLE))

    def close(self) -> None:
        """Gives its connections back."""
        self._engine.dispose()

    def __enter__(self) -> CaseStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @property
    def salt(self) -> bytes:
        """The secret that names of scans and patients are hashed with."""
        return self._salt

    def add(self, stored: StoredAcceptance) -> bool:
        """Keeps an acceptance; False where it is there already, or was deleted. On disk when this returns.

        Raises:
            OutputError: disk full, read-only or not permitted; nothing was added.
            InputError: case or patient is no hash.
        """
        with reading(self._engine) as connection:
            if is_known(connection, stored.acceptance.id):
                return False
        keys = scan_keys(stored.acceptance.volume, self._salt)
        entry, contents = self._prepared(stored)
        with writing(self._engine) as connection:
            if is_known(connection, entry.id):
                return False
            for name in entry.blobs:
                if not self._blobs.has(name):  # cleared away meanwhile
                    self._blobs.put(contents[name])
            insert_entry(connection, entry, None, keys)
        return True

    def ingest(self, outbox: Outbox, job: Job | None = None) -> IngestReport:
        """Takes all that waits in an outbox: see :func:`.ingest.ingest`; and :func:`.scans.make_scans_known`, first."""
        from .ingest import ingest
        from .scans import make_scans_known

        job = job or Job()
        make_scans_known(self._engine, self._blobs, self._salt, job)
        return ingest(outbox, self.add, job)

    def cases(self) -> tuple[CaseSummary, ...]:
        """All cases, in the order in which they came."""
        with reading(self._engine) as connection:
            return queries.summaries(connection)

    def case(self, name: str) -> CaseDetail:
        """The case whose hash is ``name``, or alone begins with it.

        Raises:
            InputError: there is none, or several.
        """
        with reading(self._engine) as connection:
            return queries.detail(connection, name)

    def case_of(self, acceptance: str) -> CaseSummary:
        """The case that an acceptance belongs to.

        Raises:
            InputError: it is not in the store.
        """
        with reading(self._engine) as connection:
            return queries.case_of(connection, acceptance)

    def training(self) -> tuple[TrainingRecord, ...]:
        """The cases that may teach: those of the train split and no others."""
        with reading(self._engine) as connection:
            return queries.records(connection, "train", TrainingRecord)

    def proving(self, split: Literal["validation", "holdout"]) -> tuple[ProvingRecord, ...]:
        """The cases of a split that judges.

        Raises:
            HoldoutError: ``split`` is the one that teaches.
        """
        with reading(self._engine) as connection:
            return queries.records(connection, split, ProvingRecord)

    def volume(self, record: Record) -> Volume:
        """The CT of a case, int16 (i, j, k), read-only.

        Raises:
            InputError: its file is missing or damaged.
        """
        return read_volume(self._blobs.read(record.ct), record.case[:12])

    def mask(self, record: Record, label: str) -> np.ndarray:
        """The accepted mask of a reviewed class, bool (i, j, k) on the grid of the CT.

        Raises:
            InputError: its file is missing or damaged.
            KeyError: nobody reviewed the class.
        """
        return read_mask(self._blobs.read(record.correction(label).mask)).whole()

    def changed(self, record: Record, label: str) -> np.ndarray:
        """The voxels of a reviewed class that differ from the proposal, bool (i, j, k); the mask where there was none.

        Raises:
            InputError: its file is missing or damaged.
            KeyError: nobody reviewed the class.
        """
        correction = record.correction(label)
        return read_mask(self._blobs.read(correction.changed or correction.mask)).whole()

    def counts(self) -> StoreCounts:
        """How much there is."""
        with reading(self._engine) as connection:
            return queries.counts(connection)

    def save_round(self, record: RoundRecord) -> None:
        """Keeps a round, or brings what was kept of it up to date.

        Raises:
            OutputError: the database cannot be written.
        """
        with writing(self._engine) as connection:
            queries.save_round(connection, record)

    def rounds(self) -> tuple[RoundRecord, ...]:
        """All rounds, oldest first."""
        with reading(self._engine) as connection:
            return queries.all_rounds(connection)

    def fresh_since(self, round: RoundRecord | None) -> int:
        """How many acceptances arrived after a round was first saved as running, or else started; None: all."""
        with reading(self._engine) as connection:
            return queries.fresh_since(connection, round.id if round else None)

    def verify(self, job: Job | None = None) -> VerifyReport:
        """Reads everything and says what is damaged or missing; what nobody needs is cleared away.

        Raises:
            Cancelled: the job was cancelled.
        """
        return checking.verify(self._engine, self._blobs, job or Job())

    def delete(self, name: str) -> str:
        """Deletes a case, by its hash or the beginning of it; the whole hash. Its patient keeps the split.

        Raises:
            InputError: there is none, or several.
            OutputError: not permitted.
        """
        case = self.case(name).summary.case
        checking.delete_case(self._engine, self._blobs, case)
        return case

    def export_archive(self, path: Path, cases: Sequence[str] = (), job: Job | None = None) -> Path:
        """Writes cases, all by default, into one portable file: see :func:`.archive.export_archive`."""
        from .archive import export_archive

        chosen = [self.case(name).summary.case for name in cases] or None
        return export_archive(self._engine, self._blobs, path, chosen, job or Job())

    def import_archive(self, path: Path, job: Job | None = None) -> ImportReport:
        """Takes the cases of such a file in: see :func:`.archive.import_archive`."""
        from .archive import import_archive

        return import_archive(self._engine, self._blobs, path, self._salt, job or Job())

    def export_datalist(
        self, folder: Path, layout: Literal["monai", "nnunet"] = "monai", job: Job | None = None
    ) -> Path:
        """Writes all cases as NIfTI files for other programs: see :mod:`.datalist`."""
        from .datalist import export_datalist

        return export_datalist(self, folder, layout, job or Job())

    def _bring_up_to_date(self) -> None:
        with reading(self._engine) as connection:
            is_ready = is_current(connection) and _mark(connection) is not None
        if not is_ready:
            with writing(self._engine) as connection:
                if not is_current(connection):
                    upgrade(connection)
                if _mark(connection) is None:
                    connection.execute(insert(marks).values(name=_MARK, value=self._own_mark))
        with reading(self._engine) as connection:
            if _mark(connection) != self._own_mark:
                raise InputError(
                    _("The database belongs to another case store than the folder {folder}.").format(
                        folder=self._folder
                    ),
                    _("Give the folder and the database of one store."),
                )

    @property
    def _own_mark(self) -> str:
        return hashed(self._salt, "store")

    def _prepared(self, stored: StoredAcceptance) -> tuple[Entry, dict[str, Content]]:
        """Writes the blobs of an acceptance; its rows to be, and what the blobs hold."""
        acceptance, geometry = stored.acceptance, stored.acceptance.volume.geometry
        contents: dict[str, Content] = {}

        def kept(content: Content) -> str:
            name = self._blobs.put(content)
            contents[name] = content
            return name

        accepted = acceptance.accepted if as_instant(acceptance.accepted) else instant()
        ct = kept(volume_content(acceptance.volume))
        corrections = []
        for c in acceptance.classes:
            changed = _changed(c)
            corrections.append(
                Correction(
                    label=c.label,
                    mask=kept(mask_content(c.boxed, geometry)),
                    changed=kept(mask_content(changed, geometry)) if changed is not None else "",
                    voxels=c.boxed.count,
                    changed_voxels=c.changed_voxels,
                    model=c.model or acceptance.model,
                    model_sha256=c.model_sha256 if c.model else acceptance.model_sha256,
                    accepted=accepted,
                )
            )
        entry = Entry(
            id=acceptance.id,
            case=stored.case,
            patient=stored.patient,
            ct=ct,
            shape=geometry.shape,
            spacing=geometry.spacing,
            accepted=accepted,
            model=acceptance.model,
            model_sha256=acceptance.model_sha256,
            seconds=float(acceptance.seconds),
            tools=acceptance.tools,
            version=acceptance.version,
            corrections=tuple(corrections),
        )
        return entry, contents


_MARK = "store"


def _mark(connection: Connection) -> str | None:
    return connection.scalar(select(marks.c.value).where(marks.c.name == _MARK))


def _changed(accepted: AcceptedClass) -> BoxedMask | None:
    """Where the accepted mask differs from the proposal; None where there was none."""
    before, after = accepted.boxed_proposed, accepted.boxed
    if before is None:
        return None
    boxes = [mask.box for mask in (before, after) if mask.box is not None]
    if not boxes:
        return after
    box = Box.joined(boxes)
    differs = before.within(box) != after.within(box)
    inner = Box.around(differs)
    if inner is None:
        return BoxedMask(after.shape, None, np.zeros((0, 0, 0), bool))
    start, stop = (tuple(a + b for a, b in zip(box.start, side, strict=True)) for side in (inner.start, inner.stop))
    return BoxedMask(after.shape, Box(start, stop), differs[inner.slices])  # type: ignore[arg-type]
