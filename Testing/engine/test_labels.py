"""Label files read back: what the exporter writes, reference forms, and bad ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError, InputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.evaluate import evaluate
from GenesisSegmentLib.engine.export import write_segmentation
from GenesisSegmentLib.engine.images.sitk import to_sitk
from GenesisSegmentLib.engine.labels import read_labels, read_named

SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, LIVER, VESSEL, RIGHT_LUNG, LEFT_LUNG = 1, 2, 3, 6, 15, 16, 17
KIDNEY_TUMOR, LIVER_TUMOR, VESSEL_TUMOR, LUNG_TUMOR, CYST = 26, 27, 29, 30, 32
OBLIQUE = (14, -8, 33)


def grid(rotation=OBLIQUE, shape=(9, 8, 7), flip=1):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ np.diag((0.9 * flip, 1.1, 2.5))
    matrix[:3, 3] = (-20.0, 30.0, 500.0)
    return Geometry(shape, matrix)


def overlapping(geometry):
    """Liver with a tumour in it, a kidney, and a cyst that was looked for and not found."""
    rng = np.random.default_rng(3)
    liver = rng.random(geometry.shape) < 0.5
    masks = {LIVER: liver, LIVER_TUMOR: liver & (rng.random(geometry.shape) < 0.3), RIGHT_KIDNEY: ~liver}
    return Segmentation(pack(masks.items(), geometry.shape), geometry, (RIGHT_KIDNEY, LIVER, LIVER_TUMOR, CYST))


def write(segmentation, target):
    voxels = np.zeros(segmentation.geometry.shape, np.int16)
    write_segmentation(segmentation, Volume(voxels, segmentation.geometry, Source(Path("scan.nii.gz"), "scan")), target)


def save(path, values, geometry=None, table=None):
    sitk.WriteImage(to_sitk(np.asarray(values), geometry or grid()), str(path))
    if table is not None:
        path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(table), encoding="utf-8")
    return path


def stripes(*values):
    """A label map (9, 8, 7) whose slices along i take the values in turn."""
    return np.broadcast_to(np.resize(values, 9)[:, None, None], (9, 8, 7)).astype(np.uint8)


@pytest.mark.parametrize("rotation", [(0, 0, 0), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("name", ["out.seg.nrrd", "masks"])
def test_formats_with_overlaps_come_back_exactly(tmp_path, name, flip, rotation):
    segmentation = overlapping(grid(rotation, flip=flip))
    write(segmentation, tmp_path / name)
    found = read_labels(tmp_path / name)
    assert np.array_equal(found.segmentation.bits, segmentation.bits)
    assert found.segmentation.geometry.matches(segmentation.geometry, 1e-3)
    assert found.segmentation.classes == segmentation.classes
    assert found.notes == ()


@pytest.mark.parametrize("rotation", [(0, 0, 0), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("name", ["out.nii.gz", "out.nii", "out.nrrd", "out.mha"])
def test_a_label_map_comes_back_with_organs_that_include_their_lesions(tmp_path, name, rotation):
    segmentation = overlapping(grid(rotation))
    write(segmentation, tmp_path / name)
    found = read_labels(tmp_path / name).segmentation
    assert np.array_equal(found.bits, segmentation.bits)
    assert found.geometry.matches(segmentation.geometry, 1e-3)
    assert found.classes == segmentation.classes


def test_a_single_layer_seg_nrrd_comes_back(tmp_path):
    geometry = grid()
    segmentation = Segmentation(pack([(LIVER, stripes(0, 1) == 1)], geometry.shape), geometry, (LIVER, CYST))
    write(segmentation, tmp_path / "out.seg.nrrd")
    found = read_labels(tmp_path / "out.seg.nrrd").segmentation
    assert np.array_equal(found.bits, segmentation.bits)
    assert found.classes == (LIVER, CYST)


REFERENCE = {
    "labels": {"1": "spleen", "2": "lung_upper", "3": "lung_lower", "4": "vertebra"},
    "universal_model": {"1": SPLEEN, "2": RIGHT_LUNG, "3": RIGHT_LUNG},
    "universal_model_annotated": [SPLEEN, RIGHT_LUNG, CYST],
}


@pytest.mark.parametrize("as_folder", [False, True])
def test_reference_labels_join_several_values_and_leave_the_rest_as_background(tmp_path, as_folder):
    values = stripes(0, 1, 2, 3, 4)
    path = save(tmp_path / "labels.nii.gz", values, table=REFERENCE)
    found = read_labels(tmp_path if as_folder else path).segmentation
    assert found.classes == (SPLEEN, RIGHT_LUNG, CYST)
    assert np.array_equal(found.mask(SPLEEN), values == 1)
    assert np.array_equal(found.mask(RIGHT_LUNG), (values == 2) | (values == 3))
    assert found.present() == (SPLEEN, RIGHT_LUNG)


def test_a_table_of_names_understands_synonyms_and_notes_what_it_passes_over(tmp_path):
    table = {"labels": {"0": "background", "1": "Gallbladder", "2": "heart", "7": "inferior vena cava"}}
    found = read_labels(save(tmp_path / "map.nii.gz", stripes(0, 1, 2, 7), table=table))
    assert found.segmentation.classes == (4, 9)
    assert len(found.notes) == 1
    assert "heart" in found.notes[0]


def test_whole_numbers_stored_as_floats_are_labels(tmp_path):
    values = stripes(0, 1).astype(np.float32)
    found = read_labels(save(tmp_path / "map.nii.gz", values, table={"labels": {"1": "liver"}}))
    assert np.array_equal(found.segmentation.mask(LIVER), values == 1)


def test_a_folder_of_masks_without_a_table_goes_by_file_names(tmp_path):
    save(tmp_path / "liver.nii.gz", stripes(0, 255))
    save(tmp_path / "kidney_right.nrrd", stripes(1, 0))
    save(tmp_path / "ct.nii.gz", stripes(5))
    (tmp_path / "report.txt").write_text("not an image", encoding="utf-8")
    found = read_labels(tmp_path)
    assert found.segmentation.classes == (RIGHT_KIDNEY, LIVER)
    assert np.array_equal(found.segmentation.mask(LIVER), stripes(0, 255) == 255)
    assert np.array_equal(found.segmentation.mask(RIGHT_KIDNEY), stripes(1, 0) == 1)
    assert "ct.nii.gz" in found.notes[0]


def test_segments_drawn_in_slicer_are_found_by_name(tmp_path):
    """Slicer gives the segments of a new segmentation the IDs Segment_1, Segment_2..., and label values of its own."""
    image = to_sitk(stripes(0, 3, 5, 7), grid())
    for n, (name, value) in enumerate([("Liver", 3), ("Aneurysm", 5), ("Right Kidney", 7)]):
        fields = {"ID": f"Segment_{n + 1}", "Name": name, "LabelValue": str(value), "Layer": "0"}
        for key, text in fields.items():
            image.SetMetaData(f"Segment{n}_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "drawn.seg.nrrd"))
    found = read_labels(tmp_path / "drawn.seg.nrrd")
    assert found.segmentation.classes == (RIGHT_KIDNEY, LIVER)
    assert np.array_equal(found.segmentation.mask(LIVER), stripes(0, 3, 5, 7) == 3)
    assert np.array_equal(found.segmentation.mask(RIGHT_KIDNEY), stripes(0, 3, 5, 7) == 7)
    assert "Aneurysm" in found.notes[0]


NAMED_LIKE_A_CLASS = ("Liver", "liver", "Gallbladder")


@pytest.mark.parametrize("own", NAMED_LIKE_A_CLASS)
@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "masks"])
def test_a_structure_of_ones_own_does_not_merge_with_a_class_of_its_name(tmp_path, name, own):
    geometry, values = grid(), stripes(0, 6, 4, 33, 33)
    masks = [(c, values == c) for c in (4, LIVER, 33)]
    write(Segmentation(pack(masks, geometry.shape), geometry, (4, LIVER, 33), (own,)), tmp_path / name)
    alone = read_named(tmp_path / name, (own,)).segmentation
    assert np.array_equal(alone.mask(1), values == 33)
    both = read_labels(tmp_path / name, (own,)).segmentation
    assert both.classes == (4, LIVER, 33)
    assert all(np.array_equal(both.mask(c), mask) for c, mask in masks)


@pytest.mark.parametrize("classes_are_found", [True, False])
@pytest.mark.parametrize("own", NAMED_LIKE_A_CLASS)
def test_a_segment_of_ones_own_that_is_not_asked_for_is_not_taken_for_the_class(tmp_path, own, classes_are_found):
    geometry, values = grid(), stripes(0, 6, 4, 33)
    masks = {c: (values == c) & (classes_are_found or c == 33) for c in (4, LIVER, 33)}
    made = Segmentation(pack(masks.items(), geometry.shape), geometry, (4, LIVER, 33), (own,))
    write(made, tmp_path / "out.seg.nrrd")
    found = read_labels(tmp_path / "out.seg.nrrd")
    assert found.segmentation.classes == (4, LIVER)
    assert all(np.array_equal(found.segmentation.mask(c), masks[c]) for c in (4, LIVER))
    assert found.others == (made.structures[33].slug,)
    assert found.notes
    again = read_labels(tmp_path / "out.seg.nrrd", found.others).segmentation
    assert np.array_equal(again.mask(33), values == 33)


def test_a_segment_drawn_beside_that_of_a_class_under_its_name_is_another(tmp_path):
    """As Slicer writes both: it knows nothing of which classes were looked for."""
    values = stripes(0, 3, 3, 5)
    image = to_sitk(values, grid())
    for n, (identity, value) in enumerate([("Segment_1", 5), ("liver", 3)]):
        for key, text in {"ID": identity, "Name": "Liver", "LabelValue": str(value), "Layer": "0"}.items():
            image.SetMetaData(f"Segment{n}_{key}", text)
    path = tmp_path / "drawn.seg.nrrd"
    sitk.WriteImage(image, str(path))
    found = read_labels(path)
    assert np.array_equal(found.segmentation.mask(LIVER), values == 3)
    assert found.others == ("Liver",)
    assert np.array_equal(read_named(path, ("Liver",)).segmentation.mask(1), values == 5)


def test_what_was_painted_over_is_told_of_the_structure_that_lost_it_whatever_its_number(tmp_path):
    geometry, values = grid(), stripes(0, 1, 2, 3)
    hidden, over = (values == 1) | (values == 2), values == 2
    masks = [(33, hidden), (34, over), (35, values == 3)]
    made = Segmentation(pack(masks, geometry.shape), geometry, (33, 34, 35), ("hidden", "over", "apart"))
    write(made, tmp_path / "out.nii.gz")
    assert read_labels(tmp_path / "out.nii.gz", ("over", "apart")).notes[1:] == ()
    (note,) = read_labels(tmp_path / "out.nii.gz", ("apart", "over", "hidden")).notes
    assert note.startswith("Other classes were painted over parts of hidden:")


def test_one_layer_per_segment_without_label_values_as_in_old_slicer_files(tmp_path):
    layers = [to_sitk(stripes(0, 1, 1), grid()), to_sitk(stripes(0, 0, 1), grid())]
    image = sitk.Compose(layers)
    for n, name in enumerate(("liver", "liver_tumor")):
        image.SetMetaData(f"Segment{n}_ID", name)
        image.SetMetaData(f"Segment{n}_Name", name)
    sitk.WriteImage(image, str(tmp_path / "old.seg.nrrd"))
    found = read_labels(tmp_path / "old.seg.nrrd").segmentation
    assert np.array_equal(found.mask(LIVER), stripes(0, 1, 1) == 1)
    assert np.array_equal(found.mask(LIVER_TUMOR), stripes(0, 0, 1) == 1)


def test_a_folder_of_masks_in_which_nothing_was_found_has_the_grid_of_its_table(tmp_path):
    geometry = grid()
    table = {"files": {}, "classes_computed": [LIVER, CYST], "shape": geometry.shape}
    (tmp_path / "segmentation.json").write_text(json.dumps({**table, "ijk_to_ras": geometry.ijk_to_ras.tolist()}))
    found = read_labels(tmp_path).segmentation
    assert found.geometry.matches(geometry)
    assert found.classes == (LIVER, CYST)
    assert found.present() == ()


def test_masks_of_a_run_that_found_nothing_are_scored_as_missed(tmp_path):
    truth = overlapping(grid())
    write(Segmentation(np.zeros_like(truth.bits), truth.geometry, truth.classes), tmp_path / "masks")
    scores = evaluate(read_labels(tmp_path / "masks").segmentation, truth)
    assert [s.status for s in scores] == ["missed", "missed", "missed", "absent in both"]


def no_grid(folder):
    (folder / "segmentation.json").write_text(json.dumps({"files": {}, "classes_computed": [LIVER]}))
    return folder


def bad_grid(folder):
    table = {"files": {}, "classes_computed": [LIVER], "shape": [3, 3, 3], "ijk_to_ras": [[1, 2], [3]]}
    (folder / "segmentation.json").write_text(json.dumps(table))
    return folder


def test_only_a_slicer_segmentation_says_that_nothing_is_marked_outside_its_grid(tmp_path):
    for name, is_empty in (("out.seg.nrrd", True), ("out.nii.gz", False), ("masks", False)):
        write(overlapping(grid()), tmp_path / name)
        assert read_labels(tmp_path / name).is_empty_outside == is_empty


def no_table(folder):
    return save(folder / "map.nii.gz", stripes(0, 1))


def unexplained_value(folder):
    return save(folder / "map.nii.gz", stripes(0, 1, 9), table={"labels": {"1": "liver"}})


def fractions(folder):
    return save(folder / "map.nii.gz", stripes(0, 1) * np.float32(0.5), table={"labels": {"1": "liver"}})


def negative(folder):
    return save(folder / "map.nii.gz", stripes(0, 1).astype(np.int16) - 1000, table={"labels": {"1": "liver"}})


def not_json(folder):
    path = no_table(folder)
    (folder / "map.json").write_text("{", encoding="utf-8")
    return path


def a_list(folder):
    return save(folder / "map.nii.gz", stripes(0, 1), table=["liver"])


def values_that_are_words(folder):
    return save(folder / "map.nii.gz", stripes(0, 1), table={"labels": {"liver": 1}})


def class_33(folder):
    return save(folder / "map.nii.gz", stripes(0, 1), table={"universal_model": {"1": 33}})


def value_of_a_class_not_looked_for(folder):
    table = {"universal_model": {"1": LIVER}, "universal_model_annotated": [SPLEEN]}
    return save(folder / "map.nii.gz", stripes(0, 1), table=table)


def empty_table(folder):
    return save(folder / "map.nii.gz", stripes(0), table={})


def missing(folder):
    return folder / "nothing.nii.gz"


def empty_folder(folder):
    return folder


def missing_mask(folder):
    write(overlapping(grid()), folder)
    (folder / "liver.nii.gz").unlink()
    return folder


def truncated(folder):
    write(overlapping(grid()), folder / "out.seg.nrrd")
    content = (folder / "out.seg.nrrd").read_bytes()
    (folder / "out.seg.nrrd").write_bytes(content[: len(content) * 9 // 10])
    return folder / "out.seg.nrrd"


def not_an_image(folder):
    (folder / "labels.txt").write_text("liver", encoding="utf-8")
    return folder / "labels.txt"


def nameless_segments(folder):
    sitk.WriteImage(to_sitk(stripes(0, 1), grid()), str(folder / "map.seg.nrrd"))
    return folder / "map.seg.nrrd"


BAD = (
    *(no_table, unexplained_value, fractions, negative, not_json, a_list, values_that_are_words, class_33, empty_table),
    *(
        value_of_a_class_not_looked_for,
        missing,
        empty_folder,
        missing_mask,
        no_grid,
        bad_grid,
        truncated,
        not_an_image,
        nameless_segments,
    ),
)


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_what_cannot_be_read_is_refused_with_a_remedy(tmp_path, make):
    with pytest.raises(InputError) as error:
        read_labels(make(tmp_path))
    assert error.value.remedy


def test_masks_on_different_grids_are_refused(tmp_path):
    save(tmp_path / "liver.nii.gz", stripes(0, 1))
    save(tmp_path / "spleen.nii.gz", stripes(0, 1), grid((0, 0, 0)))
    with pytest.raises(GeometryError):
        read_labels(tmp_path)


@pytest.mark.parametrize("case", ["colorectal_liver_metastases/crlm_1004", "totalsegmentator/ts_example_abdomen"])
def test_real_reference_labels(shared_data, case):
    found = read_labels(shared_data / case).segmentation
    table = json.loads((shared_data / case / "labels.json").read_text(encoding="utf-8"))
    assert found.classes == tuple(sorted(table["universal_model_annotated"]))
    expected = {}
    for value, index in table["universal_model"].items():
        expected[index] = expected.get(index, 0) + table["volume_ml"][value]
    for index, ml in expected.items():
        assert found.mask(index).sum() * found.geometry.voxel_ml == pytest.approx(ml, abs=0.2)


def test_real_labels_agree_with_themselves_after_export(shared_data, tmp_path):
    reference = read_labels(shared_data / "totalsegmentator" / "ts_example_abdomen").segmentation
    write(reference, tmp_path / "out.nii.gz")
    scores = evaluate(read_labels(tmp_path / "out.nii.gz").segmentation, reference, classes=(SPLEEN, LIVER, CYST))
    assert [(s.status, s.dice, s.nsd, s.hd95_mm) for s in scores] == [
        ("scored", 1.0, 1.0, 0.0),
        ("scored", 1.0, 1.0, 0.0),
        ("absent in both", None, None, None),
    ]
