"""Each bad file is refused with one sentence, typed, with a remedy, and nothing from libraries on the terminal."""

from __future__ import annotations

import bz2
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
from GenesisSegmentLib.engine.images.reading import CtInput
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


def longer(path: Path) -> Path:
    path.write_bytes(gzip.compress(gzip.decompress(written(path).read_bytes()) + b"x"))
    return path


def split_nrrd(path: Path) -> tuple[bytes, bytes]:
    """Header and packed data of a NRRD file."""
    whole = written(path.with_name("whole.nrrd"))
    header, _, data = whole.read_bytes().partition(b"\n\n")
    whole.unlink()
    return header + b"\n\n", data


def longer_nrrd(path: Path) -> Path:
    header, data = split_nrrd(path)
    path.write_bytes(header + gzip.compress(gzip.decompress(data) + b"x"))
    return path


def of_unknown_numbers(path: Path) -> Path:
    header, data = split_nrrd(path)
    path.write_bytes(header.replace(b"type: short", b"type: block") + data)
    return path


def detached_nrrd(path: Path, pack: Callable[[bytes], bytes] = gzip.compress, encoding: str = "gzip") -> Path:
    """A header with its packed data in four files, which begin with a line of text."""
    header, data = split_nrrd(path)
    content = gzip.decompress(data)
    step = -(-len(content) // 4)
    for n in range(4):
        (path.parent / f"part{n}").write_bytes(b"a line\n" + pack(content[n * step : (n + 1) * step]))
    changed = header.rstrip().replace(b"encoding: gzip", f"encoding: {encoding}\nline skip: 1".encode())
    path.write_bytes(changed + b"\ndata file: part%d 0 3 1 3\n")
    return path


def cut_data(path: Path) -> Path:
    cut(detached_nrrd(path).parent / "part2")
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
    "cut nrrd": ("ct.nrrd", lambda p: cut(written(p)), "truncated"),
    "cut raw nrrd": ("ct.nrrd", lambda p: cut(written(p, False)), "damaged"),
    "corrupt nrrd": ("ct.nrrd", lambda p: flipped(written(p)), "damaged"),
    "cut mha": ("ct.mha", lambda p: cut(written(p)), "damaged"),
    "cut raw mha": ("ct.mha", lambda p: cut(written(p, False)), "damaged"),
    "nrrd that goes on": ("ct.nrrd", lambda p: longer_nrrd(p), "more than its header states"),
    "nii.gz that goes on": ("ct.nii.gz", lambda p: longer(p), "more than its header states"),
    "nrrd of unknown numbers": ("ct.nrrd", lambda p: of_unknown_numbers(p), "damaged"),
    "nhdr of a packed file that is cut": ("ct.nhdr", lambda p: cut_data(p), "truncated"),
    "corrupt mha": ("ct.mha", lambda p: flipped(written(p)), "damaged"),
    "nhdr without data": ("ct.nhdr", lambda p: detached(p, "ct.raw"), "data file that is missing"),
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


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_one_flipped_bit_of_packed_voxels_never_changes_a_value(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name)
    content = path.read_bytes()
    start = 0 if name.endswith(".gz") else content.index(b"\n\n") if name == "ct.nrrd" else content.index(b"LOCAL") + 6
    places = range(start, len(content), (len(content) - start) // 60 | 1)
    refused = 0
    for number, place in enumerate(places):
        broken = bytearray(content)
        broken[place] ^= 1 << number % 8
        path.write_bytes(broken)
        try:
            read = read_volume(path)
        except InputError:
            refused += 1
        else:
            np.testing.assert_array_equal(read.voxels, VOLUME.voxels)
    assert len(places) - 2 <= refused <= len(places)  # a bit of the packer's own header may mean nothing


@pytest.mark.parametrize(("pack", "encoding"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2")])
def test_packed_nrrd_in_several_files_is_read_and_checked(pack: Callable, encoding: str, tmp_path: Path) -> None:
    path = detached_nrrd(tmp_path / "ct.nhdr", pack, encoding)
    read = read_volume(path)
    np.testing.assert_array_equal(read.voxels, VOLUME.voxels)
    assert read.geometry.matches(VOLUME.geometry)
    assert read.source.files == (path, *(tmp_path / f"part{n}" for n in range(4)))
    for place in range(-6, -1):
        data = tmp_path / "part3"
        before = data.read_bytes()
        bytes_changed(data, len(before) + place, bytes([before[place] ^ 8]))
        with pytest.raises(InputError, match=r"part3 is (damaged|truncated)"):
            read_volume(path)
        data.write_bytes(before)


def test_packed_nrrd_of_foreign_byte_order_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ct.nrrd"
    header, data = split_nrrd(path)
    swapped = np.frombuffer(gzip.decompress(data), "<i2").astype(">i2").tobytes()
    path.write_bytes(header.replace(b"endian: little", b"endian: big") + gzip.compress(swapped))
    np.testing.assert_array_equal(read_volume(path).voxels, VOLUME.voxels)


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
    found = find_inputs(tmp_path)
    assert tuple(each.path for each in found) == expected
    assert all(each.is_found and each.refusal is None for each in found)
    assert find_inputs(first) == (CtInput(first),)
    (one,) = find_inputs(tmp_path / "patient 1/series")
    assert (one.path, one.is_found) == (tmp_path / "patient 1/series", False)


def test_a_batch_without_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image in"):
        find_inputs(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_inputs(tmp_path / "absent")
