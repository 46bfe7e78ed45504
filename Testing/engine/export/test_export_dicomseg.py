"""DICOM SEG: right place, right codes, tied to its series. Read back with pydicom alone."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.segmentation import Segmentation
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.export import check_target, write_segmentation
from GenesisSegmentLib.engine.images import read_volume

pytest.importorskip("highdicom")
PATIENT = "Doe^Jane"


@pytest.fixture
def as_series(tmp_path):
    """Makes a DICOM series on a grid, one file per slice in the order of axis k, and the volume it stands for."""

    def make(geometry) -> Volume:
        folder = tmp_path / "series"
        folder.mkdir()
        study, series, frame_of_reference = generate_uid(), generate_uid(), generate_uid()
        files = []
        for k in range(geometry.shape[2]):
            header = ct_slice(geometry, k)
            header.StudyInstanceUID, header.SeriesInstanceUID = study, series
            header.FrameOfReferenceUID = frame_of_reference
            files.append(folder / f"{k}.dcm")
            header.save_as(files[-1], enforce_file_format=True)
        source = Source(folder, "series", tuple(files), series)
        return Volume(np.full(geometry.shape, -1000, np.int16), geometry, source)

    return make


def ct_slice(geometry, k: int) -> FileDataset:
    to_lps = np.diag([-1, -1, 1]) @ geometry.ijk_to_ras[:3]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    header.PatientName, header.PatientID, header.PatientBirthDate, header.PatientSex = PATIENT, "7", "", "F"
    header.StudyDate, header.StudyTime, header.StudyID, header.AccessionNumber = "20260101", "101010", "1", ""
    header.Modality, header.SeriesNumber, header.InstanceNumber = "CT", 4, k + 1
    header.ReferringPhysicianName, header.Manufacturer = "", "Test"
    columns, rows, _ = geometry.shape
    header.Columns, header.Rows = columns, rows
    step_i, step_j, _ = geometry.spacing
    header.PixelSpacing = [step_j, step_i]
    header.ImageOrientationPatient = (to_lps[:, :2] / [step_i, step_j]).T.ravel().round(12).tolist()
    header.ImagePositionPatient = (to_lps @ [0, 0, k, 1]).round(9).tolist()
    header.SliceThickness = geometry.spacing[2]
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PixelRepresentation = 1, "MONOCHROME2", 1
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.RescaleSlope, header.RescaleIntercept = 1, 0
    header.PixelData = np.full((rows, columns), -1000, "<i2").tobytes()
    return header


def segment_points(dataset: pydicom.Dataset, number: int) -> np.ndarray:
    """RAS positions (n, 3) of the pixels of a segment, from each frame's own position and orientation."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    orientation = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    row_step, column_step = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    points = [np.empty((0, 3))]
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            rows, columns = np.nonzero(frame)
            position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
            points.append(
                position + np.outer(columns * column_step, orientation[0]) + np.outer(rows * row_step, orientation[1])
            )
    return np.concatenate(points) * [-1, -1, 1]


def test_segments_lie_where_the_masks_lay(any_grid, as_series, blobs, ras_of, sort_points, tmp_path):
    segmentation = blobs(any_grid)
    (target,) = write_segmentation(segmentation, as_series(any_grid), tmp_path / "out.dcm")
    dataset = pydicom.dcmread(target)
    for number, index in ((1, 2), (2, 6)):
        found = sort_points(segment_points(dataset, number))
        np.testing.assert_allclose(found, ras_of(segmentation.mask(index), any_grid), atol=1e-3)


@pytest.fixture
def written(grid, as_series, blobs, tmp_path):
    volume = as_series(grid)
    (target,) = write_segmentation(blobs(grid), volume, tmp_path / "out.dcm")
    return volume, pydicom.dcmread(target)


def test_overlap_is_kept_and_stated(written):
    _, dataset = written
    assert dataset.SegmentationType == "BINARY"
    assert dataset.SegmentsOverlap == "YES"
    shared = {tuple(p) for p in segment_points(dataset, 1).round(3)} & {
        tuple(p) for p in segment_points(dataset, 2).round(3)
    }
    assert len(shared) == 1


def test_classes_without_overlap_are_stated_as_such(grid, as_series, blobs, ras_of, sort_points, tmp_path):
    bits = blobs(grid).bits.copy()
    bits[(bits & (bits - 1)) != 0] = 1 << 5
    segmentation = Segmentation(bits, grid, (2, 6))
    (target,) = write_segmentation(segmentation, as_series(grid), tmp_path / "out.dcm")
    dataset = pydicom.dcmread(target)
    assert dataset.SegmentsOverlap == "NO"
    for number, index in ((1, 2), (2, 6)):
        found = sort_points(segment_points(dataset, number))
        np.testing.assert_allclose(found, ras_of(segmentation.mask(index), grid), atol=1e-3)


def test_segment_is_coded_and_coloured(written):
    _, dataset = written
    kidney, liver = dataset.SegmentSequence
    assert (kidney.SegmentLabel, kidney.TrackingID) == ("Right Kidney", "kidney_right")
    assert (liver.SegmentLabel, liver.TrackingID) == ("Liver", "liver")
    type_code = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (type_code.CodeValue, type_code.CodingSchemeDesignator, type_code.CodeMeaning) == (
        "64033007",
        "SCT",
        "Kidney",
    )
    assert type_code.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert kidney.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    lightness = [s.RecommendedDisplayCIELabValue[0] / 0xFFFF * 100 for s in (kidney, liver)]
    np.testing.assert_allclose(lightness, (62.6, 63.5), atol=0.5)  # sRGB (212, 126, 151) and (221, 130, 101)


def test_lesion_names_its_organ(grid, as_series, tmp_path):
    bits = np.zeros(grid.shape, np.uint32)
    bits[2, 2, 2] = 1 << 26
    (target,) = write_segmentation(Segmentation(bits, grid, (27,)), as_series(grid), tmp_path / "out.dcm")
    (tumour,) = pydicom.dcmread(target).SegmentSequence
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"


def test_program_is_named_as_the_author(written):
    _, dataset = written
    (algorithm,) = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == dataset.Manufacturer == "GenesisSegment"
    assert algorithm.AlgorithmVersion == dataset.SoftwareVersions
    assert dataset.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_instance_belongs_to_the_study_and_refers_to_the_slices(written, blobs, grid):
    volume, dataset = written
    sources = [pydicom.dcmread(file) for file in volume.source.files]
    used = {sources[k].SOPInstanceUID for k in np.flatnonzero(blobs(grid).bits.any(axis=(0, 1)))}
    assert dataset.StudyInstanceUID == sources[0].StudyInstanceUID
    assert dataset.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert dataset.SeriesInstanceUID != volume.source.series_uid
    (referenced,) = dataset.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == volume.source.series_uid
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == used


def test_frames_without_a_mask_are_left_out(written, blobs, grid):
    _, dataset = written
    segmentation = blobs(grid)
    expected = sum(int(segmentation.mask(c).any(axis=(0, 1)).sum()) for c in (2, 6))
    assert dataset.NumberOfFrames == expected < 2 * grid.shape[2]


def test_patient_does_not_appear_in_logs_or_warnings(grid, as_series, blobs, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PATIENT", "SINGLEWORD")
    volume = as_series(grid)
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        write_segmentation(blobs(grid), volume, tmp_path / "out.dcm")
    assert "SINGLEWORD" not in caplog.text + " ".join(str(w.message) for w in caught)


@pytest.mark.parametrize("change", ["reversed", "moved", "mirrored", "larger"])
def test_series_that_changed_since_it_was_read_is_refused(grid, as_series, blobs, tmp_path, change):
    volume = as_series(grid)
    headers = [pydicom.dcmread(file) for file in volume.source.files]
    last_to_first = [header.ImagePositionPatient for header in headers[::-1]]
    for file, header, opposite in zip(volume.source.files, headers, last_to_first, strict=True):
        if change == "reversed":
            header.ImagePositionPatient = list(opposite)
        elif change == "moved":
            header.ImagePositionPatient[0] += 1
        elif change == "mirrored":
            header.ImageOrientationPatient = [-float(v) for v in header.ImageOrientationPatient[:3]] + list(
                header.ImageOrientationPatient[3:]
            )
        else:
            header.Rows += 1
        header.save_as(file)
    for attempt in (
        lambda: check_target(tmp_path / "out.dcm", volume),
        lambda: write_segmentation(blobs(grid), volume, tmp_path / "out.dcm"),
    ):
        with pytest.raises(OutputError, match="has changed"):
            attempt()
    assert not (tmp_path / "out.dcm").exists()


def test_files_in_the_wrong_order_are_refused(grid, as_series, blobs, tmp_path):
    volume = as_series(grid)
    source = replace(volume.source, files=volume.source.files[::-1])
    with pytest.raises(OutputError, match="has changed"):
        check_target(tmp_path / "out.dcm", replace(volume, source=source))


def test_files_that_are_gone_are_named(grid, as_series, blobs, tmp_path):
    volume = as_series(grid)
    volume.source.files[2].unlink()
    with pytest.raises(OutputError, match="can no longer be read"):
        write_segmentation(blobs(grid), volume, tmp_path / "out.dcm")


def test_series_without_a_required_attribute_is_refused_early(grid, as_series, tmp_path):
    volume = as_series(grid)
    header = pydicom.dcmread(volume.source.files[0])
    del header.ImagePositionPatient
    header.save_as(volume.source.files[0])
    with pytest.raises(OutputError, match="ImagePositionPatient"):
        check_target(tmp_path / "out.dcm", volume)


def test_series_that_lacks_patient_attributes_is_refused_with_the_reason(grid, as_series, blobs, tmp_path):
    volume = as_series(grid)
    for file in volume.source.files:
        header = pydicom.dcmread(file)
        del header.StudyID
        header.save_as(file)
    with pytest.raises(OutputError, match="StudyID"):
        write_segmentation(blobs(grid), volume, tmp_path / "out.dcm")


def test_a_missing_slice_thickness_is_said_before_the_work(grid, as_series, tmp_path):
    volume = as_series(grid)
    for file in volume.source.files:
        header = pydicom.dcmread(file)
        del header.SliceThickness
        header.save_as(file)
    with pytest.raises(OutputError, match=r"cannot carry a DICOM SEG: .*SliceThickness"):
        check_target(tmp_path / "out.dcm", volume)
    assert not list(tmp_path.glob("*.dcm"))


def test_series_without_preamble_gets_its_seg(grid, as_series, blobs, tmp_path):
    volume = as_series(grid)
    for file in volume.source.files:
        file.write_bytes(file.read_bytes()[132:])
    check_target(tmp_path / "out.dcm", volume)
    assert write_segmentation(blobs(grid), volume, tmp_path / "out.dcm") == (tmp_path / "out.dcm",)


def test_nothing_found_cannot_be_a_dicom_seg(grid, as_series, tmp_path):
    empty = Segmentation(np.zeros(grid.shape, np.uint32), grid, (6,))
    with pytest.raises(OutputError, match="Nothing was found"):
        write_segmentation(empty, as_series(grid), tmp_path / "out.dcm")


def test_volume_that_is_no_series_is_refused(grid, as_volume, tmp_path):
    with pytest.raises(OutputError, match=r"needs the DICOM series.*\.seg\.nrrd"):
        check_target(tmp_path / "out.dcm", as_volume(grid))


def test_series_in_one_multi_frame_file_is_refused(grid, as_series, tmp_path):
    volume = as_series(grid)
    source = replace(volume.source, files=volume.source.files[:1])
    with pytest.raises(OutputError, match="one file per slice"):
        check_target(tmp_path / "out.dcm", replace(volume, source=source))


def test_missing_highdicom_is_said_before_the_work(grid, as_series, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(OutputError, match="highdicom, which is not installed"):
        check_target(tmp_path / "out.dcm", as_series(grid))


def test_series_that_fits_is_accepted(grid, as_series, tmp_path):
    check_target(tmp_path / "out.dcm", as_series(grid))


@pytest.mark.parametrize("series", ["nsclc_pat2_ct_rtstruct", "lidc_0001_chest_ct"])
def test_real_series_gets_its_segments_at_their_place(shared_data: Path, tmp_path, series, ras_of, sort_points):
    volume = read_volume(shared_data / "dicom" / series)
    bits = np.zeros(volume.geometry.shape, np.uint32)
    bits[40:60, 70:75, 3:9] = 1 << 5
    bits[50:52, 72:90, 5:12] |= 1 << 26
    segmentation = Segmentation(bits, volume.geometry, (6, 27))
    check_target(tmp_path / "out.dcm", volume)
    (target,) = write_segmentation(segmentation, volume, tmp_path / "out.dcm")
    dataset = pydicom.dcmread(target)
    for number, index in ((1, 6), (2, 27)):
        found = sort_points(segment_points(dataset, number))
        np.testing.assert_allclose(found, ras_of(segmentation.mask(index), volume.geometry), atol=0.1)
