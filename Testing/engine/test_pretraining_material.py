"""From CTs to crops on disk: grids, patients apart, nobody named."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from builders import an_oblique_geometry, ct_voxels
from GenesisSegmentLib.core.errors import InputError, ModelError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.images.reading import CtInput
from GenesisSegmentLib.engine.phantom import phantom_ct
from GenesisSegmentLib.engine.pretraining.crops import CropRule
from GenesisSegmentLib.engine.pretraining.levels import LEVELS, genesis_levels, preparation, values
from GenesisSegmentLib.engine.pretraining.material import Material, Scan, cut_crops, load_material

RULE = CropRule(size=(16, 16, 16), per_scan=4, margins=(0, 0, 0), most_soft=1.0)
GENESIS = preparation("genesis_unet3d")


def a_ct(path: Path, seed: int, shape=(24, 22, 26)) -> Path:
    nibabel.save(nibabel.Nifti1Image(ct_voxels(shape, seed=seed), np.diag([1.0, 1.0, 2.0, 1.0])), path)
    return path


def scan(path: Path, patient: str = "") -> Scan:
    return Scan(CtInput(path), path.name, patient or path.name)


def cut(scans: list[Scan], folder: Path, seed: int = 7, rule: CropRule = RULE) -> Material:
    cut_crops(scans, GENESIS, "genesis_unet3d", rule, seed, folder, reading_job())
    return load_material(folder, seed)


def reading_job() -> Job:
    job = Job()
    job.plan({"reading": 1.0})
    return job


def all_crops(material: Material) -> list[bytes]:
    return [crops[n].tobytes() for crops in (material.train, material.validation) for n in range(len(crops))]


@pytest.fixture
def scans(tmp_path: Path) -> list[Scan]:
    return [scan(a_ct(tmp_path / f"{n}.nii.gz", n)) for n in range(7)]


def test_hounsfield_units_become_levels_exactly():
    hu = np.array([[[-1024, -1000, -999, 0, 40, 999, 1000, 3000]]], np.int16)
    levels = genesis_levels(Volume(hu, Geometry(hu.shape, np.eye(4)), Source(Path(), "x")))
    assert levels.ravel().tolist() == [0, 0, 1, 1000, 1040, 1999, 2000, 2000]
    assert values(levels).ravel()[4] == pytest.approx((40 + 1000) / 2000)
    assert GENESIS.level_of(-150) == 850


def test_crops_lie_on_the_axes_of_the_patient():
    """Left is left: a CT stored in any order of axes gives the levels of the same CT stored straight."""
    geometry = an_oblique_geometry((5, 6, 7), degrees=(4, -3, 5))
    voxels = np.random.default_rng(0).integers(-900, 900, geometry.shape).astype(np.int16)
    straight = genesis_levels(Volume(voxels, geometry, Source(Path(), "x")))
    assert np.array_equal(straight, (voxels + 1000).astype(np.uint16))
    turned = geometry.ijk_to_ras @ np.array([[0, -1, 0, 4], [0, 0, 1, 0], [-1, 0, 0, 6], [0, 0, 0, 1]])
    other = voxels.transpose(2, 0, 1)[::-1, ::-1]  # j -> k, and both i and k run backwards
    same = genesis_levels(Volume(other, Geometry(other.shape, turned), Source(Path(), "y")))
    assert np.array_equal(same, straight)


def test_the_starter_is_pre_trained_on_its_own_grid_and_intensities():
    prepared = preparation("starter")
    levels = prepared.levels(phantom_ct(spacing_mm=8))
    assert prepared.spacing_mm == (4.0, 4.0, 4.0)
    assert levels.dtype == np.uint16
    assert levels.max() <= LEVELS
    assert prepared.level_of(-1000) == 0
    assert prepared.level_of(250) == LEVELS
    soft = prepared.level_of(-150)
    assert 0.2 < (levels >= soft).mean() < 0.95


def test_other_networks_cannot_be_pre_trained():
    with pytest.raises(ModelError, match="genesis_unet3d, starter"):
        preparation("universal_swinunetr")


def test_crops_depend_on_voxels_and_seed_alone(scans, tmp_path):
    first = cut(scans, tmp_path / "a")
    again = cut(scans[::-1], tmp_path / "b")
    assert all_crops(first) == all_crops(again)
    assert first.fingerprint == again.fingerprint
    assert all_crops(cut(scans, tmp_path / "c", seed=8)) != all_crops(first)


def test_patients_are_kept_apart(tmp_path):
    scans = [scan(a_ct(tmp_path / f"{n}.nii.gz", n), patient=f"patient {n // 2}") for n in range(14)]
    for seed in range(5):
        material = cut(scans, tmp_path / f"s{seed}", seed)
        train, validation = ({int(name[:-7]) // 2 for name in material.scans[part]} for part in ("train", "validation"))
        assert not train & validation
        assert len(validation) == 2  # 2 of 7 patients
        assert len(material.train) == 10 * 4
        assert len(material.validation) == 4 * 4


def test_patients_are_not_named_on_disk(tmp_path):
    scans = [scan(a_ct(tmp_path / f"{n}.nii.gz", n), patient=f"MUELLER-{n}") for n in range(2)]
    cut(scans, tmp_path / "work")
    assert all(b"MUELLER" not in path.read_bytes() for path in (tmp_path / "work").iterdir())


def test_the_same_ct_twice_is_learned_from_once(tmp_path):
    first, other = a_ct(tmp_path / "a.nii.gz", 0), a_ct(tmp_path / "c.nii.gz", 1)
    copy = tmp_path / "b.nii.gz"
    copy.write_bytes(first.read_bytes())
    material = cut([scan(first), scan(copy), scan(other)], tmp_path / "work")
    assert len(material.train) + len(material.validation) == 8
    assert any("same CT" in note for note in material.notes)


def test_crops_that_are_there_are_not_cut_again_unless_the_ct_changed(tmp_path):
    path = a_ct(tmp_path / "a.nii.gz", 0)
    folder = tmp_path / "work"
    cut([scan(path)], folder)
    files = {file: file.stat().st_mtime_ns for file in folder.glob("*.npy")}
    cut([scan(path)], folder)
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*.npy")} == files
    a_ct(path, 1)
    assert cut([scan(path)], folder).fingerprint
    assert len(list(folder.glob("*.npy"))) == 2


def test_one_patient_leaves_nothing_to_judge_by_and_that_is_said(tmp_path):
    material = cut([scan(a_ct(tmp_path / "a.nii.gz", 0))], tmp_path / "work")
    assert (len(material.train), len(material.validation)) == (4, 0)
    assert "nothing is left to judge by" in material.notes[0]


def test_cts_without_a_crop_are_named_with_the_reason(tmp_path):
    thin = scan(a_ct(tmp_path / "thin.nii.gz", 0, (24, 24, 9)))
    soft = scan(a_ct(tmp_path / "soft.nii.gz", 1))
    good = scan(a_ct(tmp_path / "good.nii.gz", 2))
    damaged = scan(tmp_path / "damaged.nii.gz")
    damaged.ct.path.write_bytes(good.ct.path.read_bytes()[:-500])
    material = cut([thin, damaged, good], tmp_path / "a")
    assert material.notes[0].startswith("thin.nii.gz is left out. It has 9 voxels along one axis")
    assert material.notes[1].startswith("damaged.nii.gz is left out. ")
    assert material.scans["train"] == ("good.nii.gz",)
    strict = CropRule(size=(16, 16, 16), per_scan=4, margins=(0, 0, 0), most_soft=0.0)
    with pytest.raises(InputError, match=r"soft.nii.gz is left out. No window had little enough soft tissue.*--tissue"):
        cut([thin, soft], tmp_path / "b", rule=strict)


def test_the_index_of_the_crops_is_plain(tmp_path):
    cut([scan(a_ct(tmp_path / "a.nii.gz", 0))], tmp_path / "work")
    document = json.loads((tmp_path / "work" / "crops.json").read_text())
    assert document["recipe"]["rule"]["size"] == [16, 16, 16]
    assert [entry["crops"] for entry in document["cuts"]] == [4]


def test_real_chest_gives_windows_of_lung(shared_data, tmp_path):
    rule = CropRule(size=(32, 32, 16), per_scan=6)
    material = cut(
        [scan(shared_data / "nsclc_radiogenomics" / "radiogenomics_R01-001" / "ct.nii.gz")], tmp_path, rule=rule
    )
    assert len(material.train) == 6
    for number in range(6):
        assert (material.train[number] < GENESIS.level_of(-500)).mean() > 0.6
