"""Real scans: every CT is accepted where nibabel says it lies, every awkward file has its expected outcome."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from builders import LPS_TO_RAS
from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.images import find_inputs, list_series, read_volume

CASES = (
    *("colorectal_liver_metastases/crlm_1004", "cptac_pda/cptac_pda_C3N-00249", "tcga_ov/tcga_ov_09-2043"),
    *("ibsi_lung/nsclc_crop_pat1", "ibsi_lung/nsclc_crop_pat2", "ibsi_lung/nsclc_crop_pat3"),
    *("ibsi_sts/sts_036", "ibsi_sts/sts_044", "nsclc_radiogenomics/radiogenomics_R01-001"),
    *("lidc_idri/lidc_0002_slab", "lidc_idri/lidc_0003_slab", "lidc_idri/lidc_0314"),
    *("nsclc_radiomics/lung1_001", "nsclc_radiomics/lung1_002"),
    *("totalsegmentator/ts_aorta_cta", "totalsegmentator/ts_example_abdomen"),
    *("unclear_licence/cerr_head_neck", "unclear_licence/cip/cip_ct64"),
)

REFUSED: dict[str, tuple[type[InputError], str]] = {
    "nsclc_pat2_missing_slices": (InputError, r"3 slices are missing from the series of 38 \(3 mm apart\)"),
    "philips_phantom_tilt": (GeometryError, r"off by 18\.5 degrees, as with a tilted gantry"),
    "ge_head_tilt_variable_spacing": (GeometryError, r"off by 18\.5 degrees, as with a tilted gantry"),
    "coronal_sagittal_ct_slices": (InputError, "None of the series in .* is a CT volume"),
    "coronal_sagittal_ct_slices/coronal": (InputError, "a single slice"),
    "coronal_sagittal_ct_slices/coronal/19001231-053.dcm": (InputError, '"Body 3.000" is a single slice'),
    "coronal_sagittal_ct_slices/coronal/19010127-134.dcm": (InputError, '"1 25 MM CORONAL" is a single slice'),
    "coronal_sagittal_ct_slices/sagittal/19001231-065.dcm": (InputError, '"Body 3.000" is a single slice'),
    "coronal_sagittal_ct_slices/sagittal/19010127-174.dcm": (InputError, '"1 25 MM SAGITAL" is a single slice'),
    "nifti/ct64_rotated_lungparts.nrrd": (InputError, "label map"),
    "nifti/ct_head_oblique_uint8.nii.gz": (InputError, "grey values from 0 to 255, not Hounsfield units"),
    "nifti/mr_4d_pcasl.nii.gz": (InputError, "4-D"),
    "nifti": (InputError, "5 volume files"),
    "mr_liver": (InputError, "2 volume files"),
    "mr_liver/example_mr_sm.nii.gz": (InputError, "not a CT in Hounsfield units"),
    "mr_liver/example_seg_mr.nii.gz": (InputError, "label map"),
    "compressed_dicom/693_J2KI.dcm": (InputError, "lie at the same place"),
    "compressed_dicom/693_J2KR.dcm": (InputError, "lie at the same place"),
    "compressed_dicom/CT_small.dcm": (InputError, "a single slice"),
    "compressed_dicom/J2K_pixelrep_mismatch.dcm": (InputError, '"Lv2" is a single slice'),
    "compressed_dicom/bad_sequence.dcm": (InputError, "a single slice"),
    "compressed_dicom/explicit_VR-UN.dcm": (InputError, '"Pancreas" is a single slice'),
    "compressed_dicom/eCT_Supplemental.dcm": (InputError, "a perfusion map, not in Hounsfield units"),
    "compressed_dicom/MR_truncated.dcm": (InputError, "is MR, not a CT"),
    "compressed_dicom/emri_small_RLE.dcm": (InputError, "is MR, not a CT"),
    "compressed_dicom/emri_small_big_endian.dcm": (InputError, "is MR, not a CT"),
    "compressed_dicom/emri_small_jpeg_ls_lossless.dcm": (InputError, "is MR, not a CT"),
    "compressed_dicom/liver_rle.dcm": (InputError, r"a segmentation \(DICOM SEG\)"),
    "compressed_dicom/liver_j2k.dcm": (InputError, r"a segmentation \(DICOM SEG\)"),
}

ACCEPTED = {
    "nifti/ct_abdomen_int32.nii.gz": ((122, 101, 112), (3.0, 3.0, 3.0), "RAS"),
    "nifti/ct64_rotated.nrrd": ((64, 64, 79), (4.1719, 4.1719, 3.9873), "LPS"),
}

SERIES = {
    "crlm_1004_abdomen_ct": ((512, 512, 41), (0.796875, 0.796875, 5.0), "CT CH/AB/PEL"),
    "lidc_0001_chest_ct": ((512, 512, 16), (0.703125, 0.703125, 2.5), "CT series 3000566"),
    "nsclc_pat2_ct_rtstruct": ((141, 138, 41), (0.977, 0.977, 3.0), "CT series 1"),
    "dcmqi_liver3_ct_seg": ((512, 512, 3), (0.810547, 0.810547, 1.0), "CT series 2"),
}

# Lowest and highest HU of the decoded slice, after clipping at -1024.
DECODED = {
    "693_J2KI.dcm": (-1024, 1812),
    "693_J2KR.dcm": (-1024, 1468),
    "J2K_pixelrep_mismatch.dcm": (-1024, 1896),
    "bad_sequence.dcm": (-1011, 1243),
    "explicit_VR-UN.dcm": (-1024, 1186),
    "CT_small.dcm": (-896, 1167),
}


@pytest.mark.parametrize("case", CASES)
def test_every_ct_is_accepted_where_nibabel_places_it(shared_data: Path, case: str) -> None:
    path = shared_data / case / "ct.nii.gz"
    image = nibabel.load(path)
    read = read_volume(path)
    assert read.geometry.matches(Geometry(image.shape, image.affine), tolerance_mm=1e-3)
    np.testing.assert_array_equal(read.voxels, np.maximum(np.asanyarray(image.dataobj), -1024))
    assert not [note for note in read.source.notes if "Air" in note]


def test_the_list_of_cts_is_complete(shared_data: Path) -> None:
    with (shared_data / "CASES.csv").open(newline="") as table:
        assert {row["path"] for row in csv.DictReader(table) if row["modality"] == "CT"} == set(CASES)


def test_every_awkward_file_has_an_expected_outcome(shared_data: Path) -> None:
    awkward = shared_data / "awkward"
    named = REFUSED.keys() | ACCEPTED.keys()
    scanned = {"nsclc_pat2_missing_slices", "philips_phantom_tilt", "ge_head_tilt_variable_spacing"}
    for path in awkward.rglob("*"):
        place = path.relative_to(awkward)
        assert path.is_dir() or str(place) in named or str(place.parent) in scanned, f"{place} has no expected outcome"


@pytest.mark.parametrize(("place", "error", "because"), [(p, *o) for p, o in REFUSED.items()], ids=REFUSED)
def test_awkward_files_are_refused(shared_data: Path, place: str, error: type[InputError], because: str) -> None:
    with pytest.raises(error, match=f"(?s){because}") as refusal:
        read_volume(shared_data / "awkward" / place)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    "folder", ["nsclc_pat2_missing_slices", "philips_phantom_tilt", "ge_head_tilt_variable_spacing"]
)
def test_one_file_of_an_awkward_series_is_refused_as_its_series(shared_data: Path, folder: str) -> None:
    error, because = REFUSED[folder]
    with pytest.raises(error, match=because):
        read_volume(sorted((shared_data / "awkward" / folder).iterdir())[5])


@pytest.mark.parametrize(("place", "facts"), ACCEPTED.items(), ids=ACCEPTED)
def test_awkward_files_that_are_good_cts_are_accepted(shared_data: Path, place: str, facts: tuple) -> None:
    assert_facts(read_volume(shared_data / "awkward" / place), *facts)


@pytest.mark.parametrize(("place", "shape", "spacing", "name"), [(p, *o) for p, o in SERIES.items()], ids=SERIES)
def test_dicom_folders_are_accepted(shared_data: Path, place: str, shape: tuple, spacing: tuple, name: str) -> None:
    read = read_volume(shared_data / "dicom" / place)
    assert_facts(read, shape, spacing, "LPS")
    assert read.source.name == name
    assert len(read.source.files) == shape[2]
    for k in (0, shape[2] - 1):
        position = pydicom.dcmread(read.source.files[k], stop_before_pixels=True).ImagePositionPatient
        expected = (LPS_TO_RAS @ [*map(float, position), 1])[:3]
        np.testing.assert_allclose((read.geometry.ijk_to_ras @ [0, 0, k, 1])[:3], expected, atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # odd tags of the original are saved again
@pytest.mark.parametrize(("name", "extent"), DECODED.items(), ids=DECODED)
def test_compressed_slices_are_decoded(shared_data: Path, name: str, extent: tuple[int, int], tmp_path: Path) -> None:
    """The one real slice becomes a series of three."""
    dataset = pydicom.dcmread(shared_data / "awkward/compressed_dicom" / name)
    orientation = np.array(dataset.ImageOrientationPatient, float)
    normal, start = np.cross(orientation[:3], orientation[3:]), np.array(dataset.ImagePositionPatient, float)
    for k in range(3):
        dataset.SOPInstanceUID, dataset.ImagePositionPatient = generate_uid(), list(np.round(start + 2 * k * normal, 6))
        dataset.save_as(tmp_path / str(k))
    read = read_volume(tmp_path)
    assert (read.voxels.min(), read.voxels.max()) == extent
    assert read.geometry.shape == (dataset.Columns, dataset.Rows, 3)


def test_the_lossy_and_the_lossless_file_show_the_same_slice(shared_data: Path, tmp_path: Path) -> None:
    planes = []
    for name in ("693_J2KI.dcm", "693_J2KR.dcm"):
        (tmp_path / name).mkdir()
        test_compressed_slices_are_decoded(shared_data, name, DECODED[name], tmp_path / name)
        planes.append(read_volume(tmp_path / name).voxels[:, :, 0].astype(float))
    inside = planes[1] > -1000
    assert np.corrcoef(planes[0][inside], planes[1][inside])[0, 1] > 0.97
    assert abs(np.median(planes[0][inside] - planes[1][inside])) < 10


def test_the_dicom_series_and_its_nifti_show_the_same_anatomy_at_the_same_place(shared_data: Path) -> None:
    series = read_volume(shared_data / "dicom/crlm_1004_abdomen_ct")
    nifti = read_volume(shared_data / "colorectal_liver_metastases/crlm_1004/ct.nii.gz")
    points = np.random.default_rng(0).uniform(0.05, 0.95, (2000, 3)) * np.array(nifti.geometry.shape)
    index = np.c_[points.astype(int), np.ones(len(points))]
    ras = index @ nifti.geometry.ijk_to_ras.T
    there = np.rint(ras @ np.linalg.inv(series.geometry.ijk_to_ras).T)[:, :3].astype(int)
    here = index[:, :3].astype(int)
    np.testing.assert_array_equal(series.voxels[tuple(there.T)], nifti.voxels[tuple(here.T)])


def test_the_ct_is_picked_beside_its_contours_and_its_segmentation(shared_data: Path) -> None:
    for folder, other in (("nsclc_pat2_ct_rtstruct", "RTSTRUCT"), ("dcmqi_liver3_ct_seg", "SEG")):
        listed = list_series(shared_data / "dicom" / folder)
        assert sorted(s.modality for s in listed) == sorted(["CT", other])
        assert [s.is_ct_volume for s in listed if s.modality == "CT"] == [True]
        no_ct = next(s for s in listed if s.modality == other)
        with pytest.raises(InputError, match=other):
            read_volume(no_ct.files[0])


def test_the_inputs_of_the_dicom_folder_are_its_series(shared_data: Path) -> None:
    found = find_inputs(shared_data / "dicom")
    assert sorted(each.path.name for each in found if each.refusal is None) == sorted(SERIES)
    assert sorted(each.series.modality for each in found if each.series and each.refusal) == ["RTSTRUCT", "SEG"]


def assert_facts(read: Volume, shape: tuple, spacing: tuple, axis_codes: str) -> None:
    assert read.geometry.shape == shape
    np.testing.assert_allclose(read.geometry.spacing, spacing, atol=1e-4)
    assert read.geometry.axis_codes == axis_codes
    assert read.voxels.dtype == np.int16
    assert read.voxels.min() >= -1024
