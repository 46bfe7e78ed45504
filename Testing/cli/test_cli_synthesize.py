"""``genesis-segment synthesize``: files that say what they are, on the grid of the CT, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pytest
from scipy import ndimage

from builders import rotation
from cli_builders import files_in, run, write_nifti
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.synthesis import planting
from GenesisSegmentLib.engine.synthesis.textures import texture

LIVER, TUMOR = 6, 27
SHAPE, SPACING = (48, 44, 30), (1.5, 1.6, 2.4)
GRIDS = {
    "straight": np.eye(3),
    "as DICOM has it": np.diag([-1.0, -1.0, 1.0]),
    "axes permuted": np.eye(3)[:, [2, 0, 1]],
    "oblique and flipped": rotation((-35, 8, 14)) @ np.diag([1.0, -1.0, 1.0]),
}
NAMES = {f"ct_synthetic_liver_tumor{end}" for end in (".nii.gz", "_labels.seg.nrrd", ".json", ".png")}


@pytest.fixture(autouse=True)
def small_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planting, "texture", lambda number: texture(number, 0, (64, 48, 40)))


def a_case(folder: Path, axes: np.ndarray = GRIDS["as DICOM has it"]) -> tuple[Path, Path, np.ndarray]:
    """A CT with a liver on the patient's right, a mask of it, and the affine."""
    affine = np.eye(4)
    affine[:3, :3] = axes @ np.diag(SPACING)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(SHAPE) / 2) + (3, -5, 80)
    index = np.moveaxis(np.indices(SHAPE), 0, -1)
    position = index @ affine[:3, :3].T + affine[:3, 3]
    liver = (((position - (12, -3, 82)) / (20, 18, 22)) ** 2).sum(axis=-1) <= 1
    hu = np.where(liver, 110, -90) + np.random.default_rng(0).normal(0, 8, SHAPE)
    ct = write_nifti(folder / "ct.nii.gz", np.rint(hu).astype(np.int16), affine)
    return ct, write_nifti(folder / "mask.nii.gz", liver.astype(np.uint8), affine), affine


@pytest.mark.parametrize("grid", GRIDS)
def test_lesions_lie_where_the_document_says_on_every_grid(grid: str, tmp_path: Path) -> None:
    ct, mask, affine = a_case(tmp_path, GRIDS[grid])
    out = tmp_path / "out"
    ended = run("synthesize", ct, mask, "--lesion", "liver", "--size", "tiny", "--seed", 5, "-o", out, "--json")
    assert ended.code == 0, ended.err
    assert files_in(out) == NAMES
    made = nibabel.load(out / "ct_synthetic_liver_tumor.nii.gz")
    assert (made.affine == nibabel.load(ct).affine).all()
    assert made.get_data_dtype() == np.int16
    labels = read_labels(out / "ct_synthetic_liver_tumor_labels.seg.nrrd").segmentation
    lesion, liver = labels.mask(TUMOR), labels.mask(LIVER)
    before, after = (np.asarray(nibabel.load(p).dataobj).astype(int) for p in (ct, made.get_filename()))
    assert lesion.any()
    assert (liver == (np.asarray(nibabel.load(mask).dataobj) > 0)).all()
    assert not (lesion & ~liver).any()
    assert (after[~liver] == before[~liver]).all()
    assert (after[lesion] - before[lesion]).mean() < -15
    centres = np.array([each["centre_ras_mm"] for each in ended.document["lesions"]])
    places = np.argwhere(lesion) @ affine[:3, :3].T + affine[:3, 3]
    apart = np.linalg.norm(places[:, None] - centres, axis=2)
    assert apart.min(axis=1).max() < 5 * 1.25 + 4  # no voxel far from a middle: radius, and what deforms it
    assert apart.min(axis=0).max() < 5  # and no middle without a lesion


def test_everything_says_that_it_is_synthetic(tmp_path: Path) -> None:
    ct, mask, _affine = a_case(tmp_path)
    ended = run("synthesize", ct, mask, "--lesion", "liver", "--seed", 1, "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "Not a patient's" in ended.err
    document = json.loads((tmp_path / "out" / "ct_synthetic_liver_tumor.json").read_text())
    assert document["is_synthetic"] is True
    assert "never use for diagnosis" in document["warning"].lower()
    assert document["seed"] == 1
    assert {"difference_hu", "edge_mm", "texture", "lesions", "options"} <= set(document)
    image = nibabel.load(tmp_path / "out" / "ct_synthetic_liver_tumor.nii.gz")
    assert b"SYNTHETIC" in bytes(image.header["descrip"])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_ct_keeps_its_form_and_its_header_the_remark(suffix: str, tmp_path: Path) -> None:
    import SimpleITK as sitk

    ct, mask, _affine = a_case(tmp_path)
    other = tmp_path / f"scan{suffix}"
    sitk.WriteImage(sitk.ReadImage(str(ct)), str(other))
    ended = run("synthesize", other, mask, "--lesion", "liver", "--size", "tiny", "-o", tmp_path / "out")
    assert ended.code == 0, ended.err
    made = tmp_path / "out" / f"scan_synthetic_liver_tumor{suffix}"
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(made))
    reader.ReadImageInformation()
    assert "SYNTHETIC" in reader.GetMetaData("GenesisSegment_Remark")
    if suffix == ".nrrd":
        assert nrrd.read_header(str(made))["type"] in ("short", "int16")


def test_a_seed_repeats_a_case_and_nothing_is_replaced(tmp_path: Path) -> None:
    ct, mask, _affine = a_case(tmp_path)
    arguments = ("synthesize", ct, mask, "--lesion", "liver", "--size", "small", "--seed", 3, "-o", tmp_path / "out")
    assert run(*arguments).code == 0
    first = (tmp_path / "out" / "ct_synthetic_liver_tumor.nii.gz").stat().st_mtime_ns
    assert run(*arguments).code == 0
    assert (tmp_path / "out" / "ct_synthetic_liver_tumor.nii.gz").stat().st_mtime_ns == first
    again = "ct_synthetic_liver_tumor_2.nii.gz"
    one, other = (
        np.asarray(nibabel.load(tmp_path / "out" / name).dataobj) for name in ("ct_synthetic_liver_tumor.nii.gz", again)
    )
    assert (one == other).all()


def test_options_are_drawn_and_written_down(tmp_path: Path) -> None:
    ct, mask, _affine = a_case(tmp_path)
    flags = ("--avoid-vessels", "--mass-effect", "--capsule", "--labels", "nii.gz", "--json")
    ended = run("synthesize", ct, mask, "--lesion", "liver", "--size", "medium", "-o", tmp_path / "out", *flags)
    assert ended.code == 0, ended.err
    document = ended.document
    assert document["options"] == {"is_vessel_avoided": True, "has_mass_effect": True, "has_capsule": True}
    assert document["capsule_hu"] > 0
    assert all(each["push"] > 0 for each in document["lesions"])
    labels = read_labels(tmp_path / "out" / "ct_synthetic_liver_tumor_labels.nii.gz").segmentation
    assert {LIVER, TUMOR} <= set(labels.present())


def test_other_labels_stay_and_a_mask_of_a_kidney_is_not_called_right_or_left(tmp_path: Path) -> None:
    ct, mask, affine = a_case(tmp_path)
    values = np.asarray(nibabel.load(mask).dataobj) * 6
    values[:3, :3, :3] = 1
    labels = write_nifti(tmp_path / "labels.nii.gz", values.astype(np.uint8), affine)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"1": "spleen", "6": "liver"}}))
    assert run("synthesize", ct, labels, "--lesion", "liver", "--size", "tiny", "-o", tmp_path / "a").code == 0
    kept = read_labels(tmp_path / "a" / "ct_synthetic_liver_tumor_labels.seg.nrrd").segmentation
    assert set(kept.present()) == {1, LIVER, TUMOR}
    assert run("synthesize", ct, mask, "--lesion", "kidney", "--size", "tiny", "-o", tmp_path / "b").code == 0
    file = tmp_path / "b" / "ct_synthetic_kidney_tumor_labels.seg.nrrd"
    assert read_labels(file).others == ("kidney",)
    assert read_labels(file).segmentation.present() == (26,)


def test_what_cannot_be_used_is_refused_with_a_remedy_and_nothing_is_written(tmp_path: Path) -> None:
    ct, mask, affine = a_case(tmp_path)
    out = tmp_path / "out"
    moved = affine.copy()
    moved[0, 3] += 7
    organ = np.asarray(nibabel.load(mask).dataobj)
    elsewhere = write_nifti(tmp_path / "elsewhere.nii.gz", organ, moved)
    two = organ.copy()
    two[0, 0, 0] = 2
    unclear = write_nifti(tmp_path / "unclear.nii.gz", two, affine)
    nothing = write_nifti(tmp_path / "nothing.nii.gz", np.zeros_like(organ), affine)
    small = write_nifti(tmp_path / "small.nii.gz", ndimage.binary_erosion(organ, iterations=5).astype(np.uint8), affine)
    named = write_nifti(tmp_path / "named.nii.gz", organ, affine)
    (tmp_path / "named.json").write_text(json.dumps({"labels": {"1": "spleen"}}))
    refusals = {
        (elsewhere, "medium"): "different grids",
        (unclear, "medium"): "holds 2 values",
        (nothing, "medium"): "does not mark the liver",
        (named, "medium"): "this one marks: spleen",
        (small, "large"): "too small for large lesions",
        (tmp_path / "absent.nii.gz", "tiny"): "does not exist",
    }
    for (file, size), said in refusals.items():
        ended = run("synthesize", ct, file, "--lesion", "liver", "--size", size, "-o", out, "--json")
        assert ended.code == 3, ended.err
        error = ended.document["error"]
        assert said in f"{error['what']} {error['remedy']}"
        assert error["remedy"]
    assert not out.exists()
    assert run("synthesize", ct, mask, "--lesion", "spleen", "-o", out).code == 2
    assert run("synthesize", ct, mask, "-o", out).code == 2
