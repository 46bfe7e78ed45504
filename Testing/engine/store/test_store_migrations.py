"""Stores of other versions: an older one is brought up to date, a newer one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.store import CaseStore
from GenesisSegmentLib.engine.store.database import open_engine, reading, writing
from GenesisSegmentLib.engine.store.entries import instant
from GenesisSegmentLib.engine.store.migrate import STEPS, upgrade
from GenesisSegmentLib.engine.store.schema import metadata
from store_builders import a_round, all_bytes, same_masks, stored

NEWER = ("marks", "same_as", "seen")


def make_old(folder: Path, url: str | None) -> None:
    """Turns a store of today into what the first version would have left: its tables at step 1, with the same rows."""
    engine = open_engine(folder, url)
    tables = ("patients", "patient_aliases", "cases", "acceptances", "corrections", "deleted_acceptances", "rounds")
    with reading(engine) as connection:
        rows = {t: [dict(r) for r in connection.execute(text(f"SELECT * FROM {t}")).mappings()] for t in tables}
    if url is None:
        for file in folder.glob("cases.sqlite*"):
            file.unlink()
    else:
        with writing(engine) as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    with writing(engine) as connection:
        upgrade(connection, "1")
        for table, found in rows.items():
            for row in ({k: v for k, v in row.items() if k not in NEWER} for row in found):
                names = ", ".join(row)
                connection.execute(text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(row)})"), row)
        if url is not None:
            for table, key in (("patients", "id"), ("acceptances", "number"), ("rounds", "number")):
                last = f"(SELECT MAX({key}) FROM {table})"
                connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), {last})"))
    engine.dispose()


@pytest.fixture
def old(tmp_path, url):
    """The folder of a store of the first version, with two patients and a round between them."""
    with CaseStore.open(tmp_path / "cases", url) as store:
        store.add(stored(1))
        store.save_round(a_round(started=instant()))
        store.add(stored(2))
    make_old(tmp_path / "cases", url)
    return tmp_path / "cases"


def test_a_store_of_the_first_version_is_brought_up_to_date_and_loses_nothing(old, url):
    with CaseStore.open(old, url) as store:
        first, second = store.training()
        assert (first.case, second.case) == (stored(1).case, stored(2).case)
        assert same_masks(store, first, stored(1).acceptance)
        (round,) = store.rounds()
        assert round.id == "r1"
        assert store.fresh_since(round) == 1  # the step works out what the round had seen
        store.add(stored(3))
        assert [r.case for r in store.proving("holdout")] == [stored(3).case]
        assert store.verify().is_sound


def test_an_upgrade_that_is_interrupted_has_changed_nothing(old, url):
    engine = open_engine(old, url)

    def interrupted() -> None:
        with writing(engine) as connection:
            upgrade(connection)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with reading(engine) as connection:
        assert MigrationContext.configure(connection).get_current_heads() == ("1",)
    engine.dispose()
    with CaseStore.open(old, url) as store:
        assert len(store.training()) == 2


def test_a_store_of_a_newer_version_is_refused_and_left_alone(tmp_path, url):
    with CaseStore.open(tmp_path / "cases", url) as store:
        store.add(stored(1))
        with writing(store._engine) as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '999'"))
    before = all_bytes(tmp_path / "cases" / "blobs")
    with pytest.raises(InputError, match="newer version of GenesisSegment") as refused:
        CaseStore.open(tmp_path / "cases", url)
    assert refused.value.remedy.startswith("Update GenesisSegment")
    assert all_bytes(tmp_path / "cases" / "blobs") == before


def test_the_steps_make_the_tables_that_the_code_knows(store):
    with reading(store._engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_step_lies_where_a_package_and_slicer_take_it_from():
    assert STEPS.is_relative_to(Path(GenesisSegmentLib.__file__).parent)
    assert {path.suffix for path in STEPS.rglob("*") if path.is_file() and "__pycache__" not in path.parts} == {".py"}
    assert all((folder / "__init__.py").is_file() for folder in (STEPS, STEPS / "versions"))


def test_folder_and_database_of_different_stores_are_refused(tmp_path, postgresql):
    url = postgresql()
    CaseStore.open(tmp_path / "one", url).close()
    with pytest.raises(InputError, match="belongs to another case store"):
        CaseStore.open(tmp_path / "other", url)


def test_a_lost_salt_is_an_error_and_none_is_made(tmp_path, url):
    CaseStore.open(tmp_path / "cases", url).close()
    (tmp_path / "cases" / "salt").unlink()
    (tmp_path / "cases" / "blobs").mkdir(exist_ok=True)
    with pytest.raises(InputError, match="salt"):
        CaseStore.open(tmp_path / "cases", url)
    assert not (tmp_path / "cases" / "salt").exists()
