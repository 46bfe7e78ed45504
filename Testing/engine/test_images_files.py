"""Each bad file is refused with one sentence, typed, with a remedy, and nothing from libraries on the terminal."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from builders import a_ct_volume, write_dicom_series
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.images import find_inputs, read_volume
from GenesisSegmentLib.engine.images.sitk import to_sitk

VOLUME = a_ct_volume()
IMAGE = to_sitk(VOLUME.voxels, VOLUME.geometry)
MATRIX = VOLUME.geometry.ijk_to_ras


def written(path: Path, compressed: bool = True) -> Path:
    sitk.WriteImage(IMAGE, str(path), useCompression=compressed)
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def flipped(path: Path, share: float = 0.5, count: int = 4) -> Path:
    content = bytearray(path.read_bytes())
    for n in range(int(len(content) * share), int(len(content) * share) + count):
        content[n] ^= 0xFF
    path.write_bytes(content)
    return path


def nifti(path: Path, voxels: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, MATRIX), path)
    return path


def text(path: Path) -> Path:
    path.write_text("This is not an image.\n" * 50)
    return path


def vectors(path: Path) -> Path:
    sitk.WriteImage(sitk.Compose([IMAGE] * 3), str(path))
    return path


def colours(path: Path) -> Path:
    dtype = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    return nifti(path, np.zeros((8, 8, 8), dtype))


def four_dimensions(path: Path) -> Path:
    sitk.WriteImage(sitk.JoinSeries([IMAGE, IMAGE]), str(path))
    return path


def two_dimensions(path: Path) -> Path:
    sitk.WriteImage(IMAGE[:, :, 3], str(path))
    return path


def header_pair(path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Pair(VOLUME.voxels, MATRIX), path.with_suffix(".hdr"))
    return path.with_suffix(".hdr").rename(path)


def detached(path: Path, data: str) -> Path:
    written(path, compressed=False)
    (path.parent / data).unlink()
    return path


def empty_file(path: Path) -> Path:
    path.touch()
    return path


def empty_folder(path: Path) -> Path:
    path.mkdir()
    return path


def folder_of_volumes(path: Path) -> Path:
    path.mkdir()
    written(path / "a.nii.gz")
    return path


def bytes_changed(path: Path, offset: int, new: bytes) -> Path:
    content = bytearray(path.read_bytes())
    content[offset : offset + len(new)] = new
    path.write_bytes(content)
    return path


def packed(path: Path) -> Path:
    path.write_bytes(gzip.compress(path.read_bytes()))
    return path


def absurd_size(path: Path) -> Path:
    return bytes_changed(written(path), 42, struct.pack("<3h", *[32000] * 3))


def packed_absurd_size(path: Path) -> Path:
    return packed(absurd_size(path.with_name("raw.nii"))).rename(path)


def missing_tail_of_gzip(path: Path) -> Path:
    path.write_bytes(gzip.compress(gzip.decompress(written(path).read_bytes())[:5000]))
    return path


def wrong_checksum(path: Path) -> Path:
    content = written(path).read_bytes()
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    return path


REFUSED: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    "missing": ("absent.nii.gz", lambda p: p, "does not exist"),
    "empty folder": ("nothing", empty_folder, "no image in"),
    "folder of volumes": ("volumes", folder_of_volumes, "1 volume files.*one of the files"),
    "unknown suffix": ("notes.txt", text, "not an image that can be read"),
    "no suffix": ("notes", text, "not an image that can be read"),
    "text as dcm": ("notes.dcm", text, "not an image that can be read"),
    "empty nii.gz": ("ct.nii.gz", empty_file, "is empty"),
    "empty dcm": ("ct.dcm", empty_file, "is empty"),
    "text as nii": ("ct.nii", text, "not a NIfTI file"),
    "text as nii.gz": ("ct.nii.gz", text, "not a NIfTI file"),
    "text as nrrd": ("ct.nrrd", text, "not a NRRD file"),
    "text as mha": ("ct.mha", text, "not a MetaImage file"),
    "gzip of text": ("ct.nii.gz", lambda p: packed(text(p)), "not a NIfTI"),
    "cut nii": ("ct.nii", lambda p: cut(written(p)), "truncated"),
    "cut header": ("ct.nii", lambda p: cut(written(p), 0.01), "truncated"),
    "cut nii.gz": ("ct.nii.gz", lambda p: cut(written(p)), "truncated"),
    "nii.gz of a cut file": ("ct.nii.gz", missing_tail_of_gzip, "truncated"),
    "cut last byte": ("ct.nii.gz", lambda p: cut(written(p), 0.9999), "truncated"),
    "corrupt nii.gz": ("ct.nii.gz", lambda p: flipped(written(p)), "damaged"),
    "wrong checksum": ("ct.nii.gz", wrong_checksum, "damaged"),
    "cut nrrd": ("ct.nrrd", lambda p: cut(written(p)), "damaged"),
    "cut raw nrrd": ("ct.nrrd", lambda p: cut(written(p, False)), "damaged"),
    "corrupt nrrd": ("ct.nrrd", lambda p: flipped(written(p)), "damaged"),
    "cut mha": ("ct.mha", lambda p: cut(written(p)), "damaged"),
    "cut raw mha": ("ct.mha", lambda p: cut(written(p, False)), "damaged"),
    "corrupt mha": ("ct.mha", lambda p: flipped(written(p)), "damaged"),
    "nhdr without data": ("ct.nhdr", lambda p: detached(p, "ct.raw"), "damaged"),
    "mhd without data": ("ct.mhd", lambda p: detached(p, "ct.raw"), "data file that is missing"),
    "pair": ("ct.nii", header_pair, "one half of an Analyze or NIfTI pair"),
    "2-D nifti": ("ct.nii.gz", two_dimensions, "2-D"),
    "2-D nrrd": ("ct.nrrd", two_dimensions, "2-D"),
    "2-D mha": ("ct.mha", two_dimensions, "2-D"),
    "one slice": ("ct.nii.gz", lambda p: nifti(p, VOLUME.voxels[:, :, :1]), "2-D"),
    "4-D nifti": ("ct.nii.gz", four_dimensions, "4-D"),
    "4-D nrrd": ("ct.nrrd", four_dimensions, "4-D"),
    "4-D mha": ("ct.mha", four_dimensions, "4-D"),
    "vector nrrd": ("ct.nrrd", vectors, "numbers per voxel"),
    "vector mha": ("ct.mha", vectors, "numbers per voxel"),
    "vector nifti": ("ct.nii.gz", vectors, "5-D|numbers per voxel"),
    "colours": ("ct.nii.gz", colours, "colours"),
    "complex": ("ct.nii.gz", lambda p: nifti(p, VOLUME.voxels.astype(np.complex64)), "complex"),
    "no size": ("ct.nii", lambda p: bytes_changed(written(p), 40, struct.pack("<8h", *[0] * 8)), "damaged"),
    "absurd size": ("ct.nii", absurd_size, "truncated"),
    "absurd size, packed": ("ct.nii.gz", packed_absurd_size, "truncated"),
    "label map": ("labels.nii.gz", lambda p: nifti(p, (VOLUME.voxels > 0).astype(np.uint8)), "label map"),
}


@pytest.mark.parametrize(("name", "make", "because"), REFUSED.values(), ids=REFUSED)
def test_a_bad_input_is_refused_with_cause_and_remedy(
    name: str, make: Callable[[Path], Path], because: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / name)
    capfd.readouterr()
    with pytest.raises(InputError, match=because) as refusal:
        read_volume(path)
    assert refusal.value.remedy
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64, np.int64])
def test_number_types_of_nifti_read_the_same(dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(VOLUME.voxels.astype(dtype), MATRIX, dtype=dtype), path)
    np.testing.assert_array_equal(read_volume(path).voxels, VOLUME.voxels)


def test_slope_and_intercept_of_nifti_are_applied(tmp_path: Path) -> None:
    stored = (VOLUME.voxels.astype(np.int32) + 1024).astype(np.uint16)
    nifti(tmp_path / "whole.nii", stored)
    bytes_changed(tmp_path / "whole.nii", 112, struct.pack("<2f", 1, -1024))
    np.testing.assert_array_equal(read_volume(tmp_path / "whole.nii").voxels, VOLUME.voxels)
    nifti(tmp_path / "halves.nii", stored * np.uint16(2))
    bytes_changed(tmp_path / "halves.nii", 112, struct.pack("<2f", 0.5, -1024))
    np.testing.assert_array_equal(read_volume(tmp_path / "halves.nii").voxels, VOLUME.voxels)


def test_the_source_names_the_file_without_its_suffix(tmp_path: Path) -> None:
    for name in ("scan.v2.nii.gz", "scan.v2.nii", "scan.v2.nrrd", "scan.v2.mha"):
        source = read_volume(written(tmp_path / name)).source
        assert source.name == "scan.v2"
        assert source.path == tmp_path / name
        assert source.files == (tmp_path / name,)
        assert not source.is_dicom


def test_uppercase_suffixes_count(tmp_path: Path) -> None:
    path = written(tmp_path / "ct.nii.gz").rename(tmp_path / "CT.NII.GZ")
    assert read_volume(path).geometry.shape == VOLUME.geometry.shape


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "ct.nii.gz")

    def forbidden(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(InputError, match="Permission denied") as refusal:
        read_volume(path)
    assert refusal.value.remedy


def test_inputs_of_a_batch_are_volumes_beside_each_other_and_folders_with_dicom(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.nii.gz"), written(tmp_path / "b.mha")
    (tmp_path / "._a.nii.gz").write_bytes(b"resource fork")
    (tmp_path / "notes.txt").write_text("x")
    results = tmp_path / "results"
    results.mkdir()
    written(results / "liver.nii.gz")
    for name in ("patient 1/series", "patient 2/deep/er"):
        write_dicom_series(tmp_path / name, VOLUME.voxels[:, :, :2], VOLUME.geometry)
    expected = (first, second, tmp_path / "patient 1/series", tmp_path / "patient 2/deep/er")
    assert find_inputs(tmp_path) == expected
    assert find_inputs(first) == (first,)
    assert find_inputs(tmp_path / "patient 1/series") == (tmp_path / "patient 1/series",)


def test_a_batch_without_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in"):
        find_inputs(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_inputs(tmp_path / "absent")
