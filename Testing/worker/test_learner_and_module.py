"""What the module and the process that learns must agree on: the outbox, the store, the versions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acceptance_builders import acceptance
from GenesisSegmentLib.core.home import HOME_VARIABLE, STORE_VARIABLE, store_folder, versions_folder
from GenesisSegmentLib.core.kept import KeptCorrections
from GenesisSegmentLib.core.learning_messages import Ingest, Ingested, LearningState, LearningStatus
from GenesisSegmentLib.core.protocol import new_id
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models, learned_models
from GenesisSegmentLib.worker.models import listed


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The data folder that the processes of these tests have too."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(STORE_VARIABLE, raising=False)
    return tmp_path / "home"


def test_what_slicer_accepted_the_learner_takes_into_its_store(home, opened):
    pytest.importorskip("sqlalchemy")
    corrections = KeptCorrections()
    assert not corrections.has_any()
    paths = [corrections.put(acceptance(id=i, patient=p)) for i, p in (("a", "1"), ("b", "1"))]
    paths[1].write_bytes(paths[1].read_bytes()[:-1])
    learner = opened("-m", "GenesisSegmentLib.worker.learner")
    taken = learner.ask(Ingest(new_id(), str(corrections.folder)))
    assert isinstance(taken, Ingested), taken
    assert (taken.added, taken.before, taken.damaged) == (1, 0, (f"{paths[1].name}.damaged",))
    assert corrections.count_waiting() == 0
    assert corrections.has_any()
    state = learner.ask(LearningStatus(new_id()))
    assert isinstance(state, LearningState), state
    assert (state.cases, state.corrections) == (1, 1)
    corrections.put(acceptance(id="a", patient="1"))  # the same once more
    again = learner.ask(Ingest(new_id(), str(corrections.folder)))
    assert (again.added, again.before) == (0, 1)


def test_both_sides_mean_the_same_folder(home, monkeypatch, tmp_path):
    pytest.importorskip("sqlalchemy")
    from GenesisSegmentLib.engine.store import CaseStore

    for folder in (home / "cases", tmp_path / "shared"):
        with CaseStore.open_default() as store:
            assert store.folder == store_folder() == folder
        monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "shared"))


def test_versions_are_named_by_slicer_as_by_the_worker(home):
    from GenesisSegmentLib.engine.learning.channels import Channels
    from GenesisSegmentLib.engine.learning.versions import VersionStore
    from GenesisSegmentLib.engine.models.store import ModelStore
    from version_builders import ENTRY, a_version, fill

    store = VersionStore.of_this_person()
    assert store.folder == versions_folder()
    assert learned_models(versions_folder()) == ()
    for state in ("promoted", "rejected", "unproven"):
        labels = Channels.of_classes(ENTRY.facts.classes, ("soft tissue sarcoma",)).labels
        store.add(a_version(state=state, labels=labels), fill())
    knows_nothing_else = replace(ENTRY.facts, offered=(), own=("soft tissue sarcoma",))
    store.add(a_version(state="unproven", facts=knows_nothing_else, labels=labels), fill())
    store.use("v1")
    ours, known = learned_models(versions_folder()), {info.id for info in catalogue_models()}
    every = listed("", ModelStore.of_this_person()).models
    theirs = [info for info in every if info.id not in known and info.usable_for == "segmentation"]
    plain = (
        "id",
        "title",
        "purpose",
        "state",
        "offered",
        "is_onnx",
        "licence",
        "licence_summary",
        "clinical_use",
        "own",
    )
    assert [[getattr(i, n) for n in plain] for i in ours] == [[getattr(i, n) for n in plain] for i in theirs]
    assert [info.id for info in ours] == ["current", "v4", "v3", "v1"]
    assert ours[0].own == ("soft tissue sarcoma",)
