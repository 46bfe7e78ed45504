"""DICOM series: chosen, sorted and placed, or refused with cause and remedy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    MediaStorageDirectoryStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    generate_uid,
)

from builders import mark_position, write_dicom_series
from dicom_builders import COUNT, VOLUME, assert_same, contours, localizer, mr, series
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.engine.images import list_series, read_volume


def rewritten(path: Path, change: Callable[[Dataset], None]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def test_slices_are_sorted_by_position_and_files_follow_axis_k(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry, InstanceNumber=1)
    read = read_volume(tmp_path)
    assert_same(read)
    assert read.source.files == tuple(files)
    assert read.source.is_dicom
    assert read.source.series_uid == pydicom.dcmread(files[0]).SeriesInstanceUID
    assert read.source.series_description == "Abdomen 2.5 mm"


@pytest.mark.parametrize("suffix", [".dcm", "", ".IMA", ".001"])
def test_one_file_stands_for_its_series_with_any_suffix(suffix: str, tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry, suffix=suffix)
    write_dicom_series(tmp_path / "below", VOLUME.voxels, VOLUME.geometry)
    assert_same(read_volume(files[3]))


def test_series_in_one_folder_are_listed_and_one_file_picks_its_own(tmp_path: Path) -> None:
    series(tmp_path / "a", SeriesDescription="Portal venous", SeriesNumber=4)
    series(tmp_path / "b", SeriesDescription="Arterial", SeriesNumber=2)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for folder in ("a", "b"):
        for path in (tmp_path / folder).iterdir():
            shutil.copy(path, mixed / f"{folder}{path.name}")
    listed = list_series(mixed)
    assert [(s.number, s.description, s.images, s.is_ct_volume) for s in listed] == [
        (2, "Arterial", COUNT, True),
        (4, "Portal venous", COUNT, True),
    ]
    with pytest.raises(InputError, match="holds 2 CT series") as refusal:
        read_volume(mixed)
    for part in ("2: Arterial, 16 slices", "4: Portal venous", listed[0].uid, listed[1].uid):
        assert part in refusal.value.what
    assert "--series" in refusal.value.remedy
    for wanted in ("4", listed[1].uid, listed[1].uid[-12:]):
        assert read_volume(mixed, series=wanted).source.series_description == "Portal venous"
    own = next(p for p in mixed.iterdir() if p.name.startswith("b"))
    assert read_volume(own).source.series_description == "Arterial"
    with pytest.raises(InputError, match='No series matches "77"'):
        read_volume(mixed, series="77")


def test_an_ending_that_two_series_share_does_not_choose(tmp_path: Path) -> None:
    series(tmp_path / "a", SeriesInstanceUID="1.2.3.500", SeriesNumber=4)
    series(tmp_path / "b", SeriesInstanceUID="1.2.4.500", SeriesNumber=5)
    with pytest.raises(InputError, match='2 series match "500"'):
        read_volume(tmp_path, series="500")


def test_series_with_the_same_number_are_numbered_by_their_place(tmp_path: Path) -> None:
    for uid in ("1.2.3", "1.2.4"):
        series(tmp_path / uid, SeriesInstanceUID=uid, StudyInstanceUID="1.2")
    assert [(s.number, s.uid) for s in list_series(tmp_path)] == [(1, "1.2.3"), (2, "1.2.4")]


def test_a_number_is_that_of_a_series_in_its_own_study(tmp_path: Path) -> None:
    for uid in ("1.2.3", "1.2.4"):
        series(tmp_path / uid, SeriesInstanceUID=uid)
    assert [s.number for s in list_series(tmp_path)] == [3, 3]
    with pytest.raises(InputError, match='2 series match "3"'):
        read_volume(tmp_path, series="3")


def segmentation(folder: Path) -> None:
    series(folder, SOPClassUID=SegmentationStorage, Modality="SEG", SeriesNumber=9, SeriesDescription="Organs")


def captures(folder: Path) -> None:
    series(folder, SOPClassUID=SecondaryCaptureImageStorage, SeriesNumber=9)


def pet(folder: Path) -> None:
    series(folder, Modality="PT", SeriesNumber=9)


def perfusion(folder: Path) -> None:
    series(folder, ImageType=["DERIVED", "PRIMARY", "PERFUSION", "RCBF"], SeriesNumber=9)


def one_slice(folder: Path) -> None:
    write_dicom_series(folder, VOLUME.voxels[:, :, :1], VOLUME.geometry, SeriesNumber=9)


def colours(folder: Path) -> None:
    series(folder, SamplesPerPixel=3, SeriesNumber=9)


NO_CT = {
    segmentation: "a segmentation",
    contours: "RTSTRUCT",
    localizer: "a localizer",
    captures: "captures",
    mr: "MR, not a CT",
    pet: "PET, not a CT",
    perfusion: "perfusion map",
    one_slice: "a single slice",
    colours: "in colours",
}


@pytest.mark.parametrize(("make", "because"), NO_CT.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_a_series_that_is_no_ct_volume_is_refused_and_the_only_ct_beside_it_is_picked(
    make: Callable[[Path], None], because: str, tmp_path: Path
) -> None:
    make(tmp_path / "other")
    file = next((tmp_path / "other").iterdir())
    for path in (tmp_path, file):
        with pytest.raises(InputError, match=because) as refusal:
            read_volume(path)
        assert refusal.value.remedy
    series(tmp_path / "ct")
    assert_same(read_volume(tmp_path))
    with pytest.raises(InputError, match=because):
        read_volume(tmp_path, series="9")


def test_a_folder_without_any_ct_lists_what_it_holds(tmp_path: Path) -> None:
    segmentation(tmp_path / "seg")
    mr(tmp_path / "mr")
    with pytest.raises(InputError, match=r"(?s)None of the series .* is a CT volume.*segmentation"):
        read_volume(tmp_path)


def test_the_name_keeps_the_patient_out(tmp_path: Path) -> None:
    assert read_volume(series(tmp_path / "a")).source.name == "Abdomen 2.5 mm"
    for number, description in enumerate(("Abdomen of DOE", "id-12345 thorax", None), start=1):
        source = read_volume(series(tmp_path / str(number), SeriesDescription=description)).source
        assert source.name == "CT series 3"


# --- geometry ------------------------------------------------------------------------------------------------------


def along_normal(amount: Callable[[int], float]) -> Callable[[Dataset, int], None]:
    def edit(dataset: Dataset, k: int) -> None:
        orientation = np.array(dataset.ImageOrientationPatient, float)
        normal = np.cross(orientation[:3], orientation[3:])
        dataset.ImagePositionPatient = list(np.array(dataset.ImagePositionPatient, float) + amount(k) * normal)

    return edit


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    def tilt(dataset: Dataset, k: int) -> None:
        down = np.array(dataset.ImageOrientationPatient[3:], float)
        dataset.ImagePositionPatient = list(np.array(dataset.ImagePositionPatient, float) + 0.5 * k * down)

    with pytest.raises(GeometryError, match=r"off by 11\.3 degrees.*tilted gantry") as refusal:
        read_volume(series(tmp_path, edit=tilt))
    assert refusal.value.remedy


def test_missing_slices_are_counted_and_located(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    for k in (4, 9, 10):
        files[k].unlink()
    with pytest.raises(InputError, match="3 slices are missing") as refusal:
        read_volume(tmp_path)
    assert f"between {files[3].name} and {files[5].name}, between {files[8].name} and {files[11].name}" in str(
        refusal.value
    )


def test_one_missing_slice_is_noticed(tmp_path: Path) -> None:
    write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)[7].unlink()
    with pytest.raises(InputError, match="1 slice is missing"):
        read_volume(tmp_path)


def test_uneven_slices_are_refused(tmp_path: Path) -> None:
    edit = along_normal(lambda k: 1.1 * max(0, k - 8))
    with pytest.raises(GeometryError, match=r"uneven: 2\.5 to 3\.6 mm"):
        read_volume(series(tmp_path, edit=edit))


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_accepted(tmp_path: Path) -> None:
    def rounded(dataset: Dataset, k: int) -> None:
        dataset.ImagePositionPatient = [round(float(x), 1) for x in dataset.ImagePositionPatient]

    read = read_volume(series(tmp_path, edit=rounded))
    assert read.geometry.matches(VOLUME.geometry, tolerance_mm=0.1)
    np.testing.assert_array_equal(read.voxels, VOLUME.voxels)


def test_slices_shifted_sideways_are_refused(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)

    def sideways(dataset: Dataset) -> None:
        orientation = np.array(dataset.ImageOrientationPatient, float)
        dataset.ImagePositionPatient = list(np.array(dataset.ImagePositionPatient, float) + 2 * orientation[:3])

    rewritten(files[5], sideways)
    with pytest.raises(GeometryError, match="shifted against each other"):
        read_volume(tmp_path)


def test_two_images_at_one_place_are_refused(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    second = tmp_path / "second_phase.dcm"
    shutil.copy(files[6], second)
    rewritten(second, lambda dataset: setattr(dataset, "SOPInstanceUID", generate_uid()))
    with pytest.raises(InputError, match=r"at the same place.*several phases") as refusal:
        read_volume(tmp_path)
    assert "second_phase.dcm" in refusal.value.what
    assert refusal.value.remedy


def test_second_copies_of_a_file_are_left_out_with_a_note(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    shutil.copy(files[6], tmp_path / "copy.dcm")
    read = read_volume(tmp_path)
    assert_same(read)
    assert [note for note in read.source.notes if "1 second copy" in note]


def test_images_that_all_carry_one_sop_instance_uid_are_not_taken_for_copies(tmp_path: Path) -> None:
    assert_same(read_volume(series(tmp_path, SOPInstanceUID="1.2.3")))


@pytest.mark.parametrize(
    ("keyword", "value", "because"),
    [
        ("ImageOrientationPatient", [1, 0, 0, 0, 1, 0], "orientations"),
        ("PixelSpacing", [0.7, 0.7], "pixel spacings"),
        ("Rows", 19, "sizes"),
    ],
)
def test_images_that_differ_are_refused(keyword: str, value: object, because: str, tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    rewritten(files[5], lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(InputError, match=f"differ in their {because}"):
        read_volume(tmp_path)


def test_a_localizer_among_the_slices_is_left_out_with_a_note(tmp_path: Path) -> None:
    series(tmp_path)
    scout = write_dicom_series(tmp_path / "scout", VOLUME.voxels[:, :, :1], VOLUME.geometry)[0]
    uid = next(s.uid for s in list_series(tmp_path) if s.is_ct_volume)

    def among(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID, dataset.ImageType = uid, ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.ImageOrientationPatient, dataset.InstanceNumber = [1, 0, 0, 0, 0, -1], 17

    rewritten(scout, among)
    for path in (tmp_path, next(p for p in tmp_path.iterdir() if p.is_file()), scout):
        read = read_volume(path)
        assert_same(read)
        assert read.source.notes == ("Images of the series were left out: 1, a localizer, not a volume.",)


@pytest.mark.parametrize(
    "keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"]
)
def test_a_series_that_does_not_state_place_or_scale_is_refused(keyword: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"does not state its {keyword}"):
        read_volume(series(tmp_path, **{keyword: None}))


@pytest.mark.parametrize("spacing", [[0.001, 0.001], [90, 90]])
def test_absurd_spacing_is_refused(spacing: list[float], tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="not plausible"):
        read_volume(series(tmp_path, PixelSpacing=spacing))


def test_an_orientation_that_is_no_direction_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="not a direction"):
        read_volume(series(tmp_path, ImageOrientationPatient=[0, 0, 0, 0, 1, 0]))


def test_a_dicom_directory_is_passed_over_and_refused_as_an_input(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    directory = tmp_path / "DICOMDIR"
    shutil.copy(files[0], directory)
    rewritten(directory, lambda d: setattr(d.file_meta, "MediaStorageSOPClassUID", MediaStorageDirectoryStorage))
    assert_same(read_volume(tmp_path))
    with pytest.raises(InputError, match="DICOM directory"):
        read_volume(directory)


def test_the_mark_of_a_series_scanned_feet_first_lies_where_it_was(tmp_path: Path) -> None:
    turned = np.diag([-1.0, 1, -1, 1]) @ VOLUME.geometry.ijk_to_ras
    geometry = type(VOLUME.geometry)(VOLUME.geometry.shape, turned)
    write_dicom_series(tmp_path, VOLUME.voxels, geometry)
    read = read_volume(tmp_path)
    expected = mark_position(VOLUME.voxels, geometry)
    np.testing.assert_allclose(mark_position(read.voxels, read.geometry), expected, atol=0.01)


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    files = write_dicom_series(tmp_path, VOLUME.voxels, VOLUME.geometry)
    write_dicom_series(tmp_path / ".trash", VOLUME.voxels, VOLUME.geometry)
    (tmp_path / f"._{files[0].name}").write_bytes(bytes(128) + b"DICM, or so it seems")
    assert_same(read_volume(tmp_path))
    assert_same(read_volume(files[0]))
