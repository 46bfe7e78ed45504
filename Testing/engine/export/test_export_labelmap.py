"""Label maps and folders of masks, and the tables beside them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.export import write_segmentation
from GenesisSegmentLib.engine.export.table import overlaps_lost

CUBE = Geometry((3, 3, 3), np.eye(4))


def values(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(path)).transpose(2, 1, 0)


@pytest.fixture
def lesion_in_liver():
    """A tumour (27) of two voxels inside a liver (6) of nine; a cyst (32) that was not found."""
    liver, tumour = np.zeros((2, *CUBE.shape), dtype=bool)
    liver[1] = tumour[1, 1, :2] = True
    return Segmentation(pack([(6, liver), (27, tumour)], CUBE.shape), CUBE, (6, 27, 32))


def test_lesions_are_painted_over_organs(lesion_in_liver, as_volume, tmp_path):
    target, _ = write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "out.nii.gz")
    labels = values(target)
    assert labels.dtype == np.uint8
    assert labels[1].tolist() == [[6, 6, 6], [27, 27, 6], [6, 6, 6]]
    assert not labels[[0, 2]].any()


def test_table_says_what_the_values_mean_and_what_was_looked_for(lesion_in_liver, as_volume, tmp_path):
    files = write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "out.nii.gz")
    assert files == (tmp_path / "out.nii.gz", tmp_path / "out.json")
    table = json.loads(files[1].read_text())
    assert table["labels"] == {"6": "liver", "27": "liver_tumor", "32": "kidney_cyst"}
    assert table["names"]["27"] == "Liver Tumor"
    assert table["colors"]["6"] == "#dd8265"
    assert table["classes_computed"] == [6, 27, 32]
    assert table["classes_found"] == [6, 27]
    assert table["paint_order"] == [6, 27, 32]
    assert table["overlaps_lost"] == {"6": 2}


def test_paint_order_can_be_chosen(lesion_in_liver, as_volume, tmp_path):
    target, table = write_segmentation(
        lesion_in_liver, as_volume(CUBE), tmp_path / "out.nrrd", paint_order=[32, 1, 27, 6]
    )
    assert values(target)[1].tolist() == [[6, 6, 6]] * 3
    assert json.loads(table.read_text())["paint_order"] == [32, 27, 6]
    assert json.loads(table.read_text())["overlaps_lost"] == {"27": 2}


def test_paint_order_that_leaves_out_a_class_is_refused(lesion_in_liver, as_volume, tmp_path):
    with pytest.raises(InputError, match="leaves out: kidney_cyst"):
        write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "out.mha", paint_order=[6, 27])
    assert not list(tmp_path.iterdir())


@given(arrays(np.uint32, CUBE.shape, elements=st.integers(0, 2**32 - 1)), st.permutations(range(1, 33)))
def test_lost_voxels_are_counted_for_every_class(bits, order):
    segmentation = Segmentation(bits, CUBE, tuple(range(1, 33)))
    labels = segmentation.label_map(order)
    expected = {c: int((segmentation.mask(c) & (labels != c)).sum()) for c in range(1, 33)}
    assert overlaps_lost(segmentation, labels) == {c: n for c, n in expected.items() if n}


def test_folder_keeps_overlaps(lesion_in_liver, as_volume, tmp_path):
    files = write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "masks")
    assert [file.name for file in files] == ["liver.nii.gz", "liver_tumor.nii.gz", "segmentation.json"]
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == sorted(file.name for file in files)
    for file, index in zip(files, (6, 27), strict=False):
        mask = values(file)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, lesion_in_liver.mask(index))


def test_folder_lists_what_was_looked_for_and_where_it_is(lesion_in_liver, as_volume, tmp_path):
    *_, table_file = write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "masks")
    table = json.loads(table_file.read_text())
    assert table["labels"] == {"6": "liver", "27": "liver_tumor", "32": "kidney_cyst"}
    assert table["classes_computed"] == [6, 27, 32]
    assert table["files"] == {"6": "liver.nii.gz", "27": "liver_tumor.nii.gz"}


def test_table_of_a_folder_says_the_grid_even_where_nothing_was_found(grid, as_volume, tmp_path):
    nothing = Segmentation(np.zeros(grid.shape, np.uint32), grid, (6, 27))
    (table_file,) = write_segmentation(nothing, as_volume(grid), tmp_path / "masks")
    table = json.loads(table_file.read_text())
    assert (table["classes_computed"], table["files"]) == ([6, 27], {})
    assert Geometry(tuple(table["shape"]), np.array(table["ijk_to_ras"])).matches(grid, tolerance_mm=1e-9)


def test_mask_of_an_earlier_run_does_not_pass_for_a_new_one(lesion_in_liver, as_volume, tmp_path):
    write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path)
    tumor = tmp_path / "liver_tumor.nii.gz"
    before = tumor.read_bytes()
    without = Segmentation(lesion_in_liver.bits & np.uint32(1 << 5), CUBE, lesion_in_liver.classes)
    write_segmentation(without, as_volume(CUBE), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["liver.nii.gz", "segmentation.json"]
    write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path)
    tumor.write_bytes(before + b"mine")
    write_segmentation(without, as_volume(CUBE), tmp_path)
    assert (tmp_path / "liver_tumor.kept-1.nii.gz").read_bytes() == before + b"mine"
    assert not tumor.exists()


def test_files_of_a_person_in_the_folder_are_never_lost(lesion_in_liver, as_volume, tmp_path):
    names = ("kidney_cyst.nii.gz", "liver.nii.gz", "spleen.nii.gz", "segmentation.json", "notes.txt")
    for name in names:
        (tmp_path / name).write_text("mine")
    for _ in range(2):
        write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path)
        assert values(tmp_path / "liver.nii.gz").any()
        for name in ("kidney_cyst.nii.gz", "liver.kept-1.nii.gz", "spleen.nii.gz", "segmentation.kept-1.json"):
            assert (tmp_path / name).read_text() == "mine"
        assert len(list(tmp_path.iterdir())) == len(names) + 3


def test_suffix_in_capitals_is_understood(lesion_in_liver, as_volume, tmp_path):
    files = write_segmentation(lesion_in_liver, as_volume(CUBE), tmp_path / "OUT.MHA")
    assert [file.name for file in files] == ["OUT.MHA", "OUT.json"]
    assert files[0].read_bytes().startswith(b"ObjectType = Image")
