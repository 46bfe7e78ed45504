"""Whether everything that was accepted is there and whole; and what nobody needs is cleared away."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Engine, delete, insert, select, update

from ...core.jobs import Job
from ...core.splits import split_at
from .blobs import BlobStore
from .database import reading, writing
from .entries import all_entries, instant
from .records import VerifyReport
from .schema import acceptances, cases, corrections, deleted_acceptances, patients


def delete_case(engine: Engine, blobs: BlobStore, case: str) -> None:
    """Deletes what was accepted of a case, and the blobs that nobody else needs.

    The row of the case and that of its patient stay: who was held out stays so.
    """
    with writing(engine) as connection:
        needed = _owners(connection, case)
        numbers = select(acceptances.c.number).where(acceptances.c.case_id == case)
        gone = connection.scalars(select(acceptances.c.id).where(acceptances.c.case_id == case)).all()
        connection.execute(delete(corrections).where(corrections.c.acceptance.in_(numbers)))
        connection.execute(delete(acceptances).where(acceptances.c.case_id == case))
        if gone:
            connection.execute(insert(deleted_acceptances), [{"id": each, "deleted": instant()} for each in gone])
        connection.execute(update(cases).where(cases.c.id == case).values(deleted=instant()))
    collect(engine, blobs, needed)


def collect(engine: Engine, blobs: BlobStore, candidates: Collection[str]) -> tuple[str, ...]:
    """Deletes those of the blobs that no row needs; their names.

    Inside a writer's transaction: who adds an acceptance looks inside their own whether all blobs are still there.

    Raises:
        OutputError: not permitted.
    """
    if not candidates:
        return ()
    with writing(engine) as connection:
        unneeded = sorted(set(candidates) - set(_owners(connection)))
        for name in unneeded:
            blobs.remove(name)
    return tuple(unneeded)


def verify(engine: Engine, blobs: BlobStore, job: Job) -> VerifyReport:
    """Reads every file and row.

    Raises:
        Cancelled: the job was cancelled.
        InputError: the database itself is damaged.
    """
    job.plan({"reading": 1.0})
    with reading(engine) as connection:
        there = set(blobs.names())
        owners = _owners(connection)
        rows = _damaged_rows(connection)
    orphaned = collect(engine, blobs, there - set(owners))
    missing = sorted(set(owners) - there)
    damaged = []
    for done, name in enumerate(sorted(there & set(owners)), 1):
        if not blobs.is_sound(name):
            damaged.append(name)
        job.advance("reading", done / len(there & set(owners)))
    with reading(engine) as connection:  # what was deleted meanwhile is not missed
        still = set(_owners(connection))
    damaged, missing = ([name for name in names if name in still] for names in (damaged, missing))
    return VerifyReport(
        checked=len(there),
        damaged=tuple(damaged),
        missing=tuple(missing),
        orphaned=orphaned,
        foreign=tuple(path.as_posix() for path in blobs.foreign()),
        rows=rows,
        cases=tuple(sorted({case for name in (*damaged, *missing) for case in owners[name]})),
    )


def _owners(connection: Connection, only: str | None = None) -> dict[str, set[str]]:
    """The blobs that rows need, and the cases that need each of them."""
    found: dict[str, set[str]] = {}
    for entry, _ in all_entries(connection, None if only is None else {only}):
        for name in entry.blobs:
            found.setdefault(name, set()).add(entry.case)
    return found


def _damaged_rows(connection: Connection) -> tuple[str, ...]:
    """What the database itself finds wrong, rows that do not say what was written, and splits that were changed."""
    found = []
    if connection.dialect.name == "sqlite":
        said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        found += [f"database: {line}" for line in said if line != "ok"]
    found += [f"acceptance {entry.id}" for entry, digest in all_entries(connection) if entry.digest != digest]
    for row in connection.execute(select(patients)):
        if row.ordinal is not None and row.split != split_at(row.ordinal):
            found.append(f"patient {row.hash}")
    return tuple(found)
