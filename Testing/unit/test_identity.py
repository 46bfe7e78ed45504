"""The salt of a case store and the hashes made with it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import InputError, OutputError
from GenesisSegmentLib.core.identity import SALT_NAME, hashed, local_salt, patient_text

LIBRARY = Path(GenesisSegmentLib.__file__).parents[1]


def test_a_salt_is_made_once_and_stays(tmp_path):
    salt = local_salt(tmp_path / "new" / "cases")
    assert len(salt) == 32
    assert local_salt(tmp_path / "new" / "cases") == salt
    assert local_salt(tmp_path / "other") != salt
    assert [p.name for p in (tmp_path / "new" / "cases").iterdir()] == [SALT_NAME]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_only_this_person_may_read_the_salt(tmp_path):
    local_salt(tmp_path / "cases")
    assert stat.S_IMODE((tmp_path / "cases" / SALT_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "cases").stat().st_mode) == 0o700


def test_processes_that_ask_at_the_same_time_get_the_same_salt(tmp_path):
    code = (
        "import sys; from pathlib import Path; from GenesisSegmentLib.core.identity import local_salt; "
        "print('ready', flush=True); sys.stdin.readline(); print(local_salt(Path(sys.argv[1])).hex())"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    command = [sys.executable, "-c", code, str(tmp_path / "cases")]
    started = [subprocess.Popen(command, env=environment, **pipes) for _ in range(6)]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    assert len({process.communicate(timeout=60)[0].strip() for process in started}) == 1
    assert all(process.returncode == 0 for process in started)


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_a_flipped_bit_is_found(tmp_path, place):
    salt = local_salt(tmp_path)
    content = bytearray((tmp_path / SALT_NAME).read_bytes())
    content[place] ^= 1
    (tmp_path / SALT_NAME).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        local_salt(tmp_path)
    content[place] ^= 1
    (tmp_path / SALT_NAME).write_bytes(content)
    assert local_salt(tmp_path) == salt


@pytest.mark.parametrize("content", [b"", b"short", bytes(65)])
def test_a_salt_of_another_length_is_damaged_and_not_replaced(tmp_path, content):
    (tmp_path / SALT_NAME).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        local_salt(tmp_path)
    assert (tmp_path / SALT_NAME).read_bytes() == content


@pytest.mark.parametrize("used", ["cases.sqlite", "blobs"])
def test_a_lost_salt_is_not_made_anew_where_there_are_cases(tmp_path, used):
    (tmp_path / used).mkdir()
    with pytest.raises(InputError, match="lost its salt"):
        local_salt(tmp_path)
    assert not (tmp_path / SALT_NAME).exists()


def test_a_disk_without_links_gets_a_salt_too(tmp_path, monkeypatch):
    def refuse(path, target):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    salt = local_salt(tmp_path)
    assert local_salt(tmp_path) == salt
    assert [p.name for p in tmp_path.iterdir()] == [SALT_NAME]


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        local_salt(tmp_path / "cases")
    assert list((tmp_path / "cases").iterdir()) == []


def test_hashes_depend_on_the_text_and_on_the_salt():
    one, other = bytes(32), bytes([1]) * 32
    assert hashed(one, "patient:DOE") == hashed(one, "patient:DOE")
    assert len({hashed(one, "patient:DOE"), hashed(one, "patient:ROE"), hashed(other, "patient:DOE")}) == 3
    assert len(hashed(one, "")) == 64


@pytest.mark.parametrize(
    "placeholder",
    [
        *("", "   ", "^", "^^^", "-", "0", "0000", "00000000", "0 0", "NA", "N/A", "n.a.", "NONE", "None", "NULL"),
        *("ANON", "anon", "^ANON", "ANON^", "ANON^^", " Anon ", "ANONYM", "ANONYMOUS", "Anonymous^", "ANONYMIZED"),
        *("ANONYMISED", "UNKNOWN", "Unknown^", "TEST", "test^", "PATIENT", "Patient ", "NOID", "NO ID", "No^ID"),
        *("NO_NAME", "DE-IDENTIFIED", "REMOVED"),
    ],
)
def test_a_placeholder_is_no_patient_but_its_study_stands_for_one(placeholder):
    assert patient_text(placeholder) == patient_text(placeholder, " ") == ""
    one, other = patient_text(placeholder, "1.2.3"), patient_text(placeholder, "1.2.4")
    assert one == patient_text("ANON", " 1.2.3 ") == patient_text("", "1.2.3")
    assert "" != one != other


@pytest.mark.parametrize(
    "real",
    [
        "4711",
        "DOE-4711",
        "0010",
        "ANON-0010",
        "anon17",
        "Patient 3",
        "TEST01",
        "N-A-1",
        "NAOMI",
        "患者",
        "1.2.3",
        "100",
    ],
)
def test_what_tells_patients_apart_stays_as_it_is_whatever_the_study(real):
    assert patient_text(real) == patient_text(f" {real} ", "1.2.3") == patient_text(real, "1.2.4") == real
