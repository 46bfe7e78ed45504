"""``genesis-segment segment`` on many CTs: names, resuming, failures, and results that lie beside their inputs."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cli_builders import HANG, an_affine, files_in, finish, run, start, wait_for_half, write_nifti
from dicom_builders import series
from GenesisSegmentLib.cli.batch import unique_names
from GenesisSegmentLib.cli.inputs import Inputs, gather
from GenesisSegmentLib.core.errors import InputError

SIDE_FILES = ("measurements.csv", "measurements.json", "overview.png", "report.json")


def results(*names: str, suffix: str = "seg.nrrd") -> set[str]:
    return {"summary.csv", *(f"{name}.{end}" for name in names for end in (suffix, *SIDE_FILES))}


def summary(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def statuses(*arguments: object) -> dict[str, str]:
    cases = run("segment", *arguments, "--json").document["cases"]
    return {Path(case["source"]).name: case["status"] for case in cases}


@pytest.fixture
def folder(ct, tmp_path) -> Path:
    """A folder with two CTs."""
    for name in ("one", "two"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.nii.gz").write_bytes(ct.read_bytes())
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/ct.nii.gz", "b/ct.nii.gz"), ["a_ct", "b_ct"]),
        (("a/ct.nii.gz", "b/ct.nrrd", "c/other.mha"), ["a_ct", "b_ct", "other"]),
        (("a/ct.nii.gz", "a/ct.nrrd"), ["0001_ct", "0002_ct"]),
        (("x/a/ct.nii.gz", "y/a/ct.nii.gz"), ["x_a_ct", "y_a_ct"]),
        (("a/CT.nii.gz", "b/ct.nii.gz"), ["a_CT", "b_ct"]),
        (("a_ct.nii.gz", "a/ct.nii.gz", "b/ct.nii.gz"), ["0001_a_ct", "0002_ct", "0003_ct"]),
        (("1.2.840.1", "1.2.840.2"), ["1.2.840.1", "1.2.840.2"]),
        ((".nii.gz",), ["ct"]),
    ],
    ids=str,
)
def test_names_never_collide(paths, names):
    assert unique_names([Path("/deep") / path for path in paths]) == names


def test_names_of_folders_do_not_seem_to_have_a_suffix():
    assert unique_names([Path("/x/1.2.840"), Path("/y/1_2_840")], dot="_") == ["x_1_2_840", "y_1_2_840"]


def test_every_ct_gets_its_results_under_its_own_name(ct, model, tmp_path, out):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "ct.nii.gz").write_bytes(ct.read_bytes())
    ended = run("segment", tmp_path / "a" / "ct.nii.gz", tmp_path / "b" / "ct.nii.gz", "--model", model, "-o", out)
    assert ended.code == 0
    assert files_in(out) == results("a_ct", "b_ct")


@pytest.mark.parametrize("form", ["seg.nrrd", "nii.gz", "masks"])
def test_a_folder_is_segmented_in_any_form(form, folder, model, out):
    ended = run("segment", folder, "--model", model, "-o", out, "--format", form, "--json")
    assert ended.code == 0
    assert ended.document.keys() == {"cases", "failed"}
    assert ended.document["failed"] == 0
    if form == "masks":
        inside = {"liver.nii.gz", "segmentation.json", *SIDE_FILES}
        assert files_in(out) == {"summary.csv", *(f"{name}/{file}" for name in ("one", "two") for file in inside)}
    else:
        tables = {"one.json", "two.json"} if form == "nii.gz" else set()
        assert files_in(out) == results("one", "two", suffix=form) | tables


def test_a_name_with_dots_becomes_a_folder_of_masks(folder, model, out):
    (folder / "one.nii.gz").rename(folder / "1.2.840.nii.gz")
    assert set(statuses(folder, "--model", model, "-o", out, "--format", "masks").values()) == {"done"}
    assert (out / "1_2_840" / "liver.nii.gz").is_file()


def test_a_folder_with_one_ct_is_a_batch_as_well(folder, model, out):
    (folder / "two.nii.gz").unlink()
    assert statuses(folder, "--model", model, "-o", out) == {"one.nii.gz": "done"}
    assert files_in(out) == results("one")


def test_what_is_done_is_not_done_again(folder, model, out, tmp_path, monkeypatch):
    arguments = (folder, "--model", model, "-o", out)
    assert statuses(*arguments) == {"one.nii.gz": "done", "two.nii.gz": "done"}
    monkeypatch.setattr("GenesisSegmentLib.cli.batch.Batch._run", lambda *_: pytest.fail("a case was done again"))
    assert statuses(*arguments) == {"one.nii.gz": "done before", "two.nii.gz": "done before"}
    monkeypatch.chdir(out)
    assert statuses(folder, "--model", model, "-o", ".") == {"one.nii.gz": "done before", "two.nii.gz": "done before"}


def change_the_input(folder: Path, out: Path) -> None:
    stat = (folder / "one.nii.gz").stat()
    os.utime(folder / "one.nii.gz", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


def remove_a_result(folder: Path, out: Path) -> None:
    (out / "one.measurements.csv").unlink()


def cut_a_result_short(folder: Path, out: Path) -> None:
    path = out / "one.seg.nrrd"
    path.write_bytes(path.read_bytes()[:-10])


def damage_the_report(folder: Path, out: Path) -> None:
    (out / "one.report.json").write_text("{")


@pytest.mark.parametrize("change", [change_the_input, remove_a_result, cut_a_result_short, damage_the_report])
def test_a_case_is_done_again_after_a_change(change, folder, model, out):
    arguments = (folder, "--model", model, "-o", out)
    statuses(*arguments)
    change(folder, out)
    assert statuses(*arguments) == {"one.nii.gz": "done", "two.nii.gz": "done before"}
    assert statuses(*arguments) == {"one.nii.gz": "done before", "two.nii.gz": "done before"}


@pytest.mark.parametrize(
    "options",
    [("--classes", "liver"), ("--postprocess", "published"), ("--recipe", "published"), ("--format", "nii.gz")],
)
def test_all_cases_are_done_again_with_other_options(options, folder, model, out):
    statuses(folder, "--model", model, "-o", out)
    assert set(statuses(folder, "--model", model, "-o", out, *options).values()) == {"done"}


def test_failures_do_not_stop_the_others_and_are_listed(folder, model, out):
    (folder / "bad.nii.gz").write_bytes(b"hello")
    ended = run("segment", folder, "--model", model, "-o", out)
    assert ended.code == 1
    assert files_in(out) == results("one", "two")
    assert [(row["status"], bool(row["error"])) for row in summary(out)] == [
        *(("failed", True), ("done", False)),
        ("done", False),
    ]
    assert summary(out)[1]["segmentation"] == str(out / "one.seg.nrrd")
    assert summary(out)[1]["classes_found"] == "liver"
    assert [line.split()[0] for line in ended.out.splitlines()] == ["Case", "bad", "one", "two"]
    *_, source, what, remedy = ended.err.splitlines()
    assert source == str(folder / "bad.nii.gz")
    assert what.startswith("Error: bad.nii.gz")
    assert remedy.startswith("  ")


def test_a_fault_in_one_case_does_not_take_the_others_with_it(folder, model, out, monkeypatch):
    from GenesisSegmentLib.engine import case

    measure, calls = case.measure, []

    def break_once(*arguments):
        calls.append(1)
        return measure(*arguments) if len(calls) > 1 else 1 / 0

    monkeypatch.setattr(case, "measure", break_once)
    ended = run("segment", folder, "--model", model, "-o", out, "--json")
    assert ended.code == 1
    first, second = ended.document["cases"]
    assert (first["status"], second["status"]) == ("failed", "done")
    assert "ZeroDivisionError" in first["error"]["what"]
    assert files_in(out) == results("two")


def test_a_label_map_beside_a_ct_is_passed_over_but_refused_where_it_is_named(folder, model, out):
    source = nibabel.load(folder / "one.nii.gz")
    labels = write_nifti(folder / "labels.nii.gz", (np.asarray(source.dataobj) > 200).astype(np.uint8), source.affine)
    arguments = (folder, "--model", model, "-o", out)
    ended = run("segment", *arguments, "--json")
    assert ended.code == 0
    assert [case["status"] for case in ended.document["cases"]] == ["skipped", "done", "done"]
    assert "label map" in run("segment", *arguments).err
    named = run("segment", labels, folder / "one.nii.gz", "--model", model, "-o", out, "--json")
    assert named.code == 1
    assert named.document["cases"][0]["status"] == "failed"


def test_results_may_lie_beside_their_inputs(folder, model):
    arguments = (folder, "--model", model, "-o", folder)
    assert statuses(*arguments) == {"one.nii.gz": "done", "two.nii.gz": "done"}
    assert files_in(folder) == results("one", "two") | {"one.nii.gz", "two.nii.gz"}
    assert statuses(*arguments) == {"one.nii.gz": "done before", "two.nii.gz": "done before"}


def test_an_input_is_never_replaced_by_its_result(folder, model):
    before = (folder / "one.nii.gz").read_bytes()
    ended = run("segment", folder, "--model", model, "-o", folder, "--format", "nii.gz", "--json")
    assert ended.code == 1
    assert {case["error"]["code"] for case in ended.document["cases"]} == {"output"}
    assert (folder / "one.nii.gz").read_bytes() == before


@pytest.mark.parametrize("options", [("-o", "out.seg.nrrd"), ("-o", "file"), ("-o", "in", "--format", "dcm")])
def test_a_place_that_cannot_hold_a_batch_is_wrong_usage(options, folder, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert run("segment", "in", "--model", model, *options).code == 2
    assert files_in(tmp_path) == {"in/one.nii.gz", "in/two.nii.gz", "file"}


def test_nothing_is_an_input_twice_and_results_are_none(folder, tmp_path):
    one, two = folder / "one.nii.gz", folder / "two.nii.gz"
    assert paths(gather([one, folder, one], tmp_path / "out")) == [one, two]
    (folder / "one.seg.nrrd").touch()
    series(folder / "ct")
    series(folder / "results" / "deep")
    found = gather([folder], folder / "results")
    assert paths(found) == [one, two, folder / "ct"]
    assert all(each.is_found for each in found.all)
    assert paths(gather([folder], folder)) == [one, two, folder / "ct", folder / "results" / "deep"]
    assert [each.is_found for each in gather([folder, one], folder / "results").all] == [False, True, True]
    with pytest.raises(InputError, match=r"nothing in .* but results"):
        gather([folder / "results"], folder / "results" / "deep")


def paths(found: Inputs) -> list[Path]:
    return [each.path for each in found.all]


def test_a_folder_of_folders_says_how_to_name_the_cts(folder, model, out):
    ended = run("segment", folder.parent, "--model", model, "-o", out, "--json")
    assert ended.code == 3
    assert "only in folders below it" in ended.document["error"]["what"]


def test_real_volumes_in_one_folder(shared_data, model, out):
    ended = run("segment", shared_data / "awkward" / "nifti", "--model", model, "-o", out, "--json")
    assert ended.code == 1
    assert {Path(case["source"]).name: case["status"] for case in ended.document["cases"]} == {
        "ct64_rotated.nrrd": "done",
        "ct64_rotated_lungparts.nrrd": "skipped",
        "ct_abdomen_int32.nii.gz": "done",
        "ct_head_oblique_uint8.nii.gz": "failed",
        "mr_4d_pcasl.nii.gz": "failed",
    }


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_after_a_kill_the_next_run_goes_on_where_it_stopped(folder, model, out):
    process = start(HANG.format(case=2), "segment", folder, "--model", model, "-o", out)
    wait_for_half(process)
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert {name for name in files_in(out) if not name.startswith(".")} == results("one")
    assert [row["status"] for row in summary(out)] == ["done"]
    assert statuses(folder, "--model", model, "-o", out) == {"one.nii.gz": "done before", "two.nii.gz": "done"}
    assert [row["status"] for row in summary(out)] == ["done before", "done"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_after_ctrl_c_finished_cases_stay_and_nothing_else(folder, model, out):
    process = start(HANG.format(case=2), "segment", folder, "--model", model, "-o", out, "--json")
    wait_for_half(process)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.code == 130
    assert "finished stay" in ended.document["error"]["remedy"]
    assert files_in(out) == results("one")


def test_two_runs_into_the_same_folder_both_end_well(folder, model, out):
    processes = [start("", "segment", folder, "--model", model, "-o", out, "--json") for _ in range(2)]
    for ended in [finish(process) for process in processes]:
        assert ended.code == 0
        assert ended.document["failed"] == 0
    assert files_in(out) == results("one", "two")
    report = json.loads((out / "one.report.json").read_text())
    assert report["classes_found"] == ["liver"]


def test_a_summary_that_cannot_be_written_ends_with_the_code_for_output(folder, model, out):
    (out / "summary.csv").mkdir(parents=True)
    assert run("segment", folder, "--model", model, "-o", out, "--json").code == 6


def test_a_scan_without_a_body_is_told_like_any_other_failure(folder, model, out):
    shape = (20, 20, 20)
    voxels = np.full(shape, -1000, np.int16)
    voxels[5, 5, 5] = -990
    write_nifti(folder / "air.nii.gz", voxels, an_affine((4.0, 4.0, 4.0), shape, np.eye(3)))
    ended = run("segment", folder, "--model", model, "-o", out, "--json")
    assert ended.code == 1
    assert ended.document["cases"][0]["error"]["code"] == "input"
