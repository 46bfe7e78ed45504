"""Pixels of DICOM series: rescaled, decoded and framed as the header says, or refused with cause and remedy."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    MPEG4HP41,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from builders import write_dicom_series, write_enhanced_ct
from dicom_builders import COUNT, VOLUME, assert_same, series
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.images import read_volume

# --- values --------------------------------------------------------------------------------------------------------


def test_each_slice_has_its_own_rescaling(tmp_path: Path) -> None:
    def edit(dataset: Dataset, k: int) -> None:
        slope, intercept = (0.5, -1000 - k)
        stored = np.rint((VOLUME.voxels[:, :, k].T - intercept) / slope).astype("<i2")
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
        dataset.PixelData = stored.tobytes()

    assert_same(read_volume(series(tmp_path, edit=edit)))


def test_padding_outside_the_field_of_view_becomes_air_with_a_note(tmp_path: Path) -> None:
    voxels = VOLUME.voxels.copy()
    voxels[:3] = -3024
    write_dicom_series(tmp_path, voxels, VOLUME.geometry, PixelPaddingValue=-2000)
    read = read_volume(tmp_path)
    assert_same(read, np.maximum(voxels, -1024))
    assert [note for note in read.source.notes if "padding" in note]


def test_padding_above_air_is_recognised_by_its_tag_only_where_it_is_the_lowest_value(tmp_path: Path) -> None:
    voxels = np.maximum(VOLUME.voxels, -800)
    voxels[:3] = -900
    read = read_volume(series(tmp_path / "a", voxels, PixelPaddingValue=124))
    assert (read.voxels[:3] == -1024).all()
    np.testing.assert_array_equal(read.voxels[3:], voxels[3:])
    assert_same(read_volume(series(tmp_path / "b", PixelPaddingValue=1064)))


def test_unsigned_twelve_bit_pixels_with_overlay_bits_read_the_same(tmp_path: Path) -> None:
    def edit(dataset: Dataset, k: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        stored = (VOLUME.voxels[:, :, k].T + 1024).astype("<u2")
        stored[2, 3] |= 0x8000  # an old way to keep a graphic beside the pixels
        dataset.PixelData = stored.tobytes()

    assert_same(read_volume(series(tmp_path, edit=edit)))


def test_an_organ_alone_is_a_ct_where_the_header_says_so(tmp_path: Path) -> None:
    voxels = np.random.default_rng(1).normal(60, 10, VOLUME.geometry.shape).astype(np.int16)
    assert_same(read_volume(series(tmp_path / "hu", voxels)), voxels)
    with pytest.raises(InputError, match="not Hounsfield units"):
        read_volume(series(tmp_path / "us", voxels, RescaleType="US"))


def test_a_rescale_intercept_that_contradicts_the_pixels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="zero point was lost"):
        read_volume(series(tmp_path, RescaleIntercept=0))


# --- encodings -----------------------------------------------------------------------------------------------------


def compressed(folder: Path, syntax: str) -> Path:
    """The series written by the compressor of another library."""
    for path in series(folder).iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
    return folder


@pytest.mark.parametrize(
    "syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda uid: uid.name
)
def test_compressed_series_are_decoded(syntax: pydicom.uid.UID, tmp_path: Path) -> None:
    compressed(tmp_path, syntax)
    assert pydicom.dcmread(next(tmp_path.iterdir())).file_meta.TransferSyntaxUID == syntax
    assert_same(read_volume(tmp_path))


@pytest.mark.parametrize(
    "syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless], ids=lambda u: u.name
)
def test_a_cut_compressed_file_is_refused(syntax: pydicom.uid.UID, tmp_path: Path) -> None:
    path = sorted(compressed(tmp_path, syntax).iterdir())[3]
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=f"{path.name} is (damaged|truncated)") as refusal:
        read_volume(tmp_path)
    assert refusal.value.remedy


def test_a_missing_decoder_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed(tmp_path, JPEG2000Lossless)
    monkeypatch.setattr(get_decoder(JPEG2000Lossless), "_available", {})
    with pytest.raises(InputError, match=r"JPEG 2000.*cannot be decoded here") as refusal:
        read_volume(tmp_path)
    assert "pip install" in refusal.value.remedy


def test_a_compression_that_nobody_decodes_is_refused(tmp_path: Path) -> None:
    def film(dataset: Dataset, k: int) -> None:
        dataset.file_meta.TransferSyntaxUID = MPEG4HP41
        dataset.PixelData = encapsulate([dataset.PixelData])

    series(tmp_path, edit=film)
    with pytest.raises(InputError, match=r"compressed \(MPEG-4.*cannot be decoded here"):
        read_volume(tmp_path)


@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, False)], ids=["implicit", "big endian"])
def test_other_encodings_read_the_same(implicit: bool, little: bool, tmp_path: Path) -> None:
    for path in series(tmp_path).iterdir():
        dataset = pydicom.dcmread(path)
        if not little:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
        syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = syntax
        for element in dataset:  # decoded, so as to be encoded anew
            assert element.VR
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    assert_same(read_volume(tmp_path))


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    for path in series(tmp_path).iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert_same(read_volume(tmp_path))


@pytest.mark.parametrize("share", [0.97, 0.7, 0.3])
def test_a_cut_file_is_refused(share: float, tmp_path: Path) -> None:
    path = sorted(series(tmp_path).iterdir())[5]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=f"{path.name} is (damaged|truncated)") as refusal:
        read_volume(tmp_path)
    assert refusal.value.remedy


def test_nothing_of_pydicom_reaches_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        series(tmp_path, SeriesInstanceUID="not a uid", StudyDate="yesterday", KVP="1" * 30)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(read_volume(tmp_path))
    assert capfd.readouterr() == ("", "")


# --- enhanced CT ---------------------------------------------------------------------------------------------------


def test_an_enhanced_ct_with_two_frames_at_one_place_is_refused(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "ct.dcm", VOLUME.voxels, VOLUME.geometry, order=[*range(COUNT), 3])
    with pytest.raises(InputError, match=r"at the same place.*frame"):
        read_volume(path)


def test_an_enhanced_ct_that_lacks_a_frame_is_refused(tmp_path: Path) -> None:
    order = [k for k in range(COUNT) if k != 8]
    path = write_enhanced_ct(tmp_path / "ct.dcm", VOLUME.voxels, VOLUME.geometry, order=order)
    with pytest.raises(InputError, match="1 slice is missing"):
        read_volume(path)


def test_frames_have_their_own_rescaling(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "ct.dcm", VOLUME.voxels, VOLUME.geometry)
    dataset = pydicom.dcmread(path)
    item = Dataset()
    item.RescaleSlope, item.RescaleIntercept, item.RescaleType = 1, -1034, "HU"
    dataset.PerFrameFunctionalGroupsSequence[4].PixelValueTransformationSequence = [item]
    dataset.save_as(path)
    expected = VOLUME.voxels.copy()
    expected[:, :, 4] -= 10
    assert_same(read_volume(path), np.maximum(expected, -1024))


def test_an_enhanced_ct_that_does_not_describe_its_frames_is_refused(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "ct.dcm", VOLUME.voxels, VOLUME.geometry, NumberOfFrames=COUNT - 1)
    with pytest.raises(InputError, match="does not describe each of its frames"):
        read_volume(path)


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    path = sorted(series(tmp_path).iterdir())[2]
    content = path.read_bytes()
    at = content.index(struct.pack("<HH", 0x0028, 0x0010))
    path.write_bytes(content[:at] + bytes(range(256)) * 3)
    with pytest.raises(InputError, match=r"damaged|does not state|differ"):
        read_volume(tmp_path)
