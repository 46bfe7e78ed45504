"""Every format keeps every voxel at its place in the patient."""

from __future__ import annotations

import gzip

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine.export import write_segmentation
from GenesisSegmentLib.engine.export.images import write_nifti, write_nrrd

KIDNEY, LIVER = 2, 6


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd", "out.mha"])
def test_label_map_lies_where_the_masks_lay(any_grid, as_volume, blobs, same_place, tmp_path, name):
    segmentation = blobs(any_grid)
    target, _ = write_segmentation(segmentation, as_volume(any_grid), tmp_path / name)
    image = sitk.ReadImage(target)
    same_place(image, LIVER, segmentation.mask(LIVER), any_grid)
    same_place(image, KIDNEY, segmentation.mask(KIDNEY) & ~segmentation.mask(LIVER), any_grid)


def test_masks_of_a_folder_lie_where_they_lay(any_grid, as_volume, blobs, same_place, tmp_path):
    segmentation = blobs(any_grid)
    write_segmentation(segmentation, as_volume(any_grid), tmp_path / "masks")
    for index, name in ((KIDNEY, "kidney_right"), (LIVER, "liver")):
        image = sitk.ReadImage(tmp_path / "masks" / f"{name}.nii.gz")
        same_place(image, 1, segmentation.mask(index), any_grid)


def test_segments_of_a_seg_nrrd_lie_where_the_masks_lay(any_grid, as_volume, blobs, ras_of, sort_points, tmp_path):
    segmentation = blobs(any_grid)
    (target,) = write_segmentation(segmentation, as_volume(any_grid), tmp_path / "out.seg.nrrd")
    layers, header = nrrd.read(str(target))
    to_lps = np.array(header["space directions"])[1:]
    for n in range(2):
        layer, value = int(header[f"Segment{n}_Layer"]), int(header[f"Segment{n}_LabelValue"])
        points = np.argwhere(layers[layer] == value) @ to_lps + header["space origin"]
        found = sort_points(points * [-1, -1, 1])
        np.testing.assert_allclose(found, ras_of(segmentation.mask(value), any_grid), atol=1e-6)


@st.composite
def matrices(draw):
    numbers = st.floats(-1, 1, width=32)
    quaternion = [1.5 + draw(numbers), draw(numbers), draw(numbers), draw(numbers)]
    spacing = [draw(st.floats(0.25, 8, width=32)) * draw(st.sampled_from([1, -1])) for _ in range(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(quaternion).as_matrix() * spacing
    matrix[:3, 3] = [draw(st.floats(-1000, 1000, width=32)) for _ in range(3)]
    return matrix


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_nifti_holds_the_matrix_to_the_last_bit_of_float32(tmp_path_factory, matrix):
    path = tmp_path_factory.mktemp("nifti") / "x.nii.gz"
    write_nifti(path, np.ones((2, 3, 4), np.uint8), Geometry((2, 3, 4), matrix))
    sform = np.frombuffer(gzip.decompress(path.read_bytes())[280:328], "<f4").reshape(3, 4)
    np.testing.assert_array_equal(sform, matrix[:3].astype(np.float32))


def test_nifti_places_the_image_alike_by_qform_and_sform(any_grid, tmp_path):
    path = tmp_path / "x.nii"
    write_nifti(path, np.ones(any_grid.shape, np.uint8), any_grid)
    header = path.read_bytes()
    assert np.frombuffer(header[252:256], "<i2").tolist() == [1, 1]
    # With the sform's code set to zero, ITK has only the qform to go by.
    path.write_bytes(header[:254] + b"\0\0" + header[256:])
    image = sitk.ReadImage(path)
    matrix = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    np.testing.assert_allclose(np.diag([-1, -1, 1]) @ matrix, any_grid.ijk_to_ras[:3, :3], atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(matrices())
def test_nrrd_holds_the_matrix_to_the_last_bit_of_double(tmp_path_factory, matrix):
    path = tmp_path_factory.mktemp("nrrd") / "x.nrrd"
    write_nrrd(path, np.ones((2, 3, 4), np.uint8), Geometry((2, 3, 4), matrix), {})
    header = nrrd.read_header(str(path))
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_array_equal(header["space directions"].T, (np.diag([-1, -1, 1]) @ matrix[:3, :3]))
    np.testing.assert_array_equal(header["space origin"], [-1, -1, 1] * matrix[:3, 3])


def test_segmentation_of_another_grid_is_refused(grid, as_volume, blobs, tmp_path):
    moved = grid.ijk_to_ras.copy()
    moved[0, 3] += 1
    with pytest.raises(GeometryError, match="does not lie on the grid"):
        write_segmentation(blobs(grid), as_volume(Geometry(grid.shape, moved)), tmp_path / "out.nii.gz")
    assert not list(tmp_path.iterdir())
