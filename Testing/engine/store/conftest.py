"""Case stores on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from GenesisSegmentLib.engine.store import CaseStore

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """Makes an empty database in a real PostgreSQL server and gives its URL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    import psycopg

    import postgresql_server

    if reason := postgresql_server.why_not():
        pytest.skip(reason)
    with postgresql_server.server() as url_of:

        def new_database() -> str:
            name = f"cases_{next(_numbers)}"
            with psycopg.connect(url_of("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return url_of(name)

        yield new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """The URL of a new database; None for the file in the folder of the store."""
    return request.getfixturevalue("postgresql")() if request.param == "postgresql" else None


@pytest.fixture
def store(tmp_path: Path, url: str | None) -> Iterator[CaseStore]:
    """An empty store."""
    with CaseStore.open(tmp_path / "cases", url) as opened:
        yield opened
