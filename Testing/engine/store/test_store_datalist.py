"""Cases as NIfTI files for other programs: same voxels, same grid, unknown stays unknown, the holdout stays apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from acceptance_builders import oblique, volume
from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.errors import InputError, OutputError
from GenesisSegmentLib.engine.images.nifti import read_nifti
from GenesisSegmentLib.engine.store import CaseStore
from store_builders import SHAPE, stored

ALL = ("liver", "spleen", "liver_tumor", "my sarcoma / left")
LABELS = [("liver", "spleen"), ("liver",), ALL, ("spleen",), ("liver",)]
IGNORE = 5


@pytest.fixture
def filled(tmp_path):
    """Five patients; in the third, who is held out, everything was reviewed."""
    with CaseStore.open(tmp_path / "cases") as store:
        for n, labels in enumerate(LABELS):
            store.add(stored(n, labels=labels))
        yield store


def masks_of(number: int) -> dict[str, np.ndarray]:
    return {c.label: c.mask for c in stored(number, labels=LABELS[number]).acceptance.classes}


def name_of(number: int) -> str:
    return f"case_{stored(number).case[:16]}"


def assert_same_image(path: Path, values: np.ndarray) -> None:
    found, geometry = read_nifti(path)
    assert np.array_equal(found, values)
    assert geometry.matches(oblique(SHAPE), tolerance_mm=1e-3)


def test_the_monai_list_holds_every_ct_and_mask_voxel_for_voxel(filled, tmp_path):
    from monai.data import load_decathlon_datalist

    folder = filled.export_datalist(tmp_path / "out", "monai")
    sections = {"training": [0, 1, 3], "validation": [4], "test": [2]}
    for section, numbers in sections.items():
        items = load_decathlon_datalist(folder / "datalist.json", True, section)
        assert [item["case"] for item in items] == [stored(n).case for n in numbers]
        for n, item in zip(numbers, items, strict=True):
            assert_same_image(Path(item["image"]), stored(n).acceptance.volume.voxels)
            assert sorted(item["reviewed"]) == sorted(LABELS[n])
            assert len(item["label"]) == len(item["reviewed"])
            for file, label in zip(item["label"], item["reviewed"], strict=True):
                assert_same_image(Path(file), masks_of(n)[label])


def test_the_monai_list_has_no_mask_for_a_class_that_nobody_reviewed(filled, tmp_path):
    folder = filled.export_datalist(tmp_path / "out", "monai")
    files = {p.parent.name: [] for p in folder.glob("labels/*/*")}
    for path in folder.glob("labels/*/*"):
        files[path.parent.name].append(path.name)
    assert files[name_of(1)] == ["liver.nii.gz"]
    assert "reviewed" in json.loads((folder / "datalist.json").read_text())["training"][0]


def test_in_label_maps_of_nnunet_what_nobody_reviewed_is_ignored_and_never_background(filled, tmp_path):
    folder = filled.export_datalist(tmp_path / "out", "nnunet")
    dataset = json.loads((folder / "dataset.json").read_text())
    values = {"background": 0, "spleen": 1, "liver": 2, "liver_tumor": 3, "my sarcoma / left": 4, "ignore": IGNORE}
    assert dataset["labels"] == values
    assert dataset["channel_names"] == {"0": "CT"}
    assert dataset["numTraining"] == 4

    whole = masks_of(2)
    expected = np.zeros(SHAPE, np.uint8)
    for label in ("spleen", "liver", *ALL[2:]):
        expected[whole[label]] = values[label]
    assert_same_image(folder / "labelsTs" / f"{name_of(2)}.nii.gz", expected)

    partial = masks_of(3)
    expected = np.full(SHAPE, IGNORE, np.uint8)
    expected[partial["spleen"]] = 1
    assert_same_image(folder / "labelsTr" / f"{name_of(3)}.nii.gz", expected)
    # In the liver of a case where its tumours were not reviewed, any voxel may be tumour.
    assert_same_image(folder / "labelsTr" / f"{name_of(1)}.nii.gz", np.full(SHAPE, IGNORE, np.uint8))
    reviewed = json.loads((folder / "reviewed.json").read_text())["cases"]
    assert {name: sorted(case["reviewed"]) for name, case in reviewed.items()} == {
        name_of(n): sorted(labels) for n, labels in enumerate(LABELS)
    }


def test_nnunet_gets_the_holdout_as_test_and_the_validation_split_as_its_fold(filled, tmp_path):
    folder = filled.export_datalist(tmp_path / "out", "nnunet")
    trained_on = {path.name for path in (folder / "imagesTr").iterdir()}
    assert trained_on == {f"{name_of(n)}_0000.nii.gz" for n in (0, 1, 3, 4)}
    assert [path.name for path in (folder / "imagesTs").iterdir()] == [f"{name_of(2)}_0000.nii.gz"]
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    assert fold == {"train": sorted(name_of(n) for n in (0, 1, 3)), "val": [name_of(4)]}
    assert_same_image(folder / "imagesTr" / f"{name_of(0)}_0000.nii.gz", stored(0).acceptance.volume.voxels)


def test_where_everything_was_reviewed_nothing_is_ignored(tmp_path):
    with CaseStore.open(tmp_path / "cases") as store:
        for n in range(2):
            store.add(stored(n, labels=("liver", "spleen")))
        folder = store.export_datalist(tmp_path / "out", "nnunet")
    assert "ignore" not in json.loads((folder / "dataset.json").read_text())["labels"]
    values, _ = read_nifti(folder / "labelsTr" / f"{name_of(0)}.nii.gz")
    assert 0 in values


def test_names_of_own_structures_cannot_leave_the_folder_or_hide_each_other(tmp_path):
    names = ("../../escape", "a b", "a_b", "a/b", "ünïcode")
    one = stored(1)
    classes = tuple(AcceptedClass(name, np.full(SHAPE, n % 2 == 0)) for n, name in enumerate(names))
    ct = volume(oblique(SHAPE))
    with CaseStore.open(tmp_path / "cases") as store:
        store.add(replace(one, acceptance=Acceptance("x", ct, classes)))
        folder = store.export_datalist(tmp_path / "deep" / "er" / "out")
    files = [p for p in (tmp_path / "deep").rglob("*") if p.is_file()]
    assert all(p.is_relative_to(folder) for p in files)
    assert len([p for p in files if p.parent.parent.name == "labels"]) == len(names)


@pytest.mark.parametrize("layout", ["monai", "nnunet"])
def test_a_folder_with_something_in_it_is_refused_and_left_alone(filled, tmp_path, layout):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        filled.export_datalist(tmp_path / "out", layout)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_empty_store_has_nothing_to_export(tmp_path):
    with CaseStore.open(tmp_path / "cases") as store, pytest.raises(InputError, match="no case"):
        store.export_datalist(tmp_path / "out")
