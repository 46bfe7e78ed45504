from __future__ import annotations

import errno
import hashlib
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core import files
from GenesisSegmentLib.core.errors import InputError, OutputError
from GenesisSegmentLib.core.files import atomic_file, atomic_folder, discard_unfinished, move_new, work_folder

WRITERS = {
    "file": """
with atomic_file(target / "result.nii.gz") as path:
    path.write_bytes(b"half of the new")
    wait()
""",
    "folder": """
with atomic_folder(target) as folder:
    (folder / "result.nii.gz").write_bytes(b"half of the new")
    wait()
""",
}
PRELUDE = """
import sys, time
from pathlib import Path
from GenesisSegmentLib.core.files import atomic_file, atomic_folder
target = Path(sys.argv[1])
def wait():
    print("half", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_file_appears_whole_with_the_mode_of_any_new_file(tmp_path):
    target = tmp_path / "deep" / "down" / "scan.nii.gz"
    with atomic_file(target) as temporary:
        assert temporary.name == "scan.nii.gz"
        assert temporary.parent.parent == target.parent
        temporary.write_bytes(b"first")
        temporary.write_bytes(b"whole")
        assert not target.exists()
    plain = tmp_path / "plain"
    plain.touch()
    assert target.read_bytes() == b"whole"
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert list(target.parent.iterdir()) == [target]


def test_failure_inside_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "scan.nrrd"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_file(target) as temporary:
            temporary.write_bytes(b"ne")
            raise InputError("The scan broke.")

    with pytest.raises(InputError, match=r"The scan broke\."):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_failure_inside_leaves_a_folder_as_it_was(tmp_path):
    target = tmp_path / "masks"
    target.mkdir()
    (target / "liver.nii.gz").write_bytes(b"old")

    def fail() -> None:
        with atomic_folder(target) as folder:
            (folder / "liver.nii.gz").write_bytes(b"new")
            (folder / "spleen.nii.gz").write_bytes(b"new")
            raise InputError("The scan broke.")

    with pytest.raises(InputError):
        fail()
    assert names(tmp_path) == ["masks/liver.nii.gz"]
    assert list(target.iterdir()) == [target / "liver.nii.gz"]
    assert (target / "liver.nii.gz").read_bytes() == b"old"


def test_folder_that_did_not_exist_stays_absent_after_a_failure(tmp_path):
    def fail() -> None:
        with atomic_folder(tmp_path / "new" / "masks") as folder:
            (folder / "liver.nii.gz").write_bytes(b"new")
            raise InputError("The scan broke.")

    with pytest.raises(InputError):
        fail()
    assert list((tmp_path / "new").iterdir()) == []


def test_folder_receives_its_files_and_keeps_the_others(tmp_path):
    target = tmp_path / "masks"
    target.mkdir()
    (target / "liver.nii.gz").write_bytes(b"old")
    (target / "notes.txt").write_bytes(b"mine")
    with atomic_folder(target) as folder:
        (folder / "liver.nii.gz").write_bytes(b"new")
        (folder / "tables").mkdir()
        (folder / "tables" / "values.json").write_bytes(b"{}")
    assert names(tmp_path) == ["masks/liver.nii.gz", "masks/notes.txt", "masks/tables/values.json"]
    assert (target / "liver.nii.gz").read_bytes() == b"new"
    assert (target / "notes.txt").read_bytes() == b"mine"


def put_new(target, *files):
    with work_folder(target) as folder:
        for file in files:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(b"new")
        return [path.relative_to(target).as_posix() for path in move_new(folder, target, "CT")]


def test_new_files_replace_none_and_number_themselves_together(tmp_path):
    assert put_new(tmp_path / "out", "CT.nii.gz", "CT.json", "CT_stl/liver.stl", "CT_stl/spleen.stl") == [
        "CT.json", "CT.nii.gz", "CT_stl/liver.stl", "CT_stl/spleen.stl",
    ]  # fmt: skip
    assert put_new(tmp_path / "out", "CT.nrrd", "CT_stl/liver.stl") == ["CT_2.nrrd", "CT_2_stl/liver.stl"]
    assert put_new(tmp_path / "out", "CT.nii.gz", "CT.csv") == ["CT_2.csv", "CT_2.nii.gz"]
    (tmp_path / "out" / "CT.json").write_bytes(b"mine")
    assert put_new(tmp_path / "out", "CT.json") == ["CT_2.json"]
    assert put_new(tmp_path / "out", "CT.json") == ["CT_3.json"]
    assert (tmp_path / "out" / "CT.json").read_bytes() == b"mine"
    assert not any(path.name.startswith(".") for path in (tmp_path / "out").iterdir())


def test_new_files_that_cannot_all_be_moved_are_taken_back(tmp_path, monkeypatch):
    rename = Path.rename

    def fail(self, place):
        if self.name == "CT.nrrd":
            raise OSError(errno.ENOSPC, "full")
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="disk is full"):
        put_new(tmp_path, "CT.csv", "CT.nrrd")
    assert list(tmp_path.iterdir()) == []


def test_folder_with_nothing_to_hold_is_made_all_the_same(tmp_path):
    with atomic_folder(tmp_path / "masks"):
        pass
    assert list((tmp_path / "masks").iterdir()) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "masks"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("kind", WRITERS)
def test_killed_in_the_middle_of_a_write_the_old_file_is_still_there(tmp_path, kind):
    target = tmp_path / "result.nii.gz"
    target.write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])}
    command = [sys.executable, "-c", PRELUDE + WRITERS[kind], str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_process_that_must_end_at_once_can_discard_what_it_had_begun(tmp_path):
    target = tmp_path / "scan.nrrd"
    target.write_bytes(b"old")
    left = []

    def write() -> None:
        with atomic_file(target) as temporary:
            temporary.write_bytes(b"ne")
            discard_unfinished()
            left.extend(tmp_path.iterdir())

    with pytest.raises(OutputError):
        write()
    assert left == [target]
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the target is read-only"),
        (errno.EACCES, "you have no permission to write there"),
        (errno.ENOENT, "this folder takes no new files, or it is gone"),
        (errno.ENAMETOOLONG, "the name is too long"),
    ],
)
@pytest.mark.parametrize("moment", ["while the content is written", "while it is flushed"])
def test_system_error_is_explained_and_leaves_the_old_file(tmp_path, monkeypatch, number, cause, moment):
    target = tmp_path / "scan.nrrd"
    target.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    def write() -> None:
        with atomic_file(target) as temporary:
            temporary.write_bytes(b"ne")
            if moment == "while the content is written":
                fail()

    if moment == "while it is flushed":
        monkeypatch.setattr(files, "fsync", fail)
    with pytest.raises(OutputError) as caught:
        write()
    assert caught.value.what == f"{target} could not be written: {cause}."
    assert caught.value.remedy
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_full_device_is_reported_as_a_full_disk(tmp_path):
    def write() -> None:
        with atomic_file(tmp_path / "scan.nrrd") as temporary:
            temporary.symlink_to("/dev/full")
            temporary.write_bytes(b"x" * 10)

    with pytest.raises(OutputError, match="the disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_target_below_a_file_or_on_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "folder").mkdir()

    def write(target: Path) -> None:
        with atomic_file(target) as temporary:
            temporary.write_bytes(b"new")

    with pytest.raises(OutputError, match="a part of the path is a file"):
        write(tmp_path / "file" / "scan.nrrd")
    with pytest.raises(OutputError, match="the target is a folder"):
        write(tmp_path / "folder")
    assert names(tmp_path) == ["file"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_the_checksum_of_a_file_is_that_of_all_its_bytes(tmp_path):
    content = os.urandom(1000) * 3000  # more than is read at once
    (tmp_path / "scan").write_bytes(content)
    assert files.sha256_of(tmp_path / "scan") == hashlib.sha256(content).hexdigest()
    with pytest.raises(OSError, match="No such file"):
        files.sha256_of(tmp_path / "absent")
