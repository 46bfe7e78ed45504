"""The database of a store: SQLite in its folder, or any PostgreSQL; transactions; and errors that speak.

Whoever writes is alone for as long as the transaction takes: SQLite by ``BEGIN IMMEDIATE``, PostgreSQL by an advisory
lock. What was committed is on disk (SQLite: write-ahead log with ``synchronous=FULL``; PostgreSQL by default).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from ...core.errors import GenesisError, InputError, OutputError, ResourceError
from ...core.home import DATABASE_NAME
from ...core.i18n import _, together

_BUSY_S = 60.0
_LOCK_KEY = 0x67656E65  # any number that all writers share
_PRAGMAS = ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON")
_ATTEMPTS, _PAUSE_S = 100, 0.05


def open_engine(folder: Path, url: str | None) -> Engine:
    """The database of the store in ``folder``: its own SQLite file, or what ``url`` names.

    Raises:
        InputError: ``url`` is none, or its driver is not installed.
    """
    try:
        parsed = make_url(url) if url else make_url("sqlite://").set(database=str(folder / DATABASE_NAME))
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() == "sqlite":
            arguments: dict[str, Any] = {"timeout": _BUSY_S, "check_same_thread": False}
        elif parsed.get_backend_name() == "postgresql":
            arguments = {"connect_timeout": 10}
        else:
            raise InputError(
                _("{name} is no database that the case store can use.").format(name=parsed.get_backend_name()),
                _urls(),
            )
        engine = create_engine(parsed, connect_args=arguments, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError) as error:
        raise InputError(_("The URL of the database cannot be understood."), _urls()) from error
    except ModuleNotFoundError as error:
        raise InputError(
            _("The database needs the package {package}, which is not installed.").format(package=error.name),
            _('Install "psycopg[binary]".'),
        ) from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the store."""
    with database_errors(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction of the only writer; it is on disk when this ends, or has never been."""
    with database_errors(engine), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection = connection.execution_options(is_writing=True)
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK_KEY})")
            yield connection


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turns errors of the database into ones that say why and what to do, without its password."""
    try:
        yield
    except DBAPIError as error:
        first = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        url = engine.url.render_as_string(hide_password=True)
        for words, kind, what, remedy in _causes():
            if any(word in first.lower() for word in words):
                raise kind(what.format(url=url), remedy) from error
        if error.connection_invalidated or type(error.orig).__name__ == "OperationalError":
            raise OutputError(
                _("The database of the case store ({url}) cannot be used: {reason}.").format(
                    url=url, reason=first.rstrip(".")
                ),
                together(_("Check it."), _kept()),
            ) from error
        raise


def _causes() -> tuple[tuple[tuple[str, ...], type[GenesisError], str, str], ...]:
    """What the drivers say, and what that is called here: words, error, what happened at ``url``, and what to do."""
    return (
        (
            ("locked", "busy"),
            ResourceError,
            _("The database of the case store ({url}) is used by another program for too long."),
            together(_("Try again later."), _kept()),
        ),
        (
            ("is full",),
            OutputError,
            _("The database of the case store ({url}) could not be written: the disk is full."),
            together(_("Free some space."), _kept()),
        ),
        (
            ("disk i/o error",),
            OutputError,
            _(
                "The database of the case store ({url}) could not be read or written: the disk fails, is full, or "
                "limits the size of files."
            ),
            together(_("Check the disk."), _kept()),
        ),
        (
            ("readonly", "read-only", "unable to open", "permission denied"),
            OutputError,
            _("The database of the case store ({url}) could not be opened for writing."),
            together(_("Check the permissions of its folder, or choose another store."), _kept()),
        ),
        (
            ("malformed", "not a database"),
            InputError,
            _("The database of the case store ({url}) is damaged."),
            _("Bring the case store back from a backup; what waits in the outbox is safe."),
        ),
    )


def _kept() -> str:
    return _("What was accepted stays in the outbox until it can be kept.")


def _urls() -> str:
    return _("Give a URL such as postgresql://user@host/database, or none for the file in the folder of the store.")


def _prepare_sqlite(engine: Engine) -> None:
    """Leaves transactions to us instead of Python's driver, and sets what keeps them durable."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        _use_write_ahead_log(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        is_writing = connection.get_execution_options().get("is_writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _use_write_ahead_log(connection: Any) -> None:
    """Has SQLite write to a log first, so that readers and the writer do not wait for each other.

    The mode stays with the file. To change it SQLite does not wait for others by itself; where a disk cannot do it, as
    some network disks, SQLite keeps its older and as safe way.
    """
    for attempt in range(_ATTEMPTS):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE_S)
