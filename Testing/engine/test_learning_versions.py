"""Versions appear whole, are switched in one step, and there is a way back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import ModelError, OutputError
from GenesisSegmentLib.engine.learning.versions import KEPT, VersionStore
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.worker.models import listed
from GenesisSegmentLib.worker.warm import WarmModels
from version_builders import ENTRY, a_version, fill


def add(store: VersionStore, count: int = 1, **changes) -> list[str]:
    return [store.add(a_version(**changes), fill()).name for _ in range(count)]


@pytest.fixture
def store(tmp_path) -> VersionStore:
    return VersionStore(tmp_path / "versions")


def test_a_version_is_read_back_as_it_was_added(store):
    added = store.add(a_version(cases=("a", "b"), note="a note", round="r1"), fill())
    assert added.name == "v1"
    assert VersionStore(store.folder).versions() == (added,)
    assert store.path_of(added).read_bytes() == b"weights"


def test_nothing_is_current_until_a_version_is_used(store):
    add(store)
    assert store.current() is None
    assert store.use("v1").name == "v1"
    assert store.current().name == "v1"


def test_rollback_goes_back_step_by_step(store):
    add(store, 2)
    store.use("v1")
    store.use("v2")
    assert store.rollback().name == "v1"
    assert store.rollback() is None
    assert store.current() is None
    with pytest.raises(ModelError, match="no model to go back to"):
        store.rollback()


def test_using_what_is_in_use_changes_nothing(store):
    add(store)
    store.use("v1")
    store.use("v1")
    assert store.rollback() is None


def test_a_rejected_version_cannot_be_used(store):
    add(store, state="rejected")
    with pytest.raises(ModelError, match="rejected"):
        store.use("v1")
    assert store.current() is None


def test_a_version_without_classes_of_the_table_cannot_be_used(store):
    add(store, facts=replace(ENTRY.facts, offered=()))
    with pytest.raises(ModelError, match="structures of your own"):
        store.use("v1")
    assert not store["v1"].is_offered
    assert store.resolve("v1").name == "v1", "it can be learned further, and asked for by its name"


def test_a_damaged_file_is_neither_resolved_nor_switched_on(store):
    add(store)
    store.path_of(store["v1"]).write_bytes(b"weighty")
    with pytest.raises(ModelError, match="damaged"):
        store.resolve("v1")
    with pytest.raises(ModelError, match="damaged"):
        store.use("v1")


def test_what_is_not_the_described_file_is_not_kept(store):
    with pytest.raises(ModelError, match="changed"):
        store.add(a_version(b"other"), fill())
    assert store.versions() == ()


def test_the_version_of_a_round_is_added_once(store):
    first = store.add(a_version(round="r1"), fill())
    assert store.add(a_version(round="r1"), fill()) == first
    assert len(store.versions()) == 1


def test_a_round_promotes_once_so_that_a_way_back_taken_since_stays(store):
    add(store)
    assert store.promote("v1", "r1", rival="")
    store.rollback()
    assert store.promote("v1", "r1", rival="")
    assert store.current() is None


def test_a_round_promotes_only_in_the_place_of_what_it_was_compared_with(store):
    add(store, 2)
    store.use("v1")
    assert not store.promote("v2", "r2", rival="")
    assert (store.current().name, store["v2"].state) == ("v1", "unproven")
    store.rollback()
    assert not store.promote("v2", "r2", rival=""), "a trial stays one when the round is run again"
    assert store.current() is None


def test_the_last_five_are_kept_and_the_current_one_with_its_parent(store):
    add(store, 2)
    add(store, parent="v1")
    store.use("v3")
    add(store, KEPT + 1)
    assert [v.name for v in store.versions()] == ["v1", "v3", "v5", "v6", "v7", "v8", "v9"]


def test_a_name_is_never_given_twice(store):
    add(store)
    for path in sorted((store.folder / "v1").iterdir()):
        path.unlink()
    (store.folder / "v1").rmdir()
    assert add(store) == ["v2"]


def test_an_unwritable_folder_is_told_and_leaves_nothing(store, monkeypatch):
    add(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="disk is full"):
        store.add(a_version(), full)
    assert sorted(p.name for p in store.folder.iterdir() if p.is_dir()) == ["v1"]


def test_a_trial_says_so_and_carries_its_licence(store):
    add(store, state="unproven", note="Adapted from Starter.")
    model = store.resolve("v1")
    assert model.notes[0] == "v1 is a trial: it is not proven to be better than the model that was in use before."
    assert model.notes[1] == "Adapted from Starter."
    assert model.licence == ENTRY.licence


def test_the_model_store_knows_versions_and_which_is_current(store, tmp_path):
    models = ModelStore(tmp_path, load_catalogue(), versions=store)
    assert models.resolve("current").name == "starter"
    add(store)
    assert models.resolve("v1").name == "v1"
    store.use("v1")
    assert models.resolve("current").name == "v1"
    with pytest.raises(ModelError, match='no model "v9"'):
        models.resolve("v9")


def test_a_warm_worker_follows_a_switch(store, tmp_path):
    warm = WarmModels(lambda: ModelStore(tmp_path, load_catalogue(), versions=store))
    assert warm.resolve("current").name == "starter"
    add(store)
    store.use("v1")
    assert warm.resolve("current").name == "v1"
    store.rollback()
    assert warm.resolve("current").name == "starter"


def test_the_worker_lists_versions_and_the_current_one(store, tmp_path):
    models = ModelStore(tmp_path, load_catalogue(), versions=store)
    before = [m.id for m in listed("1", models).models]
    add(store)
    add(store, state="rejected")
    add(store, state="unproven")
    assert [m.id for m in listed("1", models).models] == [*before, "v3", "v1"]
    store.use("v1")
    found = listed("1", models).models
    assert found[0].id == "current"
    assert found[0].title == "Current model (v1)"
    assert "trial" in next(m.note for m in found if m.id == "v3")


KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from version_builders import a_version, fill
from GenesisSegmentLib.engine.learning.versions import VersionStore
store = VersionStore(Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n += 1
    version = store.add(a_version(round=str(n)), fill())
    current = store.current()
    store.promote(version.name, str(n), current.name if current else "")
"""


def test_kill_leaves_whole_versions_and_a_current_one_that_is_there(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parents[1])]
    for wait_s in (0.05, 0.21, 0.4):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        process.stdout.readline()
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        store = VersionStore(tmp_path)
        for version in store.versions():
            assert store.resolve(version.name).sha256 == version.sha256
        current = store.current()
        assert current is None or current in store.versions()
    assert store.versions()
    assert json.loads((tmp_path / "current.json").read_text())["version"]
