"""``genesis-segment segment`` on studies as they are exported: series over folders, folders of several series."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from builders import write_dicom_series
from cli_builders import an_affine, blob_ct, files_in, run
from dicom_builders import contours, localizer, mr
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine.labels import read_labels

SHAPE = (40, 32, 24)
TURNED = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
AFFINE = an_affine((6.0, 6.0, 8.0), SHAPE, TURNED)
GRID = Geometry(SHAPE, AFFINE)


def ct_series(folder: Path, number: int = 1, **options: object) -> list[Path]:
    """The blob CT, oblique, as a DICOM series of one study."""
    options = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": f"1.2.3.{number}", "SeriesNumber": number} | options
    return write_dicom_series(folder, blob_ct(SHAPE, AFFINE), GRID, **options)


def statuses(*arguments: object, code: int = 0) -> dict[str, str]:
    """How each case ended, by the place of its source."""
    ended = run("segment", *arguments, "--json")
    assert ended.code == code, ended.err
    return {Path(case["source"]).name: case["status"] for case in ended.document["cases"]}


@pytest.fixture
def study(tmp_path) -> Path:
    """Two CT series in folders of their own beside what else an export holds."""
    ct_series(tmp_path / "study" / "ct")
    ct_series(tmp_path / "study" / "thin", 2)
    for make in (contours, localizer, mr):
        make(tmp_path / "study" / make.__name__)
    return tmp_path / "study"


def split(files: list[Path], folder: Path) -> Path:
    for k, file in enumerate(files):
        place = folder / f"p{k // 6}"
        place.mkdir(parents=True, exist_ok=True)
        file.rename(place / file.name)
    return folder


@pytest.mark.parametrize("place", ["", "p0"])
def test_a_series_over_several_folders_is_one_whole_case(place, model, tmp_path):
    folder = split(ct_series(tmp_path / "whole"), tmp_path / "split")
    path = next((folder / place).iterdir()) if place else folder
    ended = run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz", "--json")
    assert ended.code == 0
    assert ended.document["series"] == "1.2.3.1"
    assert read_labels(tmp_path / "out.nii.gz").segmentation.geometry.matches(GRID, tolerance_mm=0.01)


def test_every_ct_of_a_study_is_a_case_and_the_rest_is_passed_over_with_a_word(study, model, tmp_path):
    assert statuses(study, "--model", model, "-o", tmp_path / "out") == {
        **{"ct": "done", "thin": "done"},
        **{"contours": "skipped", "localizer": "skipped", "mr": "skipped"},
    }
    done = {name for name in files_in(tmp_path / "out") if name.endswith(".seg.nrrd")}
    assert done == {"ct.seg.nrrd", "thin.seg.nrrd"}
    ended = run("segment", study, "--model", model, "-o", tmp_path / "out")
    for word in ("RTSTRUCT", "a localizer", "MR, not a CT"):
        assert word in ended.err


def test_a_series_is_chosen_in_the_whole_study(study, model, tmp_path):
    assert statuses(study, "--series", 2, "--model", model, "-o", tmp_path / "out") == {"thin": "done"}
    for folder in ("contours", "mr"):
        for path in (study / folder).iterdir():
            path.unlink()
    ended = run("segment", study, "--series", 9, "--model", model, "-o", tmp_path / "out", "--json")
    assert ended.code == 3
    assert "a localizer, not a volume" in ended.document["error"]["what"]


def test_one_file_as_the_target_asks_to_choose(study, model, tmp_path):
    arguments = ("segment", study, "--model", model, "-o", tmp_path / "out.seg.nrrd", "--json")
    ended = run(*arguments)
    assert ended.code == 3
    assert "holds 2 CT series" in ended.document["error"]["what"]
    assert "--series" in ended.document["error"]["remedy"]
    assert run(*arguments, "--series", 1).document["series"] == "1.2.3.1"


def test_one_ct_beside_its_contours_may_go_to_one_file(study, model, tmp_path):
    for path in (study / "thin").iterdir():
        path.unlink()
    assert run("segment", study, "--model", model, "-o", tmp_path / "out.seg.nrrd").code == 0


def test_series_in_one_folder_are_named_by_their_numbers(model, tmp_path):
    ct_series(tmp_path / "study")
    for path in ct_series(tmp_path / "other", 2):
        path.rename(tmp_path / "study" / f"b{path.name}")
    assert run("segment", tmp_path / "study", "--model", model, "-o", tmp_path / "out").code == 0
    assert {"series-1.seg.nrrd", "series-2.seg.nrrd"} <= files_in(tmp_path / "out")
    with (tmp_path / "out" / "summary.csv").open(newline="") as stream:
        assert [row["series"] for row in csv.DictReader(stream)] == ["1.2.3.1", "1.2.3.2"]


def test_a_series_above_another_is_a_case_of_its_own(model, tmp_path):
    ct_series(tmp_path / "study")
    ct_series(tmp_path / "study" / "below", 2)
    done = statuses(tmp_path / "study", "--model", model, "-o", tmp_path / "out")
    assert done == {"study": "done", "below": "done"}


def test_a_damaged_slice_fails_its_own_series_alone(study, model, tmp_path):
    broken = next((study / "thin").iterdir())
    broken.write_bytes(broken.read_bytes()[:200])
    contour = next((study / "contours").iterdir())
    done = statuses(study, "--model", model, "-o", tmp_path / "out", code=1)
    assert (done["ct"], done["thin"], done[broken.name]) == ("done", "failed", "skipped")
    assert contour.exists()


def test_nothing_but_what_is_no_ct_ends_with_the_code_for_input(study, model, ct, tmp_path):
    for folder in ("ct", "thin"):
        for path in (study / folder).iterdir():
            path.unlink()
    assert run("segment", study, "--model", model, "-o", tmp_path / "out").code == 3
    (tmp_path / "in").mkdir()
    run("segment", ct, "--model", model, "-o", tmp_path / "in" / "labels.nii.gz")
    for path in (tmp_path / "in").iterdir():
        if not path.name.endswith(".nii.gz"):
            path.unlink()
    ended = run("segment", tmp_path / "in", "--model", model, "-o", tmp_path / "out")
    assert ended.code == 3
    assert "Nothing was segmented" in ended.err


def change_slice(folder: Path) -> None:
    path = folder / "ct" / "more" / "last"
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as cp -p leaves it: neither size nor time tell


def change_data(folder: Path) -> None:
    path = folder / "a.raw"
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "ct/first"])
def test_a_case_is_done_again_when_a_file_changes_that_was_not_named(name, model, tmp_path):
    import SimpleITK as sitk

    from GenesisSegmentLib.engine.images.sitk import to_sitk

    if name == "ct/first":
        first, *_, last = ct_series(tmp_path / "ct")
        (tmp_path / "ct" / "more").mkdir()
        first.rename(tmp_path / name)
        last.rename(tmp_path / "ct" / "more" / "last")
        change = change_slice
    else:
        sitk.WriteImage(to_sitk(blob_ct(SHAPE, AFFINE), GRID), tmp_path / name, useCompression=False)
        change = change_data
    other = tmp_path / "other.nii.gz"
    sitk.WriteImage(to_sitk(blob_ct(SHAPE, AFFINE), GRID), other)
    arguments = (tmp_path / name, other, "--model", model, "-o", tmp_path / "out")
    key = Path(name).name
    assert statuses(*arguments)[key] == "done"
    assert statuses(*arguments)[key] == "done before"
    change(tmp_path)
    assert statuses(*arguments) == {key: "done", other.name: "done before"}
