"""Structures of one's own, the classes from 33 on: drawn by every recipe and runtime, written in every form."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch

from builders import write_dicom_series
from GenesisSegmentLib.core.classes import class_table, find_classes, structures
from GenesisSegmentLib.core.errors import GeometryError, InputError, OutputError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.layers import pack_layers, unpack_layers
from GenesisSegmentLib.core.resources import resource
from GenesisSegmentLib.core.segmentation import Segmentation, bits_type, class_boxes, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.export import check_target, write_segmentation
from GenesisSegmentLib.engine.export.images import write_image
from GenesisSegmentLib.engine.images import read_volume
from GenesisSegmentLib.engine.inference.spec import ModelSpec, RunOptions
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.learning.channels import Channels
from GenesisSegmentLib.engine.learning.version_files import facts_of_network, write_network
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.measure import measure, write_csv
from GenesisSegmentLib.engine.models.cache import model_digest
from GenesisSegmentLib.engine.models.catalogue import load_catalogue, read_metadata
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.open_model import open_segmenter
from GenesisSegmentLib.engine.overview import write_overview
from GenesisSegmentLib.engine.phantom import phantom_ct
from GenesisSegmentLib.engine.starter.onnx_file import load_onnx_weights
from GenesisSegmentLib.engine.store.from_files import acceptance_from_files
from inference_builders import COARSE, LIVER, ORIENTATIONS, ROTATIONS, SPEC, SPLEEN, StandIn, above, dice
from segmenter_builders import FUNCTIONS, a_grid, a_segmenter, abdomen, liver_depth, spleen_depth
from version_builders import a_version

NAMES = ("soft_tissue_sarcoma_GTV", "Größe: left/right, 2")
SARCOMA, OTHER = 33, 34
SLUGS = ("soft_tissue_sarcoma_GTV", "Größe_left_right_2")
GRID = a_grid().reoriented(ORIENTATIONS[31])
"""Oblique, its axes permuted and flipped."""
WHAT_HIGHDICOM_ASKS_FOR = {
    **{"StudyDate": "20260101", "StudyTime": "101010", "StudyID": "1", "AccessionNumber": ""},
    **{"ReferringPhysicianName": "", "Manufacturer": "Test", "PatientBirthDate": "", "PatientSex": "F"},
    **{"SliceThickness": 3, "PositionReferenceIndicator": ""},
}


def with_own(spec: ModelSpec) -> ModelSpec:
    classes = (*spec.classes, SARCOMA, OTHER)
    return replace(spec, classes=classes, offered=classes, own=NAMES)


def found(**changes) -> Segmentation:
    """Liver, and in it and beyond the sarcoma; the other one was looked for and not found."""
    liver = liver_depth(GRID) > 0
    sarcoma = (liver_depth(GRID) > 6) | (spleen_depth(GRID) > 3)
    made = Segmentation(pack([(LIVER, liver), (SARCOMA, sarcoma)], GRID.shape), GRID, (LIVER, SARCOMA, OTHER), NAMES)
    return replace(made, **changes)


@pytest.mark.parametrize("recipe", ["fast", "published"])
@pytest.mark.parametrize("spec", [SPEC, replace(COARSE, spacing_mm=(3.0, 3.0, 3.0))], ids=["windows", "whole"])
def test_it_lies_in_its_place_whatever_the_recipe(recipe, spec):
    runtime = StandIn((*FUNCTIONS, above(155), above(90)))
    options = RunOptions(classes=(LIVER, SARCOMA, OTHER), recipe=recipe)
    result = a_segmenter(runtime, with_own(spec)).segment(abdomen(GRID), options).segmentation
    assert result.own == NAMES
    assert result.present() == (LIVER, SARCOMA, OTHER)
    depth, tolerance = spleen_depth(GRID), spec.spacing_mm[0]
    assert result.mask(SARCOMA)[depth > tolerance].all()
    assert not result.mask(SARCOMA)[depth < -tolerance].any()
    # Both pieces of it stay: nothing is known of how it ought to look.
    assert result.mask(OTHER)[(depth > tolerance) | (liver_depth(GRID) > tolerance)].all()
    if spec is SPEC:
        assert not result.mask(LIVER)[depth > tolerance].any(), "of an organ the largest piece is kept"


def test_classes_of_the_table_cost_what_they_did():
    segmenter = a_segmenter(StandIn((*FUNCTIONS, above(155), above(90))), with_own(SPEC))
    result = segmenter.segment(abdomen(GRID), RunOptions(classes=(LIVER, SPLEEN))).segmentation
    assert result.bits.dtype == np.uint32
    with_it = segmenter.segment(abdomen(GRID), RunOptions(classes=(LIVER, SPLEEN, SARCOMA))).segmentation
    assert with_it.bits.dtype == np.uint64
    for index in (LIVER, SPLEEN):
        np.testing.assert_array_equal(with_it.mask(index), result.mask(index))


def test_it_is_given_early_too():
    given = {}
    segmenter = a_segmenter(StandIn((*FUNCTIONS, above(155), above(90))), with_own(COARSE))
    segmenter.segment(
        abdomen(GRID), RunOptions(classes=(SARCOMA,)), on_class=lambda index, box, mask, _: given.update({index: mask})
    )
    assert given[SARCOMA].any()


def test_more_than_64_classes_are_refused():
    assert bits_type([64]) is np.uint64
    with pytest.raises(InputError, match="65"):
        bits_type([1, 65])


def test_bits_that_cannot_hold_a_class_are_refused():
    with pytest.raises(GeometryError, match="uint32"):
        found(bits=np.zeros(GRID.shape, np.uint32))


@pytest.mark.parametrize("index", [32, 33, 63, 64])
def test_layers_and_boxes_keep_every_class(index):
    mask = spleen_depth(GRID) > 0
    own = tuple(f"mine {n}" for n in range(33, 65))
    bits = pack([(LIVER, liver_depth(GRID) > 3), (index, mask)], GRID.shape)
    there = Segmentation(bits, GRID, (LIVER, index), own)
    (layer,) = pack_layers(there)
    assert layer.labels.dtype == np.uint8
    np.testing.assert_array_equal(layer.labels == index, mask)
    np.testing.assert_array_equal(unpack_layers([layer], GRID, own).bits, bits)
    assert class_boxes(bits).keys() == {LIVER, index}


def test_names_find_their_classes():
    offered = (LIVER, SPLEEN, SARCOMA, OTHER)
    for word in ("soft_tissue_sarcoma_GTV", "Soft tissue sarcoma gtv", "33"):
        assert find_classes([word], offered, NAMES) == (SARCOMA,)
    assert find_classes(["liver", SLUGS[1]], offered, NAMES) == (LIVER, OTHER)
    assert find_classes(["own structures"], offered, NAMES) == (SARCOMA, OTHER)
    assert SARCOMA in find_classes(["all"], None, NAMES)
    assert SARCOMA not in find_classes(["organs"], None, NAMES)
    with pytest.raises(InputError, match="no class") as caught:
        find_classes(["sarcoma"], offered, NAMES)
    assert SLUGS[0] in caught.value.remedy
    with pytest.raises(InputError, match="does not offer") as caught:
        find_classes(["colon"], offered, NAMES)
    assert SLUGS[0] in caught.value.remedy


def test_a_name_that_the_table_has_too_means_both():
    assert find_classes(["kidneys"], None, ("Kidneys",)) == (2, 3, 33)
    assert structures(("Liver", "liver", "CON"))[33].slug == "Liver_33"
    assert [structures(("a b", "a/b"))[n].slug for n in (33, 34)] == ["a_b", "a_b_34"]
    assert class_table().keys() == set(range(1, 33)), "the table itself stays"


def test_a_structure_has_the_same_code_on_every_machine_and_a_colour_of_its_own():
    table = structures(NAMES)
    assert table[SARCOMA].type.value == structures(("another", NAMES[0]))[34].type.value == "2d9eb547e8e1"
    assert len(table[OTHER].type.value) <= 16
    assert len({table[c].color for c in (SARCOMA, OTHER)}) == 2
    assert "/" not in table[OTHER].slug
    assert structures(("two\n lines",))[33].name == structures(("two\n lines",))[33].type.meaning == "two lines"


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "out.mha", "masks"])
def test_what_is_written_is_read_again(tmp_path, name):
    segmentation = found()
    write_segmentation(segmentation, abdomen(GRID), tmp_path / name)
    labels = read_labels(tmp_path / name, SLUGS)
    again = labels.segmentation
    assert again.classes == (LIVER, SARCOMA, OTHER)
    assert again.geometry.matches(GRID, tolerance_mm=1e-3)
    np.testing.assert_array_equal(again.mask(SARCOMA), segmentation.mask(SARCOMA))
    assert not again.mask(OTHER).any()
    assert labels.others == ()
    without = read_labels(tmp_path / name)
    assert without.segmentation.classes == (LIVER,)
    assert set(without.others) == set(SLUGS)
    assert SLUGS[0] in without.notes[0], "nothing is passed over without a word"


@pytest.mark.parametrize("name", ["out.seg.nrrd", "out.nii.gz", "masks"])
def test_what_a_version_drew_can_be_corrected_and_accepted(tmp_path, name):
    ct = tmp_path / "ct.nii.gz"
    write_image(ct, abdomen(GRID).voxels, GRID)
    write_segmentation(found(), abdomen(GRID), tmp_path / name)
    write_segmentation(found(), abdomen(GRID), tmp_path / "before.nii.gz")
    acceptance, _ = acceptance_from_files(ct, tmp_path / name, ["liver", *NAMES], tmp_path / "before.nii.gz")
    by_label = {accepted.label: accepted for accepted in acceptance.classes}
    assert list(by_label) == ["liver", *NAMES], "under the names that were taught, or it would be learned as another"
    for mask in (by_label[NAMES[0]].mask, by_label[NAMES[0]].proposed):
        np.testing.assert_array_equal(mask, found().mask(SARCOMA))
    assert by_label[NAMES[1]].proposed is not None, "looked for by the model, and not found"
    with pytest.raises(InputError, match="does not name mine"):
        acceptance_from_files(ct, tmp_path / name, ["mine"])


def test_names_decide_and_not_the_numbers_of_another_model(tmp_path):
    write_segmentation(found(own=NAMES[::-1]), abdomen(GRID), tmp_path / "out.nii.gz")
    again = read_labels(tmp_path / "out.nii.gz", SLUGS).segmentation
    np.testing.assert_array_equal(again.mask(OTHER), found().mask(SARCOMA))


def test_the_table_beside_a_label_map_names_it(tmp_path):
    write_segmentation(found(), abdomen(GRID), tmp_path / "out.nii.gz")
    table = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert table["labels"]["33"] == SLUGS[0]
    assert table["names"]["34"] == NAMES[1]
    assert table["colors"]["33"].startswith("#")
    assert (table["classes_computed"], table["classes_found"]) == ([6, 33, 34], [6, 33])
    values = np.asarray(nibabel.load(tmp_path / "out.nii.gz").dataobj)
    np.testing.assert_array_equal(values == 33, found().mask(SARCOMA))


def test_slicer_s_segmentation_has_its_name_colour_and_codes(tmp_path):
    nrrd = pytest.importorskip("nrrd")
    write_segmentation(found(), abdomen(GRID), tmp_path / "out.seg.nrrd")
    header = nrrd.read_header(str(tmp_path / "out.seg.nrrd"))
    assert (header["Segment1_ID"], header["Segment1_Name"]) == (SLUGS[0], NAMES[0])
    assert header["Segment1_LabelValue"] == "33"
    assert f"~99GENESIS^{structures(NAMES)[33].type.value}^{NAMES[0]}~" in header["Segment1_Tags"]


def test_a_dicom_seg_holds_it_in_its_place(tmp_path):
    pytest.importorskip("highdicom")
    volume = a_series(tmp_path / "series")
    liver = volume.voxels > 100
    own = np.roll(liver, 2, axis=0)
    names = (NAMES[1],)
    there = Segmentation(pack([(LIVER, liver), (33, own)], liver.shape), volume.geometry, (LIVER, 33), names)
    write_segmentation(there, volume, tmp_path / "out.dcm")
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    item = dataset.SegmentSequence[1]
    assert item.TrackingID == structures(names)[33].slug
    code = item.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodingSchemeDesignator, code.CodeValue) == ("99GENESIS", structures(names)[33].type.value)
    frames = dataset.pixel_array
    groups = dataset.PerFrameFunctionalGroupsSequence
    numbers = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber for group in groups]
    assert frames[np.array(numbers) == 2].sum() == own.sum()
    assert item.SegmentLabel == names[0]


@pytest.mark.parametrize(
    ("name", "label"),
    [("腫瘍 left", "腫瘍 left"), ("x" * 100, "x" * 64), ("a\\b^c~d|e", "a b c d e"), ("\u2728", "Structure")],
)
def test_any_name_is_written_as_dicom_and_nrrd_can_hold_it(tmp_path, name, label):
    pytest.importorskip("highdicom")
    volume = a_series(tmp_path / "series", SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg")
    mask = volume.voxels > 100
    there = Segmentation(pack([(33, mask)], mask.shape), volume.geometry, (33,), (name,))
    for file in ("out.dcm", "out.seg.nrrd"):
        write_segmentation(there, volume, tmp_path / file)
    dataset = pydicom.dcmread(tmp_path / "out.dcm")
    assert dataset.SegmentSequence[0].SegmentLabel == label
    assert dataset.PatientName == "Müller^Jörg"
    slug = there.structures[33].slug
    found = read_labels(tmp_path / "out.seg.nrrd", (slug,)).segmentation
    np.testing.assert_array_equal(found.mask(33), mask)


def a_series(folder: Path, **header: object) -> Volume:
    straight = a_grid(ROTATIONS[1])
    write_dicom_series(folder, abdomen(straight).voxels, straight, **WHAT_HIGHDICOM_ASKS_FOR, **header)
    return read_volume(folder)


def test_the_image_is_not_replaced_by_a_mask_of_its_name(tmp_path):
    image = tmp_path / f"{SLUGS[0]}.nii.gz"
    image.touch()
    volume = replace(abdomen(GRID), source=Source(image, "ct", (image,)))
    check_target(tmp_path, volume)
    with pytest.raises(OutputError, match="the image itself"):
        check_target(tmp_path, volume, NAMES)


def test_it_is_measured_and_in_the_picture(tmp_path, monkeypatch):
    segmentation, volume = found(), abdomen(GRID)
    row = measure(segmentation, volume)[1]
    assert (row.index, row.name, row.lesions) == (33, SLUGS[0], None)
    assert row.volume_ml == pytest.approx(np.count_nonzero(segmentation.mask(SARCOMA)) * GRID.voxel_ml)
    write_csv(tmp_path / "m.csv", measure(segmentation, volume))
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as stream:
        assert [r["name"] for r in csv.DictReader(stream)] == ["liver", *SLUGS]
    write_overview(tmp_path / "picture.png", volume, segmentation)
    import matplotlib.image

    picture = matplotlib.image.imread(tmp_path / "picture.png")[..., :3]
    color = np.array(structures(NAMES)[33].color) / 255
    assert (np.abs(picture - color).max(axis=2) < 0.02).sum() > 20


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> VersionStore:
    """A starter of 34 channels, as learning keeps it; the new ones know what the liver and the spleen look like."""
    folder = tmp_path_factory.mktemp("versions")
    shipped = load_onnx_weights(resource("Models/genesis_starter.onnx"))
    rows = shipped["organ_embedding.weight"]
    shipped["organ_embedding.weight"] = torch.cat([rows, rows[[LIVER - 1, SPLEEN - 1]]])
    network = build("starter", classes=34)
    network.load_state_dict(shipped)
    facts = facts_of_network(
        read_metadata(resource("Models/genesis_starter.json")), network.eval(), (LIVER, SPLEEN), NAMES
    )
    path = write_network(network, facts, folder)
    labels = Channels.of_classes(facts.classes, NAMES).labels
    facts = replace(facts, own=())  # as versions say that were kept before their structures were drawn
    made = a_version(facts=facts, labels=labels, file=path.name, sha256=model_digest(path))
    store = VersionStore(folder / "kept")
    store.add(made, lambda place: [shutil.copy(file, place) for file in folder.glob("model.*")])
    return store


@pytest.mark.parametrize("recipe", ["fast", "published"])
def test_a_version_draws_it_with_both_runtimes(versions, recipe):
    model, job = versions.resolve("v1"), Job()
    assert model.facts.own == NAMES
    volume = phantom_ct(spacing_mm=9.0)
    options = RunOptions(classes=(LIVER, SARCOMA, OTHER), recipe=recipe, postprocess="safe")
    one, other = (
        open_segmenter(model, job, runtime=name, device="cpu").segment(volume, options).segmentation
        for name in ("torch", "onnx")
    )
    assert SARCOMA in one.present()
    for index in (SARCOMA, OTHER):
        assert dice(one.mask(index), other.mask(index)) > 0.99 or not one.mask(index).any()
    # Its row of the embedding is that of the liver, of which cleaning keeps the largest piece.
    assert one.mask(SARCOMA)[one.mask(LIVER)].all()


def test_a_file_of_such_a_model_says_itself_what_it_draws(versions):
    path = versions.path_of(versions["v1"])
    assert ModelStore(path.parent, load_catalogue()).resolve(path).facts.own == NAMES
