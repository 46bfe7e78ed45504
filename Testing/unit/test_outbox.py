from __future__ import annotations

import errno
import importlib
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import GenesisSegmentLib
from acceptance_builders import MODEL, PATIENT, SALT, SERIES, acceptance, oblique, of_two_models, rewriting, volume
from GenesisSegmentLib.core import files
from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.errors import InputError, OutputError, ResourceError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.identity import hashed
from GenesisSegmentLib.core.outbox import NewerFormatError, Outbox, StoredAcceptance

HEADER = "correction.json"
LIBRARY = Path(GenesisSegmentLib.__file__).parents[1]
needs_posix = pytest.mark.skipif(os.name == "nt", reason="needs signals and limits that Windows lacks")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "home" / "outbox", SALT)


def same(one: Acceptance, other: Acceptance) -> bool:
    """Whether two acceptances hold the same, but for what names the patient."""
    plain = ("id", "model", "model_sha256", "seconds", "tools", "accepted", "version")

    def drawn(c: AcceptedClass) -> tuple:
        return c.label, c.mask.tobytes(), None if c.proposed is None else c.proposed.tobytes(), c.model, c.model_sha256

    return (
        all(getattr(one, name) == getattr(other, name) for name in plain)
        and list(map(drawn, one.classes)) == list(map(drawn, other.classes))
        and np.array_equal(one.volume.voxels, other.volume.voxels)
        and np.array_equal(one.volume.geometry.ijk_to_ras, other.volume.geometry.ijk_to_ras)
    )


def test_what_is_put_in_comes_out_the_same_on_an_oblique_grid(outbox):
    put = acceptance()
    path = outbox.put(put)
    assert outbox.pending() == (path,)
    stored = outbox.read(path)
    assert same(stored.acceptance, put)
    assert stored.acceptance.volume.voxels.dtype == np.int16
    assert [c.changed_voxels for c in stored.acceptance.classes] == [c.changed_voxels for c in put.classes]
    assert stored.acceptance.classes[2].proposed is None
    assert not stored.acceptance.classes[3].mask.any()


def test_voxels_in_the_memory_order_of_c_keep_their_places(outbox):
    fortran, c_order = volume(), volume()
    object.__setattr__(c_order, "voxels", np.ascontiguousarray(c_order.voxels))
    paths = [outbox.put(acceptance(ct)) for ct in (fortran, c_order)]
    assert len({zipfile.ZipFile(path).read("voxels.i2") for path in paths}) == 1


@given(data=st.data(), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_any_masks_survive(tmp_path_factory, data, shape):
    masks = [data.draw(arrays.arrays(bool, shape)) for _ in range(3)]
    ct = volume(Geometry(shape, oblique().ijk_to_ras))
    put = Acceptance("a", ct, (AcceptedClass("liver", masks[0], masks[1]), AcceptedClass("own", masks[2])))
    outbox = Outbox(tmp_path_factory.mktemp("outbox"), SALT)
    liver, own = outbox.read(outbox.put(put)).acceptance.classes
    assert np.array_equal(liver.mask, masks[0])
    assert np.array_equal(liver.proposed, masks[1])
    assert np.array_equal(own.mask, masks[2])
    assert liver.changed_voxels == np.count_nonzero(masks[0] != masks[1])
    assert own.changed_voxels == np.count_nonzero(masks[2])
    assert own.proposed is None


def test_case_and_patient_are_salted_hashes(outbox):
    stored = outbox.read(outbox.put(acceptance()))
    assert stored.case == hashed(SALT, f"series:{SERIES}")
    assert stored.patient == hashed(SALT, f"patient:{PATIENT}")
    assert stored.acceptance.patient == stored.patient
    assert stored.acceptance.volume.source.series_uid == stored.case


def test_ct_without_a_uid_is_known_by_its_content_and_is_its_own_patient(outbox):
    def of(ct, **changes) -> StoredAcceptance:
        return outbox.read(outbox.put(acceptance(ct, patient="", **changes)))

    plain = volume(series_uid="")
    first, again = of(plain), of(volume(series_uid="", name="another name"), id="b")
    assert first.case == again.case == first.patient
    assert first.acceptance.patient == first.acceptance.volume.source.series_uid == ""
    moved = oblique().ijk_to_ras.copy()
    moved[0, 3] += 1.0
    other_voxels = volume(series_uid="", seed=2)
    assert len({first.case, of(volume(Geometry((7, 6, 5), moved), "")).case, of(other_voxels).case}) == 3


def test_a_rounding_error_of_the_grid_does_not_make_another_case(outbox):
    matrix = oblique().ijk_to_ras.copy()
    matrix[1, 3] = 0.0
    nudged = matrix.copy()
    nudged[1, 3] = -1e-9
    cases = [outbox.read(outbox.put(acceptance(volume(Geometry((7, 6, 5), m), "")))).case for m in (matrix, nudged)]
    assert cases[0] == cases[1]


def test_no_byte_names_the_patient(outbox):
    ct = volume(name="DOE^JANE chest", description="follow-up of Jane Doe", path=Path("/data/doe_jane/ct.nrrd"))
    path = outbox.put(acceptance(ct))
    with zipfile.ZipFile(path) as archive:
        content = path.name.encode() + path.read_bytes() + b"".join(archive.read(n) for n in archive.namelist())
    for secret in (SERIES, PATIENT, "DOE", "Jane", "doe_jane"):
        assert secret.encode() not in content
    assert MODEL.encode() in content  # what is kept can be found this way


def test_folder_is_for_this_person_alone(outbox):
    outbox.put(acceptance())
    assert stat.S_IMODE(outbox.folder.stat().st_mode) == 0o700


def test_nothing_is_made_before_something_is_put_in(outbox):
    assert outbox.pending() == ()
    assert not outbox.folder.exists()


def test_files_are_listed_oldest_first(outbox):
    paths = [outbox.put(acceptance(id=i)) for i in ("c", "a", "b")]
    assert outbox.pending() == tuple(paths)
    assert [outbox.read(path).acceptance.id for path in outbox.pending()] == ["c", "a", "b"]


def test_everything_is_on_disk_before_it_has_its_name(outbox, monkeypatch):
    outbox.folder.mkdir(parents=True)
    seen: list[tuple[str, bool]] = []
    real_file, real_folder = files.fsync, files.fsync_folder
    monkeypatch.setattr(files, "fsync", lambda path: (seen.append(("file", bool(outbox.pending()))), real_file(path)))
    monkeypatch.setattr(
        files, "fsync_folder", lambda path: (seen.append(("folder", bool(outbox.pending()))), real_folder(path))
    )
    outbox.put(acceptance())
    assert seen == [("file", False), ("folder", True)]


def test_a_file_in_which_any_byte_was_changed_is_refused_or_means_the_same(outbox):
    shape = (3, 2, 2)
    mask = np.indices(shape).sum(axis=0) % 2 == 0
    put = acceptance(volume(oblique(shape)), classes=(AcceptedClass("liver", mask, ~mask),))
    path = outbox.put(put)
    whole = path.read_bytes()
    harmless = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            stored = outbox.read(path)
        except InputError:
            continue
        harmless += 1
        assert same(stored.acceptance, put)
    assert harmless < len(whole) // 4  # times and attributes of members, which nobody reads


@pytest.mark.parametrize("name", ["voxels.i2", "mask-1.bits", HEADER])
def test_a_member_that_was_exchanged_is_refused_though_the_archive_is_sound(outbox, name):
    path = outbox.put(acceptance())
    with rewriting(path) as members:
        members[name] = members[name].replace(b"Erase", b"Paint") if name == HEADER else members[name][::-1]
    with pytest.raises(InputError, match=f"{name} has another checksum"):
        outbox.read(path)


@pytest.mark.parametrize("what", ["case", "patient"])
def test_a_file_whose_case_or_patient_is_no_hash_is_refused(outbox, what):
    path = outbox.put(acceptance())
    with rewriting(path, HEADER) as members:
        members[HEADER] = json.dumps({**json.loads(members[HEADER]), what: "../../victim"}).encode()
    with pytest.raises(InputError, match="no hashes"):
        outbox.read(path)


@pytest.mark.parametrize("change", ["without a member", "with one more"])
def test_an_archive_with_other_members_is_refused(outbox, change):
    path = outbox.put(acceptance())
    with rewriting(path) as members:
        if change == "with one more":
            members["notes.txt"] = b"?"
        else:
            del members["mask-2.bits"]
    with pytest.raises(InputError, match="missing or foreign"):
        outbox.read(path)


def test_a_file_that_was_cut_off_anywhere_is_refused(outbox):
    path = outbox.put(acceptance())
    whole = path.read_bytes()
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 70, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"is (damaged|gone)"):
            outbox.read(path)


def test_a_file_that_is_gone_or_a_folder_is_refused(outbox):
    with pytest.raises(InputError, match=r"is (damaged|gone)"):
        outbox.read(outbox.folder / "1-a.accept")
    (outbox.folder / "2-a.accept").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is (damaged|gone)"):
        outbox.read(outbox.folder / "2-a.accept")


def test_a_disk_that_cannot_be_read_now_is_no_damage(outbox, monkeypatch):
    path = outbox.put(acceptance())

    def fail(*args, **kwargs):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("GenesisSegmentLib.core.outbox.zipfile.ZipFile", fail)
    with pytest.raises(ResourceError, match="cannot be read now"):
        outbox.read(path)


def test_a_file_of_a_newer_version_is_not_called_damaged(outbox, monkeypatch):
    monkeypatch.setattr("GenesisSegmentLib.core.outbox._FORMAT", 2)
    path = outbox.put(acceptance())
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match="newer version"):
        outbox.read(path)


def test_each_class_keeps_the_model_that_proposed_it(outbox):
    put = of_two_models()
    kept = outbox.read(outbox.put(put)).acceptance
    assert [(c.model, c.model_sha256) for c in kept.classes] == [("starter", "5" * 64), ("v3", "3" * 64), ("", "")]
    assert same(kept, put)


def test_a_file_of_a_version_that_kept_one_model_for_all_classes_is_read(outbox):
    path = outbox.put(of_two_models())
    with rewriting(path, HEADER) as members:
        header = json.loads(members[HEADER])
        for each in header["classes"]:
            del each["model"], each["model_sha256"]
        members[HEADER] = json.dumps(header).encode()
    kept = outbox.read(path).acceptance
    assert kept.model == MODEL
    assert [c.model for c in kept.classes] == ["", "", ""]


def test_state_is_that_of_classes_and_masks_alone(outbox):
    shape = volume().geometry.shape
    mask = np.zeros(shape, bool)
    mask[1:3, 2:4, 1:3] = True
    moved = np.roll(mask, 1, axis=0)

    def state(*classes: AcceptedClass, **changes) -> str:
        return outbox.state_of(acceptance(classes=classes, **changes))

    one = state(AcceptedClass("liver", mask), AcceptedClass("spleen", moved))
    assert one == state(AcceptedClass("spleen", moved, mask), AcceptedClass("liver", mask), id="b", seconds=1.0)
    others = {
        state(AcceptedClass("liver", moved), AcceptedClass("spleen", moved)),
        state(AcceptedClass("liver", mask)),
        state(AcceptedClass("spleen", mask), AcceptedClass("liver", moved)),
        Outbox(outbox.folder, b"x" * 32).state_of(acceptance(classes=(AcceptedClass("liver", mask),))),
    }
    assert len(others - {one}) == 4


def test_discarding_twice_is_no_error(outbox):
    path = outbox.put(acceptance())
    outbox.discard(path)
    outbox.discard(path)
    assert outbox.pending() == ()


def test_damaged_files_are_set_aside_and_never_deleted(outbox):
    path = outbox.put(acceptance())
    content = path.read_bytes()
    aside = outbox.set_aside(path)
    path.write_bytes(b"another")
    second = outbox.set_aside(path)
    assert outbox.pending() == ()
    assert (aside.read_bytes(), second.read_bytes()) == (content, b"another")


def test_full_disk_while_it_is_flushed_leaves_nothing(outbox, monkeypatch):
    outbox.put(acceptance(id="before"))
    before = outbox.pending()

    def fail(_path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "fsync", fail)
    with pytest.raises(OutputError, match="the disk is full"):
        outbox.put(acceptance())
    assert tuple(outbox.folder.iterdir()) == before


@needs_posix
def test_wherever_the_disk_ends_nothing_half_written_is_there(outbox):
    resource = importlib.import_module("resource")
    outbox.put(acceptance(id="before"))
    (before,) = outbox.pending()
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    old_limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        for limit in range(0, before.stat().st_size - 1, 97):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, old_limits[1]))
            try:
                with pytest.raises(OutputError, match="could not be written"):
                    outbox.put(acceptance(id="late"))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, old_limits)
            assert list(outbox.folder.iterdir()) == [before]
    finally:
        signal.signal(signal.SIGXFSZ, old_handler)
    assert outbox.read(before).acceptance.id == "before"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_folder_that_may_not_be_made_is_explained(outbox, monkeypatch, number):
    def fail(self: Path, *_a: object, **_k: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OutputError, match=r"read-only|no permission"):
        outbox.put(acceptance())


def test_outbox_where_a_file_lies_is_explained(outbox):
    outbox.folder.parent.mkdir(parents=True)
    outbox.folder.write_bytes(b"mine")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        outbox.put(acceptance())
    assert outbox.folder.read_bytes() == b"mine"


def test_voxels_of_another_type_are_refused(outbox):
    ct = volume()
    object.__setattr__(ct, "voxels", ct.voxels.astype(np.float32))
    with pytest.raises(InputError, match="int16"):
        outbox.put(acceptance(ct))
    assert list(outbox.folder.iterdir()) == []


WRITER = """
import sys
from pathlib import Path
from acceptance_builders import SALT, acceptance
from GenesisSegmentLib.core.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), SALT)
count = 0
while True:
    count += 1
    path = outbox.put(acceptance(id=f"{sys.argv[2]}-{count}"))
    print(path.name, flush=True)
"""


@needs_posix
def test_killed_at_any_moment_what_was_put_is_whole_and_nothing_else_is_pending(outbox):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(LIBRARY), str(Path(__file__).parents[1])])}
    chance, promised = random.Random(5), set()
    for run in range(6):
        command = [sys.executable, "-c", WRITER, str(outbox.folder), str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
            assert writer.stdout is not None
            promised.add(writer.stdout.readline().strip())
            time.sleep(chance.uniform(0.0, 0.05))
            writer.send_signal(signal.SIGKILL)
            promised |= {line.strip() for line in writer.stdout.readlines() if line.endswith("\n")}
        assert writer.returncode == -signal.SIGKILL
    pending = outbox.pending()
    assert promised <= {path.name for path in pending}
    for path in pending:
        assert same(outbox.read(path).acceptance, acceptance(id=path.stem.split("-", 1)[1]))
    outbox.put(acceptance(id="after"))  # also sweeps what the dead had begun
    assert {path.suffix for path in outbox.folder.iterdir()} == {".accept"}
