"""A DICOM series is gathered from whichever folders its files lie in; what lies beside it is told apart."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from builders import write_dicom_series
from dicom_builders import COUNT, VOLUME, assert_same, contours, localizer, mr, series
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.images import dicom_places, find_inputs, list_series, read_volume
from GenesisSegmentLib.engine.images.reading import read_input


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A series of 16 slices, four in each of four folders."""
    files = write_dicom_series(tmp_path / "whole", VOLUME.voxels, VOLUME.geometry)
    for k, file in enumerate(files):
        place = tmp_path / "split" / f"p{k // 4}"
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.name)
    (tmp_path / "whole").rmdir()
    return tmp_path / "split"


def test_a_series_spread_over_folders_is_one_ct(split: Path) -> None:
    assert [(s.images, s.folder) for s in list_series(split)] == [(COUNT, split)]
    read = read_volume(split)
    assert_same(read)
    assert read.source.notes == ()
    (found,) = find_inputs(split.parent)
    assert (found.path, found.is_found, len(found.files)) == (split, True, COUNT)
    assert_same(read_input(found))


def test_one_file_brings_the_slices_in_the_folders_beside_and_below(split: Path) -> None:
    for place in ("p0", "p2"):
        assert_same(read_volume(next((split / place).iterdir())))
    (split / "p3").rename(split / "p1" / "deeper")
    assert_same(read_volume(next((split / "p0").iterdir())))


def test_a_part_of_a_series_is_told_by_the_numbers_of_its_images(split: Path) -> None:
    assert "numbered from 9 to 12: others may be missing" in read_volume(split / "p2").source.notes[0]
    for path in split.rglob("*.dcm"):
        if pydicom.dcmread(path).InstanceNumber % 2 == 0:
            path.unlink()
    assert "The 8 images of the series are numbered from 1 to 15" in read_volume(split).source.notes[0]


def test_it_is_said_when_there_are_too_many_files_around_to_see_all(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_places, "NEIGHBOURS", 5)
    read = read_volume(next((split / "p0").iterdir()))
    assert read.geometry.shape[2] == 9
    assert [note for note in read.source.notes if "give the folder that holds the whole series" in note]


def test_the_folders_in_the_home_are_not_searched_for_a_file_in_one_of_them(
    split: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: split)
    assert read_volume(next((split / "p0").iterdir())).geometry.shape[2] == 4


@pytest.mark.parametrize("suffix", ["", ".dcm", ".001", ".img"])
def test_slices_without_preamble_are_seen_beside_those_that_have_one(suffix: str, tmp_path: Path) -> None:
    for path in write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry, suffix=suffix)[-5:]:
        without_preamble(path)
    assert_same(read_volume(tmp_path))
    assert_same(read_volume(next(tmp_path.iterdir())))


def without_preamble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[132:])


@pytest.mark.parametrize(
    ("suffix", "broken"), [(".dcm", "im99.dcm"), ("", "im99"), (".001", "im99.002"), ("", "im9.7")]
)
def test_files_among_the_slices_that_are_no_dicom_are_named(suffix: str, broken: str, tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry, suffix=suffix)
    (tmp_path / "notes.txt").write_text("x")
    assert read_volume(tmp_path).source.notes == ()
    (tmp_path / broken).write_bytes(bytes(500))
    for path in (tmp_path, files[0]):
        (note,) = read_volume(path).source.notes
        assert "1 file beside the slices could not be read as DICOM" in note
        assert broken in note


def test_a_damaged_file_beside_the_slices_refuses_them_and_one_elsewhere_is_told(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path / "ct", VOLUME.voxels, VOLUME.geometry)
    contours(tmp_path / "rtstruct")
    damaged = tmp_path / "rtstruct" / "more.dcm"
    damaged.write_bytes(files[0].read_bytes()[:200])
    read = read_volume(tmp_path)
    assert_same(read)
    assert any("more.dcm is damaged" in note for note in read.source.notes)
    damaged.rename(tmp_path / "ct" / "more.dcm")
    for path in (tmp_path, files[0]):
        with pytest.raises(InputError, match=r"more\.dcm is damaged"):
            read_volume(path)


def test_what_lies_beside_a_ct_is_found_with_the_reason_why_it_is_none(tmp_path: Path) -> None:
    series(tmp_path / "ct")
    for make in (contours, localizer, mr):
        make(tmp_path / make.__name__)
    ct, *others = find_inputs(tmp_path)
    assert (ct.path, ct.refusal) == (tmp_path / "ct", None)
    reasons = {each.path.name: str(each.refusal) for each in others}
    assert reasons.keys() == {"contours", "localizer", "mr"}
    assert "RTSTRUCT" in reasons["contours"]
    assert "a localizer" in reasons["localizer"]
    assert "MR, not a CT" in reasons["mr"]


def test_a_wanted_series_is_looked_for_in_the_whole_tree_and_in_every_study(tmp_path: Path) -> None:
    for study in ("1.1", "1.2"):
        for number in (1, 2):
            options = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.{number}", "SeriesNumber": number}
            series(tmp_path / study / str(number), **options)
    assert [each.series.uid for each in find_inputs(tmp_path, "2") if each.series] == ["1.1.2", "1.2.2"]
    assert [each.path for each in find_inputs(tmp_path, "1.2.1")] == [tmp_path / "1.2" / "1"]
    for wanted, problem in (("9", "No series matches"), (".1", "2 series match")):
        with pytest.raises(InputError, match=problem):
            find_inputs(tmp_path, wanted)
    contours(tmp_path / "rtstruct")
    with pytest.raises(InputError, match="RTSTRUCT"):
        find_inputs(tmp_path / "rtstruct", "9")
