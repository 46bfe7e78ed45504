"""Every format puts every voxel where it belongs, or the image is refused."""

from __future__ import annotations

import struct
from itertools import permutations, product
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import (
    LPS_TO_RAS,
    a_ct_volume,
    an_oblique_geometry,
    ct_voxels,
    mark_position,
    rotation,
    write_dicom_series,
    write_enhanced_ct,
)
from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Geometry, Reorientation
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.images import read_volume
from GenesisSegmentLib.engine.images.sitk import geometry_from_sitk, to_sitk, voxels_from_sitk

ORIENTATIONS = [
    Reorientation(axes, flips)  # type: ignore[arg-type]
    for axes in permutations(range(3))
    for flips in product((False, True), repeat=3)
]
SMALL = (14, 12, 10)


def reoriented(change: Reorientation) -> Volume:
    volume = a_ct_volume(an_oblique_geometry(SMALL))
    return Volume(change.apply(volume.voxels), volume.geometry.reoriented(change), volume.source)


def write_nifti(path: Path, voxels: np.ndarray, matrix: np.ndarray, kind: type = nibabel.Nifti1Image) -> Path:
    nibabel.save(kind(np.ascontiguousarray(voxels), matrix), path)
    return path


def write_nrrd(path: Path, voxels: np.ndarray, matrix: np.ndarray, space: str = "right-anterior-superior") -> Path:
    header = {"space": space, "space directions": matrix[:3, :3].T, "space origin": matrix[:3, 3]}
    nrrd.write(str(path), voxels, header)
    return path


def write_mha(path: Path, voxels: np.ndarray, matrix: np.ndarray, **changes: str | None) -> Path:
    """A MetaImage written by hand, from the definition of the format."""
    lps = LPS_TO_RAS @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)

    def line(numbers: np.ndarray) -> str:
        return " ".join(f"{x:.12g}" for x in numbers)

    fields: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": line((lps[:3, :3] / spacing).T.ravel()),
        "Offset": line(lps[:3, 3]),
        "ElementSpacing": line(spacing),
        "DimSize": " ".join(str(n) for n in voxels.shape),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
        **changes,
    }
    text = "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    path.write_bytes(text.encode() + voxels.astype("<i2").tobytes(order="F"))
    return path


def write_dicom(folder: Path, voxels: np.ndarray, matrix: np.ndarray) -> Path:
    write_dicom_series(folder, voxels, Geometry(voxels.shape, matrix))  # type: ignore[arg-type]
    return folder


WRITERS = {
    "ct.nii.gz": write_nifti,
    "ct.nii": write_nifti,
    "ct.nrrd": write_nrrd,
    "ct.mha": write_mha,
    "dicom": write_dicom,
}


@pytest.mark.parametrize("change", ORIENTATIONS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
def test_the_mark_lies_where_it_was_on_all_48_orientations(name: str, change: Reorientation, tmp_path: Path) -> None:
    volume = reoriented(change)
    read = read_volume(WRITERS[name](tmp_path / name, volume.voxels, volume.geometry.ijk_to_ras))
    expected = mark_position(volume.voxels, volume.geometry)
    np.testing.assert_allclose(mark_position(read.voxels, read.geometry), expected, atol=0.01)
    if name != "dicom":  # a DICOM series has no left-handed grids: its slices come in the order of the normal
        assert read.geometry.matches(volume.geometry, tolerance_mm=1e-3)
        np.testing.assert_array_equal(read.voxels, volume.voxels)


@pytest.mark.parametrize("name", WRITERS)
def test_voxels_are_int16_with_i_fastest_in_memory(name: str, tmp_path: Path) -> None:
    volume = a_ct_volume()
    read = read_volume(WRITERS[name](tmp_path / name, volume.voxels, volume.geometry.ijk_to_ras))
    assert read.voxels.dtype == np.int16
    assert read.voxels.flags.f_contiguous
    np.testing.assert_array_equal(read.voxels, volume.voxels)


@settings(max_examples=40, deadline=None)
@example(degrees=(0, 0, 1), spacing=(1, 1, 1), origin=(0, 0, 0), mirrored=True, form="qform")  # close to a half turn
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
    origin=st.tuples(*[st.floats(-1500, 1500)] * 3),
    mirrored=st.booleans(),
    form=st.sampled_from(["sform", "qform", "both"]),
)
def test_nifti_is_placed_as_nibabel_places_it(
    tmp_path_factory: pytest.TempPathFactory,
    degrees: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    mirrored: bool,
    form: str,
) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(degrees) @ np.diag(spacing) @ np.diag([-1 if mirrored else 1, 1, 1])
    matrix[:3, 3] = origin
    image = nibabel.Nifti1Image(ct_voxels(SMALL), matrix)
    image.set_qform(matrix, code=0 if form == "sform" else 1)
    image.set_sform(matrix, code=0 if form == "qform" else 2)
    path = tmp_path_factory.mktemp("nifti") / "ct.nii"
    nibabel.save(image, path)
    expected = Geometry(SMALL, nibabel.load(path).affine)
    read = read_volume(path).geometry
    assert read.matches(expected, tolerance_mm=1e-3)
    assert read.matches(Geometry(SMALL, matrix), tolerance_mm=0.1 if form == "qform" else 1e-2)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LPS", (-1, -1, 1)),
        ("RAS", (1, 1, 1)),
    ],
)
def test_nrrd_spaces_mean_the_same_place(space: str, signs: tuple[int, int, int], tmp_path: Path) -> None:
    volume = a_ct_volume()
    matrix = np.diag([*signs, 1]) @ volume.geometry.ijk_to_ras
    read = read_volume(write_nrrd(tmp_path / "ct.nrrd", volume.voxels, matrix, space))
    assert read.geometry.matches(volume.geometry, tolerance_mm=1e-3)


def test_detached_headers_find_their_data(tmp_path: Path) -> None:
    volume = a_ct_volume()
    for name in ("ct.nhdr", "ct.mhd"):
        sitk.WriteImage(to_sitk(volume.voxels, volume.geometry), str(tmp_path / name), useCompression=True)
        read = read_volume(tmp_path / name)
        np.testing.assert_array_equal(read.voxels, volume.voxels)
        assert read.geometry.matches(volume.geometry, tolerance_mm=1e-3)


def test_nifti_2_and_foreign_byte_order_read_the_same(tmp_path: Path) -> None:
    volume = a_ct_volume()
    matrix = volume.geometry.ijk_to_ras
    second = write_nifti(tmp_path / "two.nii", volume.voxels, matrix, nibabel.Nifti2Image)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    swapped = tmp_path / "swapped.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume.voxels, matrix, header), swapped)
    for path in (second, swapped):
        read = read_volume(path)
        np.testing.assert_array_equal(read.voxels, volume.voxels)
        assert read.geometry.matches(volume.geometry, tolerance_mm=1e-3)


def test_nifti_in_metres_is_read_in_millimetres(tmp_path: Path) -> None:
    volume = a_ct_volume()
    matrix = np.diag([1e-3, 1e-3, 1e-3, 1]) @ volume.geometry.ijk_to_ras
    image = nibabel.Nifti1Image(volume.voxels, matrix)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "ct.nii")
    assert read_volume(tmp_path / "ct.nii").geometry.matches(volume.geometry, tolerance_mm=1e-2)


def sheared(amount: float) -> np.ndarray:
    matrix = an_oblique_geometry().ijk_to_ras.copy()
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    matrix[:3, 2] += amount * matrix[:3, 1] / spacing[1] * spacing[2]
    return matrix


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_a_sheared_grid_is_refused_in_every_format(name: str, tmp_path: Path) -> None:
    path = WRITERS[name](tmp_path / name, ct_voxels(), sheared(0.05))
    with pytest.raises(GeometryError, match="not at right angles"):
        read_volume(path)


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_rounding_of_the_directions_is_no_shear(name: str, tmp_path: Path) -> None:
    matrix = sheared(4e-4)
    read = read_volume(WRITERS[name](tmp_path / name, ct_voxels(), matrix))
    assert read.geometry.matches(Geometry(read.geometry.shape, matrix), tolerance_mm=1e-3)


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("factor", [1e-3, 100.0])
def test_absurd_spacing_is_refused(name: str, factor: float, tmp_path: Path) -> None:
    matrix = an_oblique_geometry().ijk_to_ras @ np.diag([factor, factor, factor, 1])
    with pytest.raises(GeometryError, match="not plausible"):
        read_volume(WRITERS[name](tmp_path / name, ct_voxels(), matrix))


def two_forms(path: Path, qform: np.ndarray, sform: np.ndarray, codes: tuple[int, int] = (1, 1)) -> Path:
    image = nibabel.Nifti1Image(ct_voxels(), sform)
    image.set_qform(qform, code=codes[0])
    image.set_sform(sform, code=codes[1])
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(
    "change", [np.diag([-1.0, 1, 1, 1]), np.diag([1.0, 1, 1.1, 1]), np.eye(4) + 40 * np.eye(4, k=3)]
)
def test_nifti_that_says_two_places_is_refused(change: np.ndarray, tmp_path: Path) -> None:
    matrix = an_oblique_geometry().ijk_to_ras
    with pytest.raises(GeometryError, match="places the image in two ways"):
        read_volume(two_forms(tmp_path / "ct.nii", matrix, change @ matrix))


def test_of_two_forms_that_agree_up_to_rounding_the_sform_is_taken(tmp_path: Path) -> None:
    sform, qform = an_oblique_geometry().ijk_to_ras.copy(), an_oblique_geometry().ijk_to_ras
    sform[0, 3] += 0.2
    read = read_volume(two_forms(tmp_path / "ct.nii", qform, sform))
    assert read.geometry.matches(Geometry(read.geometry.shape, sform), tolerance_mm=1e-3)


def test_a_form_with_code_0_does_not_count(tmp_path: Path) -> None:
    matrix = an_oblique_geometry().ijk_to_ras
    elsewhere = np.diag([-1.0, 1, 1, 1]) @ matrix
    for codes, forms in (((1, 0), (matrix, elsewhere)), ((0, 1), (elsewhere, matrix))):
        read = read_volume(two_forms(tmp_path / "ct.nii", *forms, codes=codes))
        assert read.geometry.matches(Geometry(read.geometry.shape, matrix), tolerance_mm=1e-3)


def test_nifti_that_says_no_place_is_refused(tmp_path: Path) -> None:
    path = two_forms(tmp_path / "ct.nii", np.eye(4), np.eye(4), codes=(0, 0))
    with pytest.raises(GeometryError, match="does not say how the image lies"):
        read_volume(path)


def test_a_place_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii", ct_voxels(), an_oblique_geometry().ijk_to_ras)
    content = bytearray(path.read_bytes())
    content[280:284] = struct.pack("<f", float("nan"))
    path.write_bytes(content)
    with pytest.raises(GeometryError):
        read_volume(path)


@pytest.mark.parametrize(
    "missing", ["space: right-anterior-superior\n", "space directions: ", "space origin: "], ids=str.strip
)
def test_nrrd_that_says_no_place_is_refused(missing: str, tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "ct.nrrd", ct_voxels(), an_oblique_geometry().ijk_to_ras)
    header, data = path.read_bytes().split(b"\n\n", 1)
    lines = [line for line in header.decode().split("\n") if not line.startswith(missing.strip())]
    if missing.startswith("space:"):
        lines.insert(4, "space dimension: 3")
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + data)
    with pytest.raises(GeometryError, match="NRRD header does not say"):
        read_volume(path)


@pytest.mark.parametrize("missing", ["TransformMatrix", "Offset", "ElementSpacing"])
def test_metaimage_that_says_no_place_is_refused(missing: str, tmp_path: Path) -> None:
    path = write_mha(tmp_path / "ct.mha", ct_voxels(), an_oblique_geometry().ijk_to_ras, **{missing: None})
    with pytest.raises(GeometryError, match="MetaImage header does not say"):
        read_volume(path)


def test_sitk_images_place_voxels_in_lps(tmp_path: Path) -> None:
    volume = reoriented(ORIENTATIONS[13])
    image = to_sitk(volume.voxels, volume.geometry)
    for index in ((0, 0, 0), (3, 5, 7)):
        expected = (LPS_TO_RAS @ volume.geometry.ijk_to_ras @ [*index, 1])[:3]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected, atol=1e-6)
        assert image[index] == volume.voxels[index]
    assert geometry_from_sitk(image).matches(volume.geometry, tolerance_mm=1e-6)
    np.testing.assert_array_equal(voxels_from_sitk(image), volume.voxels)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    written = nibabel.load(tmp_path / "ct.nii.gz")
    assert Geometry(written.shape, written.affine).matches(volume.geometry, tolerance_mm=1e-3)


@pytest.mark.parametrize(
    "order", [range(10), reversed(range(10)), [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]], ids=["up", "down", "mixed"]
)
def test_frames_of_an_enhanced_ct_are_placed_by_their_positions(order: list[int], tmp_path: Path) -> None:
    volume = a_ct_volume(an_oblique_geometry(SMALL))
    read = read_volume(write_enhanced_ct(tmp_path / "enhanced.dcm", volume.voxels, volume.geometry, order=order))
    assert read.geometry.matches(volume.geometry, tolerance_mm=1e-3)
    np.testing.assert_array_equal(read.voxels, volume.voxels)
    assert read.source.files == (tmp_path / "enhanced.dcm",)
