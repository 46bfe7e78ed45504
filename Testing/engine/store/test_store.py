"""What is accepted is kept, once, and comes back as it was; on SQLite and on PostgreSQL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import create_engine, make_url

from acceptance_builders import PATIENT, SERIES, acceptance, oblique, of_two_models, volume
from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.home import HOME_VARIABLE, STORE_VARIABLE, store_folder
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.store import (
    DATABASE_VARIABLE,
    CaseStore,
    TrainingRecord,
)
from GenesisSegmentLib.engine.store.entries import Entry
from GenesisSegmentLib.engine.store.records import Correction, StoreCounts
from store_builders import a_round, all_bytes, same_masks, stored


def test_what_the_outbox_holds_comes_back_voxel_for_voxel_on_an_oblique_grid(store, tmp_path):
    outbox, given = Outbox(tmp_path / "outbox", store.salt), acceptance()
    outbox.put(given)
    report = store.ingest(outbox)
    assert (report.added, report.before, report.damaged) == (1, 0, ())
    assert outbox.pending() == ()
    (record,) = store.training()
    kept = store.volume(record)
    assert np.array_equal(kept.voxels, given.volume.voxels)
    assert kept.voxels.dtype == np.int16
    assert np.array_equal(kept.geometry.ijk_to_ras, given.volume.geometry.ijk_to_ras)
    assert record.labels == ("gall_bladder", "liver", "soft tissue sarcoma", "spleen")
    assert same_masks(store, record, given)
    assert not store.mask(record, "gall_bladder").any()
    assert record.correction("liver").changed_voxels == given.classes[0].changed_voxels
    assert record.correction("soft tissue sarcoma").changed == ""
    assert record.models == ("starter",)


def test_a_case_tells_how_it_came_about(store):
    store.add(stored(1, labels=("liver", "spleen"), seconds=93.5, tools=("Paint", "Erase"), model_sha256="5" * 64))
    detail = store.case(store.cases()[0].case[:8])
    assert detail.summary.shape == (5, 4, 3)
    assert detail.summary.spacing == pytest.approx((0.8, 0.9, 2.5))
    (one,) = detail.acceptances
    assert (one.seconds, one.tools, one.model_sha256) == (93.5, ("Paint", "Erase"), "5" * 64)
    assert set(one.changed_voxels) == {"liver", "spleen"}


@pytest.mark.parametrize("model", ["starter", "{odd}", ""])
def test_each_class_tells_which_model_proposed_it(store, tmp_path, model):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    outbox.put(of_two_models(model=model))
    store.ingest(outbox)
    (record,) = store.training()
    models = {c.label: (c.model, c.model_sha256) for c in record.corrections}
    expected = {"liver": ("starter", "5" * 64), "spleen": ("v3", "3" * 64), "soft tissue sarcoma": (model, "5" * 64)}
    assert models == expected
    assert set(record.models) == {"starter", "v3", model} - {""}
    (one,) = store.case(record.case).acceptances
    assert (one.model, one.model_sha256) == (model, "5" * 64)
    assert one.models == {label: name for label, (name, _) in expected.items()}
    assert store.verify().is_sound


def test_rows_of_every_version_are_found_whole():
    """What the digest of a row is made of must never change: all stores and archives of before would seem damaged."""
    corrections = (
        Correction("liver", "a" * 64, "b" * 64, 9, 2, "starter", "5" * 64, "2026-11-21T12:00:00.000000+00:00"),
        Correction("x", "c" * 64, times=3),
    )
    names = ("id", "d" * 64, "e" * 64, "f" * 64)
    how = ("2026-11-21T12:00:00.000000+00:00", "starter", "5" * 64, 9.5, ("Paint",), "0.1.0")
    entry = Entry(*names, (7, 6, 5), (0.8, 0.9, 2.5), *how, corrections)
    assert entry.digest == "f53aa6e6455fecd5fc9b1a60cb52f30aef65f2275770f6e5407211316f9bfb64"


def test_the_models_of_the_classes_travel_with_an_archive(store, tmp_path):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    outbox.put(of_two_models())
    store.ingest(outbox)
    archive = store.export_archive(tmp_path / "cases.zip")
    with CaseStore.open(tmp_path / "other") as other:
        other.import_archive(archive)
        assert other.training()[0].corrections == store.training()[0].corrections
        assert other.verify().is_sound


def test_an_unknown_and_an_ambiguous_case_are_refused(store):
    first = stored(1).case[0]
    twin = next(n for n in range(2, 1000) if stored(n).case[0] == first)
    for n in (1, twin):
        store.add(stored(n))
    with pytest.raises(InputError, match='no case "zz"'):
        store.case("zz")
    with pytest.raises(InputError, match="Several cases"):
        store.case(first)


def test_adding_the_same_again_changes_nothing(store):
    assert store.add(stored(1)) is True
    before = store.case(store.cases()[0].case)
    assert store.add(stored(1)) is False
    assert store.case(before.summary.case) == before
    assert store.counts() == StoreCounts(1, 1, 1, 0, 0)


def test_another_acceptance_of_the_same_scan_is_the_same_case(store):
    store.add(stored(1, seed=1))
    store.add(stored(1, seed=2))
    assert store.counts() == StoreCounts(1, 2, 1, 0, 0)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_the_mask_that_was_accepted_last_counts_in_whatever_order_they_arrive(store, order):
    times = {1: "2026-11-21T23:30:00+00:00", 2: "2026-11-22T00:00:00+01:00"}  # the second is the earlier one
    given = {n: stored(1, seed=n, accepted=times[n]) for n in order}
    for n in order:
        store.add(given[n])
    (record,) = store.training()
    assert same_masks(store, record, given[1].acceptance)
    assert record.accepted == times[1]


def test_of_two_accepted_in_the_same_moment_the_one_that_arrived_last_counts(store):
    for seed in (1, 2):
        store.add(stored(1, seed=seed))
    (record,) = store.training()
    assert same_masks(store, record, stored(1, seed=2).acceptance)


def test_a_class_that_was_reviewed_earlier_stays_reviewed(store):
    store.add(stored(1, seed=1, labels=("liver", "spleen")))
    store.add(stored(1, seed=2, labels=("spleen",), accepted="2026-11-22T12:00:00+00:00"))
    (record,) = store.training()
    assert record.labels == ("liver", "spleen")
    liver, _ = stored(1, seed=1, labels=("liver", "spleen")).acceptance.classes
    assert np.array_equal(store.mask(record, "liver"), liver.mask)
    assert same_masks(store, record, stored(1, seed=2, labels=("spleen",)).acceptance)


def test_a_class_that_nobody_reviewed_has_no_mask(store):
    store.add(stored(1))
    with pytest.raises(KeyError):
        store.mask(store.training()[0], "spleen")


def test_other_voxels_under_the_same_uid_are_a_case_of_their_own_with_the_same_patient(store):
    one = stored(1)
    cropped = volume(oblique((4, 4, 3)), seed=7)
    classes = (AcceptedClass("liver", np.ones((4, 4, 3), bool)),)
    store.add(one)
    store.add(replace(one, acceptance=Acceptance("other", cropped, classes)))
    first, second = store.training()
    assert (first.patient, first.split) == (second.patient, second.split)
    assert first.case != second.case
    assert store.volume(second).geometry.shape == store.mask(second, "liver").shape == (4, 4, 3)


def test_the_same_content_is_kept_once(store):
    store.add(stored(1, seed=1))
    files = sorted((store.folder / "blobs").rglob("*.z"))
    store.add(replace(stored(1, seed=1), acceptance=replace(stored(1, seed=1).acceptance, id="again")))
    assert sorted((store.folder / "blobs").rglob("*.z")) == files


def test_no_byte_of_the_store_names_scan_patient_file_or_description(store, tmp_path, url):
    named = volume(name="Jane Doe abdomen", description="DOE J., portal venous")
    outbox = Outbox(tmp_path / "outbox", store.salt)
    outbox.put(acceptance(named))
    store.ingest(outbox)
    content = all_bytes(store.folder)
    if url is not None:
        engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            tables = ("patients", "patient_aliases", "cases", "acceptances", "corrections", "rounds", "marks")
            rows = [connection.exec_driver_sql(f"SELECT * FROM {table}").all() for table in tables]
        content += repr(rows).encode()
        engine.dispose()
    assert store.cases()[0].case.encode() in content
    for secret in (PATIENT, SERIES, "Jane", "portal"):
        assert secret.encode() not in content
        assert secret.encode("utf-16-le") not in content


def test_voxels_of_another_type_are_refused(store):
    one = stored(1)
    float_ct = Volume(one.acceptance.volume.voxels.astype(np.float32), one.acceptance.volume.geometry, Source(None, ""))
    with pytest.raises(InputError, match="float32"):
        store.add(replace(one, acceptance=replace(one.acceptance, volume=float_ct)))
    assert store.cases() == ()


def test_rounds_come_back_as_they_were_saved_last(store):
    assert store.rounds() == ()
    store.save_round(a_round("r1"))
    store.save_round(a_round("r2", settings={"mode": "head"}))
    ended = a_round("r1", state="promoted", reason="better", version="v2", steps=40, ended="2026-11-21T12:30:00+00:00")
    store.save_round(ended)
    assert store.rounds() == (ended, a_round("r2", settings={"mode": "head"}))


def test_fresh_are_those_that_a_round_could_not_see(store):
    assert store.fresh_since(None) == 0
    store.add(stored(1))
    store.add(stored(2))
    assert store.fresh_since(None) == 2
    running = a_round()
    store.save_round(running)
    assert store.fresh_since(running) == 0
    store.add(stored(3))
    store.save_round(replace(running, state="rejected", ended="2026-11-21T13:00:00+00:00"))
    assert store.fresh_since(running) == 1
    before_all = a_round("late", state="failed", started="2020-01-01T00:00:00+00:00")
    store.save_round(before_all)
    assert store.fresh_since(before_all) == 3


def test_a_store_can_be_opened_again(tmp_path, url):
    with CaseStore.open(tmp_path / "cases", url) as store:
        store.add(stored(1))
    with CaseStore.open(tmp_path / "cases", url) as store:
        assert [type(record) for record in store.training()] == [TrainingRecord]
        assert same_masks(store, store.training()[0], stored(1).acceptance)


def test_this_persons_store_lies_where_the_environment_says(tmp_path, url, monkeypatch):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.delenv(STORE_VARIABLE, raising=False)
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    assert store_folder() == tmp_path / "cases"
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / "elsewhere"))
    if url is not None:
        monkeypatch.setenv(DATABASE_VARIABLE, url)
    with CaseStore.open_default() as store:
        store.add(stored(1))
    assert (tmp_path / "elsewhere" / "cases.sqlite").is_file() == (url is None)
    with CaseStore.open(tmp_path / "elsewhere", url) as store:
        assert store.counts().cases == 1
    with CaseStore.open(tmp_path / "third") as store:  # no shared database by accident
        assert store.counts().cases == 0
