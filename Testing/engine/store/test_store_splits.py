"""Who is held out stays so: whatever comes, in whatever order, no path leads from the holdout to training."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete

from acceptance_builders import acceptance, oblique, volume
from GenesisSegmentLib.core.errors import Cancelled, HoldoutError, InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.splits import split_at
from GenesisSegmentLib.engine.store import CaseStore, ProvingRecord, TrainingRecord
from GenesisSegmentLib.engine.store.blobs import BlobStore
from GenesisSegmentLib.engine.store.database import writing
from GenesisSegmentLib.engine.store.entries import Entry, insert_entry
from GenesisSegmentLib.engine.store.patients import all_patients
from GenesisSegmentLib.engine.store.queries import records
from GenesisSegmentLib.engine.store.records import Correction
from GenesisSegmentLib.engine.store.schema import patient_aliases
from GenesisSegmentLib.engine.store.voxels import scan_keys
from store_builders import as_nifti, stored

PLACES = st.integers(0, 11)
SPLITS = st.sampled_from([None, None, None, "train", "validation", "holdout"])


def digits(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def an_entry(number: int, key: object, scan: object, ct: object) -> Entry:
    parts = (Correction("liver", digits("mask")),)
    who = (digits(f"scan {scan}"), digits(f"key {key}"), digits(f"ct {ct}"))
    return Entry(str(number), *who, (1, 1, 1), (1.0, 1.0, 1.0), "", "", "", 0.0, (), "", parts)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A store that stays empty."""
    with CaseStore.open(tmp_path_factory.mktemp("cases")) as store:
        yield store


class Undo(Exception):
    """Ends a transaction without a trace."""


@contextmanager
def undone(store):
    """A transaction of which nothing stays."""
    with suppress(Undo), writing(store._engine) as connection:
        yield connection
        raise Undo


class People:
    """Which names, scans and CTs are of one person, as far as anybody can know."""

    def __init__(self):
        self._groups: list[set] = []

    def meet(self, *names):
        met = [group for group in self._groups if group & set(names)]
        self._groups = [group for group in self._groups if group not in met] + [set(names).union(*met)]

    def of(self, name) -> frozenset:
        return next(frozenset(group) for group in self._groups if name in group)


@given(arrivals=st.lists(st.tuples(PLACES, PLACES, PLACES, SPLITS), min_size=1, max_size=40))
def test_no_person_both_teaches_and_judges_whatever_arrives(empty, arrivals):
    """Patients, scans and CTs meet at random: unknown patients, one CT under two patients, one scan with two CTs."""
    people, first_split = People(), {}
    with undone(empty) as connection:
        for number, (key, scan, ct, split) in enumerate(arrivals):
            insert_entry(connection, an_entry(number, key, scan, ct), split)
            people.meet(("key", digits(f"key {key}")), ("scan", digits(f"scan {scan}")), ("ct", digits(f"ct {ct}")))
            for patient in all_patients(connection).values():
                assert first_split.setdefault(patient.hash, patient.split) == patient.split
        teaching = records(connection, "train", TrainingRecord)
        judging = [r for s in ("validation", "holdout") for r in records(connection, s, ProvingRecord)]
    taught = {people.of(("ct", record.ct)) for record in teaching}
    assert not taught & {people.of(("ct", record.ct)) for record in judging}
    for record, other in itertools.combinations([*teaching, *judging], 2):
        is_one_person = people.of(("ct", record.ct)) == people.of(("ct", other.ct))
        assert (record.patient == other.patient) == is_one_person


def test_new_patients_take_the_places_of_the_sequence_one_after_the_other(empty):
    with undone(empty) as connection:
        splits = [insert_entry(connection, an_entry(n, n, n, n)).split for n in range(60)]
        assert splits == [split_at(n) for n in range(60)]
        taught = {record.case for record in records(connection, "train", TrainingRecord)}
        assert taught == {digits(f"scan {n}") for n in range(60) if split_at(n) == "train"}


def test_the_store_hands_out_each_split_by_its_own_door(store):
    for n in range(5):
        store.add(stored(n))
    cases = {n: stored(n).case for n in range(5)}
    assert [r.case for r in store.training()] == [cases[0], cases[1], cases[3]]
    assert [r.case for r in store.proving("holdout")] == [cases[2]]
    assert [r.case for r in store.proving("validation")] == [cases[4]]
    assert (store.counts().train, store.counts().validation, store.counts().holdout) == (3, 1, 1)
    with pytest.raises(HoldoutError, match="trained on"):
        store.proving("train")


@pytest.mark.parametrize("split", ["validation", "holdout"])
def test_a_record_of_another_split_cannot_be_made(split):
    with pytest.raises(HoldoutError, match=split):
        TrainingRecord("c", "p", split, ("liver",))
    with pytest.raises(HoldoutError):
        replace(TrainingRecord("c", "p", "train", ()), split=split)
    with pytest.raises(HoldoutError):
        ProvingRecord("c", "p", "train", ("liver",))
    assert not isinstance(ProvingRecord("c", "p", split, ()), TrainingRecord)


def test_scans_of_one_patient_stay_together(store):
    for n in range(3):
        store.add(stored(n, scan=0))
    for scan in range(1, 4):
        store.add(stored(2, scan=scan))
    assert len(store.proving("holdout")) == 4
    assert len({record.patient for record in store.proving("holdout")}) == 1


def test_a_deleted_patient_keeps_place_and_split(store):
    for n in range(3):
        store.add(stored(n))
    store.delete(stored(2).case)
    assert store.proving("holdout") == ()
    store.add(stored(2, scan=1))
    store.add(stored(3))
    assert [r.case for r in store.proving("holdout")] == [stored(2, scan=1).case]
    assert stored(3).case in {r.case for r in store.training()}


def test_a_scan_without_a_patient_that_was_held_out_keeps_its_patient_out(store):
    for n in (0, 1):
        store.add(stored(n))
    store.add(stored(2, patient=""))  # the third: holdout
    named = replace(stored(2, id="named"), case=stored(2).case)
    store.add(named)
    store.add(stored(2, scan=5))
    assert {r.case for r in store.proving("holdout")} == {named.case, stored(2, scan=5).case}


def test_a_patient_who_turns_out_to_be_held_out_teaches_no_more(store):
    store.add(stored(0))
    store.add(stored(1))
    store.add(stored(9, patient=""))  # the third: holdout
    store.add(replace(stored(9, id="it was patient 0"), patient=stored(0).patient))
    assert [r.case for r in store.training()] == [stored(1).case]
    assert [r.case for r in store.proving("holdout")] == [stored(9).case]
    left_out = [case for case in store.cases() if case.is_left_out]
    assert [(case.case, case.split) for case in left_out] == [(stored(0).case, "train")]


@pytest.mark.parametrize("is_nifti_first", [False, True])
@pytest.mark.parametrize("origin", [-172.0, -172.1625])  # as float32 the second is rounded to another thousandth
def test_a_scan_is_of_one_person_from_dicom_and_from_a_file_without_a_uid(store, tmp_path, is_nifti_first, origin):
    matrix = oblique().ijk_to_ras.copy()
    matrix[0, 3] = origin
    scan = acceptance(volume(Geometry(oblique().shape, matrix)))
    for n in (0, 1):
        store.add(stored(n))  # the next is held out
    outbox = Outbox(tmp_path / "outbox", store.salt)
    for each in (as_nifti(scan), scan) if is_nifti_first else (scan, as_nifti(scan)):
        outbox.put(each)
    assert store.ingest(outbox).added == 2
    judging = store.proving("holdout")
    assert len(judging) == 2
    assert len({record.patient for record in judging}) == 1
    assert {record.case for record in store.training()} == {stored(0).case, stored(1).case}


@pytest.fixture
def of_before(store):
    """A store in which two scans of patients 0 and 1 teach and one of patient 2 is held out, as an older version left
    it: scans without the hashes of their voxels."""
    for n in range(3):
        store.add(stored(n))
    keys = [key for n in range(3) for key in scan_keys(stored(n).acceptance.volume, store.salt)]
    with writing(store._engine) as connection:
        gone = connection.execute(delete(patient_aliases).where(patient_aliases.c.hash.in_(keys)))
    assert gone.rowcount == len(keys) == 6
    return store


def taken_in(store, folder, *acceptances) -> None:
    outbox = Outbox(folder / "outbox", store.salt)
    for each in acceptances:
        outbox.put(each)
    assert store.ingest(outbox).added == len(acceptances)


def test_scans_of_an_older_version_are_known_by_their_voxels_when_something_is_accepted(of_before, tmp_path):
    taken_in(of_before, tmp_path, as_nifti(stored(2).acceptance))
    judging = of_before.proving("holdout")
    assert len(judging) == 2
    assert len({record.patient for record in judging}) == 1


def test_copies_that_came_in_before_are_found_to_be_of_one_person(of_before, tmp_path):
    copy = stored(3).acceptance
    of_before.add(replace(stored(3), acceptance=replace(copy, volume=as_nifti(stored(2).acceptance).volume)))
    assert stored(3).case in {record.case for record in of_before.training()}
    taken_in(of_before, tmp_path)
    assert {record.case for record in of_before.training()} == {stored(0).case, stored(1).case}


def test_a_damaged_scan_of_an_older_version_stops_nothing(of_before, tmp_path):
    damaged = of_before._blobs.path(of_before.case(stored(1).case).ct)
    damaged.write_bytes(b"?")
    taken_in(of_before, tmp_path, as_nifti(stored(2).acceptance))
    assert len({record.patient for record in of_before.proving("holdout")}) == 1
    assert of_before.verify().damaged == (of_before.case(stored(1).case).ct,)


def test_all_scans_are_read_once_for_that_and_after_a_cancel_again(of_before, tmp_path, monkeypatch):
    read, real = [], BlobStore.read
    monkeypatch.setattr(BlobStore, "read", lambda blobs, name: (read.append(name), real(blobs, name))[1])
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        of_before.ingest(Outbox(tmp_path / "outbox", of_before.salt), job)
    assert read == []
    for _again in range(2):
        taken_in(of_before, tmp_path)
        assert len(read) == 3


@pytest.mark.parametrize("what", ["case", "patient"])
def test_names_that_are_no_hashes_are_not_kept(store, what):
    with pytest.raises(InputError, match="no hashes"):
        store.add(replace(stored(0), **{what: "../../victim"}))
    assert store.cases() == ()
