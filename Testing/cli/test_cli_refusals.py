"""``genesis-segment segment`` on what it cannot do: one sentence, the code of its kind, and nothing on disk."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cli_builders import HANG, files_in, finish, run, start, wait_for_half
from dicom_builders import series

SIDE_FILES = {"measurements.csv", "measurements.json", "overview.png", "report.json"}
AWKWARD = {
    "nsclc_pat2_missing_slices": 3,
    "philips_phantom_tilt": 3,
    "ge_head_tilt_variable_spacing": 3,
    "coronal_sagittal_ct_slices/coronal": 3,
    "coronal_sagittal_ct_slices/sagittal": 3,
    "nifti/ct64_rotated_lungparts.nrrd": 3,
    "nifti/ct_head_oblique_uint8.nii.gz": 3,
    "nifti/mr_4d_pcasl.nii.gz": 3,
    "nifti/ct_abdomen_int32.nii.gz": 0,
    "nifti/ct64_rotated.nrrd": 0,
    "mr_liver/example_mr_sm.nii.gz": 3,
    "mr_liver/example_seg_mr.nii.gz": 3,
    "compressed_dicom/693_J2KI.dcm": 3,
    "compressed_dicom/693_J2KR.dcm": 3,
    "compressed_dicom/CT_small.dcm": 3,
    "compressed_dicom/J2K_pixelrep_mismatch.dcm": 3,
    "compressed_dicom/MR_truncated.dcm": 3,
    "compressed_dicom/bad_sequence.dcm": 3,
    "compressed_dicom/eCT_Supplemental.dcm": 3,
    "compressed_dicom/emri_small_RLE.dcm": 3,
    "compressed_dicom/emri_small_big_endian.dcm": 3,
    "compressed_dicom/emri_small_jpeg_ls_lossless.dcm": 3,
    "compressed_dicom/explicit_VR-UN.dcm": 3,
    "compressed_dicom/liver_j2k.dcm": 3,
    "compressed_dicom/liver_rle.dcm": 3,
}


class Malware:
    """Runs a command where it is unpickled carelessly."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    ("options", "code", "kind", "word"),
    [
        (("--classes", "pancreas"), 3, "input", "pancreas"),
        (("--classes", "elbow"), 3, "input", "elbow"),
        (("--model", "nonsense"), 4, "model", "nonsense"),
        (("--model", "universal_unet"), 4, "model", "not installed"),
        (("--model", "genesis_chest_ct"), 4, "model", "segments nothing"),
        (("--model", "absent.pth"), 4, "model", "absent.pth"),
        (("--model", "TEXT"), 4, "model", "text.pth"),
        (("--model", "MALWARE"), 4, "model", "could run code"),
        (("--device", "cuda:77"), 5, "resource", "cuda:77"),
        (("--device", "toaster"), 5, "resource", "toaster"),
        (("-o", "out.doc"), 6, "output", ".doc"),
        (("-o", "FILE/out.nii.gz"), 6, "output", "not a folder"),
        (("-o", "CT"), 6, "output", "would be replaced"),
        (("-o", "out.dcm"), 6, "output", "DICOM"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_each_kind_of_error_has_its_code_and_leaves_nothing(options, code, kind, word, phantom, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ct = tmp_path / "ct.nii.gz"
    ct.write_bytes(phantom.read_bytes())
    (tmp_path / "text.pth").write_text("hello")
    with (tmp_path / "malware.pth").open("wb") as stream:
        pickle.dump(Malware(tmp_path / "owned"), stream)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    places = {"TEXT": "text.pth", "MALWARE": "malware.pth", "CT": str(ct), "FILE/out.nii.gz": "text.pth/out.nii.gz"}
    ended = run("segment", ct, *(places.get(option, option) for option in options), "--json")
    assert ended.code == code
    error = ended.document["error"]
    assert error["code"] == kind
    assert word in error["what"]
    assert error["remedy"]
    assert ended.err.splitlines() == [f"Error: {error['what']}", f"  {error['remedy']}"]
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x1f\x8b\x08 broken"], ids=["empty", "no image", "broken compression"]
)
def test_a_file_that_is_no_image_is_refused(content, model, tmp_path):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(content)
    ended = run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz", "--json")
    assert ended.code == 3
    assert files_in(tmp_path) == {"ct.nii.gz"}


@pytest.mark.parametrize("inputs", [("ct.nii.gz",), ("folder",), ("ct.nii.gz", "series"), ("--sample", "--offline")])
def test_a_series_cannot_be_chosen_in_what_is_not_dicom(inputs, ct, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series(tmp_path / "series")
    for path in (tmp_path / "ct.nii.gz", tmp_path / "folder" / "ct.nii.gz"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(ct.read_bytes())
    before = files_in(tmp_path)
    ended = run("segment", *inputs, "--model", model, "--series", "3", "--json")
    assert ended.code == 2
    assert "--series" in ended.document["error"]["what"]
    assert ("ct.nii.gz" in ended.document["error"]["what"]) == ("--sample" not in inputs)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("inputs", [("ct.nii.gz",), ()])
def test_offline_means_nothing_without_the_sample(inputs, model, tmp_path):
    ended = run("segment", *inputs, "--offline", "--model", model, "--json")
    assert ended.code == 2
    assert "--offline" in ended.document["error"]["what"]


def test_an_overlap_without_windows_is_told(ct, model, tmp_path):
    ended = run("segment", ct, "--model", model, "--overlap", "0.9", "-o", tmp_path / "out.seg.nrrd")
    assert ended.code == 0
    assert "Note: --overlap changes nothing" in ended.err


@pytest.mark.skipif(
    not Path("/proc/self").is_dir() or os.geteuid() != 0, reason="there is no folder that takes no files from anybody"
)
def test_a_folder_that_takes_no_files_is_named_as_such(ct, model):
    ended = run("segment", ct, "--model", model, "-o", "/proc/x.seg.nrrd", "--json")
    assert ended.code == 6
    assert "takes no new files" in ended.document["error"]["what"]
    assert "another folder" in ended.document["error"]["remedy"]


def test_a_header_that_claims_125_thousand_million_voxels_is_refused(model, tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((5000, 5000, 5000))
    header.set_sform(np.eye(4), code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path = tmp_path / "huge.nii"
    path.write_bytes(header.binaryblock + bytes(2000))
    ended = run("segment", path, "--model", model, "-o", tmp_path / "out.nii.gz")
    assert ended.code == 3
    assert "truncated" in ended.err


def test_every_awkward_file_has_an_expected_end(shared_data):
    awkward = shared_data / "awkward"
    for path in (path for path in awkward.rglob("*") if path.is_file()):
        place = path.relative_to(awkward)
        assert place.as_posix() in AWKWARD or place.parent.as_posix() in AWKWARD


@pytest.mark.parametrize(("place", "code"), AWKWARD.items(), ids=AWKWARD)
def test_awkward_files_end_as_expected(shared_data, place, code, model, tmp_path):
    ended = run("segment", shared_data / "awkward" / place, "--model", model, "-o", tmp_path / "out.seg.nrrd", "--json")
    assert ended.code == code
    if code:
        assert ended.document["error"]["remedy"]
        assert files_in(tmp_path) == set()
        assert ended.err.startswith("Error: ")
    else:
        assert files_in(tmp_path) == {"out.seg.nrrd", *(f"out.{name}" for name in SIDE_FILES)}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on files")
@pytest.mark.parametrize(("size", "file"), [(200, "out.seg.nrrd"), (30_000, "out.overview.png")])
def test_a_disk_that_takes_no_more_leaves_nothing(size, file, model, ct, tmp_path):
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"
    target = tmp_path / "out" / "out.seg.nrrd"
    ended = finish(start(code, "segment", ct, "--model", model, "-o", target, "--json"))
    assert ended.code == 6
    assert ended.document["error"]["what"].startswith(str(tmp_path / "out"))
    assert file in ended.document["error"]["what"]
    assert files_in(tmp_path) == set()


def test_a_read_only_target_is_found_before_the_work(model, ct, tmp_path, monkeypatch):
    """A read-only disk is played: the tests may run with rights that no mode of a folder stops."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(
        "GenesisSegmentLib.engine.inference.segmenter.Segmenter.segment", lambda *_: pytest.fail("the work was begun")
    )
    ended = run("segment", ct, "--model", model, "-o", tmp_path / "out.nii.gz", "--json")
    assert ended.code == 6
    assert "read-only" in ended.document["error"]["what"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for one process")
def test_ctrl_c_in_the_middle_of_writing_ends_with_130_and_leaves_nothing(model, ct, tmp_path):
    target = tmp_path / "out" / "out.nii.gz"
    process = start(HANG.format(case=1), "segment", ct, "--model", model, "-o", target, "--json")
    wait_for_half(process)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.code == 130
    assert ended.document["error"]["code"] == "cancelled"
    assert "Traceback" not in ended.err
    assert files_in(tmp_path) == set()


def test_a_careless_reader_would_have_run_the_malware(tmp_path):
    """So that the refusal above is of something that bites."""
    pickle.loads(pickle.dumps(Malware(tmp_path / "owned")))
    assert (tmp_path / "owned").is_dir()
