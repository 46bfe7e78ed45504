"""Cases travel in one file: whole, checked, and without leading anybody from the holdout into training."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import pytest

from acceptance_builders import rewriting
from GenesisSegmentLib.core.errors import InputError, OutputError
from GenesisSegmentLib.core.identity import hashed
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.engine.store import CaseStore
from store_builders import as_nifti, same_masks, stored

MANIFEST = "manifest.json"


@pytest.fixture
def full_archive(tmp_path):
    """An archive of five patients of another store, the third of them held out; its salt is not ours."""
    with CaseStore.open(tmp_path / "theirs") as store:
        for n in range(5):
            store.add(stored(n, labels=("liver", "my own")))
        return store.export_archive(tmp_path / "cases.zip")


def splits(store: CaseStore) -> dict[str, str]:
    return {case.case: case.split for case in store.cases()}


def locally(number: int, **changes):
    """The same scan as seen by this store, whose salt gives other hashes."""
    one = stored(number, **changes)
    return replace(one, case=hashed(b"ours", one.case), patient=hashed(b"ours", one.patient))


def test_an_archive_gives_back_every_mask_and_split(store, full_archive):
    report = store.import_archive(full_archive)
    assert (report.added, report.before, report.cases, report.notes) == (5, 0, 5, ())
    assert splits(store) == {
        stored(n).case: split for n, split in enumerate(("train", "train", "holdout", "train", "validation"))
    }
    (held_out,) = store.proving("holdout")
    assert same_masks(store, held_out, stored(2, labels=("liver", "my own")).acceptance)
    assert store.verify().is_sound


def test_importing_twice_adds_nothing(store, full_archive):
    store.import_archive(full_archive)
    before = store.cases()
    report = store.import_archive(full_archive)
    assert (report.added, report.before) == (0, 5)
    assert store.cases() == before


def test_patients_from_elsewhere_take_no_places_of_the_sequence(store, full_archive):
    store.import_archive(full_archive)
    for n in range(10, 13):
        store.add(locally(n))
    assert [splits(store)[locally(n).case] for n in range(10, 13)] == ["train", "train", "holdout"]


def test_who_is_known_by_a_scan_keeps_the_split_of_here_and_the_difference_is_told(store, full_archive):
    store.add(locally(2))  # held out there, the first here: train
    report = store.import_archive(full_archive)
    assert len(report.notes) == 1
    assert "is holdout there and train here; here it stays so" in report.notes[0]
    assert splits(store)[locally(2).case] == "train"
    assert len(store.cases()) == 5
    assert store.proving("holdout") == ()


def test_a_scan_that_was_held_out_there_is_held_out_when_it_is_accepted_here_later(store, full_archive):
    store.import_archive(full_archive)
    store.add(locally(2, id="ours"))
    store.add(locally(2, scan=7, id="another scan of the patient"))
    assert len(store.cases()) == 6
    assert {r.case for r in store.proving("holdout")} == {stored(2).case, locally(2, scan=7).case}
    assert len({r.patient for r in store.proving("holdout")}) == 1


def test_a_choice_of_cases_can_be_exported(store, full_archive, tmp_path):
    store.import_archive(full_archive)
    chosen = [stored(2).case[:10], stored(0).case]
    path = store.export_archive(tmp_path / "two.zip", chosen)
    with CaseStore.open(tmp_path / "third") as third:
        third.import_archive(path)
        assert splits(third) == {stored(0).case: "train", stored(2).case: "holdout"}
        assert third.verify().is_sound


def test_the_salt_does_not_travel(tmp_path, full_archive):
    salt = (tmp_path / "theirs" / "salt").read_bytes()
    with zipfile.ZipFile(full_archive) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert salt[:32] not in content
    assert salt[:32].hex().encode() not in content


@pytest.mark.parametrize("what", ["mask", "manifest", "end", "other file", "member", "no file"])
def test_a_damaged_archive_is_refused_and_adds_nothing(store, full_archive, what):
    content = full_archive.read_bytes()
    if what == "mask":
        with rewriting(full_archive) as members:
            names = [name for name in members if name.startswith("blobs/")]
            members[names[0]] = members[names[1]]  # a sound file under the name of another
    elif what == "manifest":
        with rewriting(full_archive) as members:
            members[MANIFEST] = members[MANIFEST].replace(b'"holdout"', b'"train"')
    elif what == "end":
        full_archive.write_bytes(content[:-200])
    elif what == "other file":
        full_archive.write_bytes(b"no archive")
    elif what == "member":
        with zipfile.ZipFile(full_archive, "w") as archive:
            archive.writestr("notes.txt", "hello")
    else:
        full_archive.unlink()
    with pytest.raises(InputError):
        store.import_archive(full_archive)
    assert store.cases() == ()
    assert store.verify().is_sound


def test_an_archive_of_a_newer_version_is_refused(store, full_archive):
    with rewriting(full_archive, MANIFEST) as members:
        members[MANIFEST] = json.dumps({**json.loads(members[MANIFEST]), "format": 99}).encode()
    with pytest.raises(InputError, match="newer version"):
        store.import_archive(full_archive)


@pytest.mark.parametrize("what", ["case", "patient", "split"])
@pytest.mark.parametrize("name", ["../../victim", "", "A" * 64, "a" * 64 + "\n"])
def test_an_archive_whose_names_would_lead_to_other_folders_is_refused(store, full_archive, what, name):
    with rewriting(full_archive, MANIFEST) as members:
        manifest = json.loads(members[MANIFEST])
        if what != "case":
            manifest["splits"][name] = "train"
        if what != "split":
            manifest["entries"][0][what] = name  # the digests of acceptances leave both out
        members[MANIFEST] = json.dumps(manifest).encode()
    with pytest.raises(InputError, match="damaged"):
        store.import_archive(full_archive)
    assert store.cases() == ()


def test_who_turned_out_to_be_held_out_teaches_nowhere_else(store, tmp_path):
    with CaseStore.open(tmp_path / "theirs") as theirs:
        theirs.add(stored(0))
        theirs.add(stored(1))
        theirs.add(stored(9, patient=""))  # the third: holdout
        theirs.add(replace(stored(9, id="it was patient 0"), patient=stored(0).patient))
        path = theirs.export_archive(tmp_path / "cases.zip")
        alone = theirs.export_archive(tmp_path / "alone.zip", [stored(0).case])
    with CaseStore.open(tmp_path / "third") as third:
        third.import_archive(alone)
        assert third.training() == ()
    store.import_archive(path)
    assert [record.case for record in store.training()] == [stored(1).case]
    judging = store.proving("holdout")
    assert {record.case for record in judging} == {stored(0).case, stored(9).case}
    assert len({record.patient for record in judging}) == 1


def test_a_scan_that_was_held_out_there_is_known_here_from_a_file_of_another_format(store, full_archive, tmp_path):
    store.import_archive(full_archive)
    outbox = Outbox(tmp_path / "outbox", store.salt)
    outbox.put(as_nifti(stored(2).acceptance))
    store.ingest(outbox)
    assert len(store.cases()) == 6
    assert len(store.proving("holdout")) == 2


def test_what_was_deleted_here_comes_back_with_an_archive_that_the_person_imports(store, full_archive):
    store.import_archive(full_archive)
    store.delete(stored(2).case)
    assert store.proving("holdout") == ()
    report = store.import_archive(full_archive)
    assert (report.added, report.before) == (1, 4)
    assert [r.case for r in store.proving("holdout")] == [stored(2).case]
    assert store.verify().is_sound


def test_damage_is_not_exported(store, tmp_path):
    store.add(stored(1))
    path = next((store.folder / "blobs").rglob("*.z"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        store.export_archive(tmp_path / "cases.zip")
    assert not (tmp_path / "cases.zip").exists()


def test_nothing_to_export_and_nowhere_to_write_are_said(store, tmp_path):
    with pytest.raises(InputError, match="no case"):
        store.export_archive(tmp_path / "cases.zip")
    store.add(stored(1))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        store.export_archive(tmp_path / "file" / "cases.zip")
