"""Full disks, folders that cannot be written, damage, and processes that die or work at the same time."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

import GenesisSegmentLib
from acceptance_builders import acceptance
from GenesisSegmentLib.core.errors import Cancelled, GenesisError, InputError, OutputError, ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.splits import split_at
from GenesisSegmentLib.engine.store import CaseStore, database
from GenesisSegmentLib.engine.store.blobs import BlobStore
from GenesisSegmentLib.engine.store.database import writing
from GenesisSegmentLib.engine.store.voxels import Content
from store_builders import same_masks, stored

needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs signals and limits that Windows lacks")
PLACES = [str(Path(GenesisSegmentLib.__file__).parents[1]), str(Path(__file__).parents[2])]
LIBRARIES = {**os.environ, "PYTHONPATH": os.pathsep.join(PLACES)}


def blobs_of(store: CaseStore) -> list[Path]:
    return sorted((store.folder / "blobs").rglob("*.z"))


def run_child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=LIBRARIES, capture_output=True, text=True, check=False, timeout=120)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_said_adds_nothing_and_keeps_the_outbox(store, tmp_path, monkeypatch):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    path = outbox.put(acceptance())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="the disk is full"):
            store.ingest(outbox)
    assert outbox.pending() == (path,)
    assert store.cases() == ()
    assert store.ingest(outbox).added == 1
    assert store.verify().is_sound


@needs_posix
def test_a_limit_of_the_system_on_file_sizes_is_said_and_leaves_the_store_whole(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from acceptance_builders import acceptance, oblique, volume
from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.outbox import StoredAcceptance
from GenesisSegmentLib.engine.store import CaseStore
from store_builders import stored
with CaseStore.open(Path(sys.argv[1])) as store:
    store.add(stored(1))
    large = StoredAcceptance(acceptance(volume(oblique((40, 40, 40)))), "c" * 64, "d" * 64)
    for limit in (1, 4096, 40_000, 80_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            store.add(large)
        except OutputError as error:
            print(error.what)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert len(store.cases()) == 1, limit
        assert store.verify().is_sound
    print(store.add(large))
"""
    done = run_child(code, tmp_path / "cases")
    assert done.returncode == 0, done.stderr
    *said, added = done.stdout.splitlines()
    assert added == "True"
    assert len(said) == 4, done.stdout
    assert any("larger than this disk" in line for line in said)
    assert any("database" in line for line in said)


@pytest.fixture
def open_folder():
    """A folder that every user of this machine can get to."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@needs_posix
@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_may_not_be_written_is_said(open_folder, is_there):
    if is_there:
        with CaseStore.open(open_folder / "cases") as store:
            store.add(stored(1))
    code = """
import os, sys
from pathlib import Path
from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.engine.store import CaseStore
from store_builders import stored
folder = Path(sys.argv[1])
for path in (folder.parent, *folder.parent.rglob("*")):
    path.chmod(0o555 if path.is_dir() else 0o444)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    with CaseStore.open(folder) as store:
        store.add(stored(2))
except OutputError as error:
    print(error)
"""
    done = run_child(code, open_folder / "cases")
    for path in (open_folder, *open_folder.rglob("*")):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "permission" in done.stdout, done.stdout


def test_a_damaged_blob_is_found_by_reading_and_by_verify_and_mended_by_accepting_again(store):
    store.add(stored(1))
    store.add(stored(2))
    first, second = store.training()
    path = BlobStore(store.folder / "blobs").path(first.correction("liver").mask)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        store.mask(first, "liver")
    report = store.verify()
    assert report.damaged == (first.correction("liver").mask,)
    assert report.cases == (first.case,)
    assert not report.is_sound
    assert same_masks(store, second, stored(2).acceptance)
    store.add(stored(1, id="again"))
    assert store.verify().is_sound
    assert same_masks(store, first, stored(1).acceptance)


def test_a_file_with_the_content_of_another_is_found(store):
    store.add(stored(1, labels=("liver", "spleen")))
    (record,) = store.training()
    blobs = BlobStore(store.folder / "blobs")
    liver, spleen = (record.correction(label).mask for label in ("liver", "spleen"))
    blobs.path(liver).write_bytes(blobs.path(spleen).read_bytes())
    with pytest.raises(InputError, match="damaged"):
        store.mask(record, "liver")
    assert store.verify().damaged == (liver,)


def test_a_missing_blob_is_found(store):
    store.add(stored(1))
    (record,) = store.training()
    BlobStore(store.folder / "blobs").path(record.ct).unlink()
    with pytest.raises(InputError, match="lacks"):
        store.volume(record)
    report = store.verify()
    assert (report.missing, report.cases, report.is_sound) == ((record.ct,), (record.case,), False)


@given(data=st.data(), content=st.binary(max_size=300))
@settings(max_examples=60)
def test_reading_gives_what_was_put_in_or_an_error_however_the_file_is_damaged(tmp_path_factory, data, content):
    blobs = BlobStore(tmp_path_factory.mktemp("blobs"))
    name = blobs.put(Content(b"header\n", memoryview(content)))
    whole = blobs.path(name).read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    change = data.draw(st.sampled_from(["flip", "cut", "insert", "append"]))
    damaged = {
        "flip": whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :],
        "cut": whole[:place],
        "insert": whole[:place] + b"x" + whole[place:],
        "append": whole + b"x",
    }[change]
    blobs.path(name).write_bytes(damaged)
    if change == "append":  # the content is whole, the file is not
        assert not blobs.is_sound(name)
    try:
        assert blobs.read(name) == b"header\n" + content
        assert blobs.is_sound(name)
    except InputError:
        assert not blobs.is_sound(name)
        assert blobs.put(Content(b"header\n", memoryview(content))) == name
        assert blobs.read(name) == b"header\n" + content


def test_blobs_that_no_case_needs_are_found_and_cleared_away(store):
    store.add(stored(1))
    before = blobs_of(store)
    orphan = BlobStore(store.folder / "blobs").put(Content(b"nobody\n", memoryview(b"needs me")))
    (store.folder / "blobs" / "notes.txt").write_text("mine")
    report = store.verify()
    assert report.orphaned == (orphan,)
    assert report.foreign == ("notes.txt",)
    assert report.is_sound
    assert blobs_of(store) == before
    assert (store.folder / "blobs" / "notes.txt").exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE corrections SET label = 'liver_tumor' WHERE label = 'liver'",
        "UPDATE corrections SET voxels = voxels + 1",
        "UPDATE acceptances SET accepted = '2027-01-01T00:00:00+00:00'",
        "UPDATE acceptances SET model = 'other'",
        "DELETE FROM corrections WHERE label = 'spleen'",
        "UPDATE patients SET split = 'holdout'",
    ],
)
def test_a_row_that_does_not_say_what_was_written_is_found(store, change):
    store.add(stored(1, labels=("liver", "spleen")))
    assert store.verify().is_sound
    with writing(store._engine) as connection:
        connection.execute(text(change))
    report = store.verify()
    assert len(report.rows) == 1
    assert not report.is_sound


def test_a_damaged_database_file_is_said(tmp_path):
    with CaseStore.open(tmp_path / "cases") as store:
        store.add(stored(1))
    file = tmp_path / "cases" / "cases.sqlite"
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(InputError, match="is damaged"):
        CaseStore.open(tmp_path / "cases")


def test_a_database_that_is_busy_for_too_long_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    with CaseStore.open(tmp_path / "cases") as store:
        other = sqlite3.connect(tmp_path / "cases" / "cases.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ResourceError, match="another program"):
            store.add(stored(1))
        other.execute("ROLLBACK")
        other.close()
        assert store.add(stored(1))


def test_a_database_that_cannot_be_reached_is_said_without_its_password(tmp_path):
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    url = f"postgresql://tester:hunter2@/cases?host={tmp_path}"
    with pytest.raises(OutputError, match="cannot be used") as refused:
        CaseStore.open(tmp_path / "cases", url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["no url", "oracle://scott@host/x", "mysql://x@y/z"])
def test_a_database_that_cannot_be_used_is_refused(tmp_path, url):
    with pytest.raises(InputError, match=r"database|URL"):
        CaseStore.open(tmp_path / "cases", url)


def test_sqlite_is_set_up_to_lose_nothing(tmp_path):
    with CaseStore.open(tmp_path / "cases") as store, store._engine.connect() as connection:
        said = {p: connection.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous")}
        assert said == {"journal_mode": "wal", "synchronous": 2}
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_an_acceptance_is_flushed_to_disk_before_its_row_and_its_row_before_the_end(store, monkeypatch):
    events = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (events.append("fsync"), real(handle))[1])
    from GenesisSegmentLib.engine.store import store as module

    insert = module.insert_entry
    monkeypatch.setattr(module, "insert_entry", lambda *a: (events.append("row"), insert(*a))[1])
    store.add(stored(1))
    assert events.count("row") == 1
    assert events[-1] == "row"
    assert events.count("fsync") >= 2 * len(blobs_of(store))  # each file and its folder


@needs_posix
@pytest.mark.parametrize("after", range(1, 8))
def test_a_kill_at_any_step_of_adding_loses_nothing(tmp_path, after):
    """Killed at the n-th flush to disk, or right before the commit: the next start has all of it or none of it."""
    code = """
import os, signal, sys
from pathlib import Path
from GenesisSegmentLib.core.outbox import Outbox
from GenesisSegmentLib.core.splits import split_at
from GenesisSegmentLib.engine.store import CaseStore, store as module
folder, after = Path(sys.argv[1]), int(sys.argv[2])
store = CaseStore.open(folder / "cases")
outbox = Outbox(folder / "outbox", store.salt)
count, real = 0, os.fsync
def fsync(handle):
    global count
    count += 1
    if count == after:
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
if after < 7:
    os.fsync = fsync
else:
    real_insert = module.insert_entry
    module.insert_entry = lambda *a: (real_insert(*a), os.kill(os.getpid(), signal.SIGKILL))
store.ingest(outbox)
"""
    with CaseStore.open(tmp_path / "cases") as store:
        Outbox(tmp_path / "outbox", store.salt).put(acceptance())
    assert run_child(code, tmp_path, after).returncode == -9
    with CaseStore.open(tmp_path / "cases") as store:
        assert store.cases() == ()
        assert store.verify().is_sound
        assert store.ingest(Outbox(tmp_path / "outbox", store.salt)).added == 1
        assert same_masks(store, store.training()[0], acceptance())
        assert store.verify().is_sound


WRITER = """
import sys
from pathlib import Path
from GenesisSegmentLib.engine.store import CaseStore
from store_builders import stored
print("ready", flush=True)
sys.stdin.readline()
with CaseStore.open(Path(sys.argv[1]), sys.argv[2] or None) as store:
    added = [store.add(stored(n)) for n in map(int, sys.argv[3].split(","))]
print(sum(added))
"""


def test_processes_that_make_a_store_and_add_at_once_agree(tmp_path, url):
    shared, own = [1, 2, 3], [[10, 11], [20, 21], [30, 31]]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = []
    for numbers in own:
        listed = ",".join(map(str, [*numbers[:1], *shared, *numbers[1:]]))
        command = [sys.executable, "-c", WRITER, str(tmp_path / "cases"), url or "", listed]
        started.append(subprocess.Popen(command, env=LIBRARIES, **pipes))
    for process in started:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert sum(int(out) for out, _ in said) == 9
    with CaseStore.open(tmp_path / "cases", url) as store:
        assert store.counts().cases == 9
        assert store.counts().corrections == 9
        assert Counter(case.split for case in store.cases()) == Counter(split_at(n) for n in range(9))
        assert store.verify().is_sound


def test_what_is_cleared_away_while_somebody_adds_the_same_is_written_again(store):
    """The clean-up falls between the files and the rows of an acceptance."""
    prepared = store._prepared

    def prepared_and_cleared(one):
        made = prepared(one)
        assert store.verify().orphaned
        return made

    store._prepared = prepared_and_cleared
    store.add(stored(1))
    del store._prepared
    assert store.verify().is_sound
    assert same_masks(store, store.training()[0], stored(1).acceptance)


def test_deleting_a_case_keeps_what_others_need_and_nothing_else(store):
    store.add(stored(1, seed=5))
    store.add(stored(2, seed=5))  # another CT; masks on the same grid, so the same blobs
    shared = {store.training()[0].correction("liver").mask}
    assert shared == {store.training()[1].correction("liver").mask}
    store.delete(store.training()[0].case)
    (left,) = store.training()
    assert same_masks(store, left, stored(2, seed=5).acceptance)
    assert len(blobs_of(store)) == 3
    store.delete(left.case)
    assert blobs_of(store) == []
    assert store.counts().cases == 0
    assert store.verify().is_sound


def test_what_was_deleted_does_not_come_back_from_the_outbox(store):
    store.add(stored(1))
    store.delete(stored(1).case)
    assert store.add(stored(1)) is False
    assert store.cases() == ()
    assert store.add(stored(1, id="accepted anew")) is True
    assert [record.case for record in store.training()] == [stored(1).case]


def test_a_damaged_file_in_the_outbox_is_set_aside_and_does_not_stop_the_others(store, tmp_path):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    bad = outbox.put(acceptance(id="a"))
    outbox.put(acceptance(id="b"))
    bad.write_bytes(bad.read_bytes()[:-100])
    report = store.ingest(outbox)
    assert (report.added, len(report.damaged)) == (1, 1)
    assert (outbox.folder / report.damaged[0]).exists()
    assert outbox.pending() == ()


def test_a_file_of_a_newer_version_waits_in_the_outbox_and_does_not_stop_the_others(store, tmp_path, monkeypatch):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    with monkeypatch.context() as newer:
        newer.setattr("GenesisSegmentLib.core.outbox._FORMAT", 2)
        waiting = outbox.put(acceptance(id="a"))
    outbox.put(acceptance(id="b"))
    report = store.ingest(outbox)
    assert (report.added, report.damaged) == (1, ())
    assert outbox.pending() == (waiting,)


def test_ingesting_and_checking_can_be_cancelled(store, tmp_path):
    outbox = Outbox(tmp_path / "outbox", store.salt)
    for name in ("a", "b", "c"):
        outbox.put(acceptance(id=name))
    job = Job(lambda progress: job.cancel() if progress.fraction > 0.3 else None)
    with pytest.raises(Cancelled):
        store.ingest(outbox, job)
    assert store.counts().corrections + len(outbox.pending()) == 3
    assert len(outbox.pending()) in (1, 2)
    assert store.ingest(outbox).added == len(outbox.pending()) or store.counts().corrections == 3
    job = Job(lambda progress: job.cancel())
    with pytest.raises(GenesisError):
        store.verify(job)
