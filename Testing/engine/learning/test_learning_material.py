"""What is learned from lies on the model's grid where it lies in the patient, and is never the holdout's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from builders import an_oblique_geometry
from GenesisSegmentLib.core.errors import GeometryError, HoldoutError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.inference.spec import ModelSpec
from GenesisSegmentLib.engine.learning.material import (
    LearningCase,
    from_disk,
    learning_case,
    on_disk,
    on_grid,
    replayed,
)
from learning_builders import a_case

WHOLE = ModelSpec("m", (1, 6), (1, 6), (4.0, 4.0, 4.0), (-1000.0, 400.0), None, multiple=8, is_smoothed=True)
WINDOWS = ModelSpec("m", (1, 6), (1, 6), (1.5, 1.5, 1.5), (-175.0, 250.0), (32, 32, 32))


@dataclass
class Record:
    """What is read of a record."""

    case: str = "a" * 64
    split: str = "train"
    labels: tuple[str, ...] = ("liver",)


@dataclass
class Store:
    """One case in memory."""

    ct: Volume
    accepted: np.ndarray

    def volume(self, record) -> Volume:
        return self.ct

    def mask(self, record, label) -> np.ndarray:
        return self.accepted

    def changed(self, record, label) -> np.ndarray:
        out = np.zeros_like(self.accepted)
        out[np.unravel_index(np.flatnonzero(self.accepted)[:40], out.shape)] = True
        return out


def an_oblique_case(codes: np.ndarray | None = None) -> tuple[Store, np.ndarray]:
    """A block of tissue with a bright organ near one corner, on an oblique grid whose axes are flipped and swapped."""
    base = an_oblique_geometry((60, 50, 30), (1.6, 1.8, 3.0), (10.0, -20.0, 15.0))
    matrix = base.ijk_to_ras @ np.array([[0, -1, 0, 49], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    shape = (30, 50, 60)
    del codes
    voxels = np.full(shape, -1000, dtype=np.int16)
    voxels[3:-3, 4:-4, 4:-4] = 20
    organ = np.zeros(shape, dtype=bool)
    organ[6:14, 30:42, 8:24] = True
    voxels[organ] = 240
    volume = Volume(voxels, Geometry(shape, matrix), Source(Path("x"), "x"))
    middle = np.append(np.argwhere(organ).mean(axis=0), 1.0)
    return Store(volume, organ), (matrix @ middle)[:3]


@pytest.mark.parametrize("spec", [WHOLE, WINDOWS], ids=["whole scan", "windows"])
def test_image_and_mask_of_an_oblique_ct_lie_where_the_organ_lies_in_the_patient(spec):
    store, middle = an_oblique_case()
    case = learning_case(Record(), store, spec)
    assert case.image.shape == case.masks["liver"].shape == case.geometry.shape
    for found in (case.masks["liver"], case.image > 0.95 * case.image.max()):
        center = case.geometry.ijk_to_ras @ np.append(np.argwhere(found).mean(axis=0), 1.0)
        assert np.abs(center[:3] - middle).max() < 0.5 * max(spec.spacing_mm)
    inside, outside = case.image[case.masks["liver"]], case.image[~case.masks["liver"]]
    assert inside.mean() > outside.mean() + 0.15
    volume_of = [
        m.sum() * g.voxel_ml for m, g in ((case.masks["liver"], case.geometry), (store.accepted, store.ct.geometry))
    ]
    assert volume_of[0] == pytest.approx(volume_of[1], rel=0.12)
    assert case.changed["liver"].any()
    assert not (case.changed["liver"] & ~np.pad(case.masks["liver"], 2)[2:-2, 2:-2, 2:-2]).all()


def test_left_stays_left():
    """Axis 0 runs to the right of the patient, however the CT was stored."""
    store, _ = an_oblique_case()
    left = np.zeros_like(store.accepted)
    places = np.indices(left.shape).reshape(3, -1)
    ras = store.ct.geometry.ijk_to_ras @ np.vstack([places, np.ones(places.shape[1])])
    left.ravel()[:] = ras[0] < np.median(ras[0])
    grid = store.ct.geometry.reoriented(store.ct.geometry.to_ras).resampled((4.0, 4.0, 4.0))
    found = on_grid(left, store.ct.geometry, grid)
    assert found[: grid.shape[0] // 4].mean() > 0.9
    assert found[-(grid.shape[0] // 4) :].mean() < 0.1


def test_a_lesion_too_small_for_a_coarse_grid_is_not_taught_as_absent():
    store, _ = an_oblique_case()
    lesion = np.zeros_like(store.accepted)
    lesion[9, 35, 15] = True
    grid = store.ct.geometry.reoriented(store.ct.geometry.to_ras).resampled((4.0, 4.0, 4.0))
    found = on_grid(lesion, store.ct.geometry, grid)
    center = grid.ijk_to_ras @ np.append(np.argwhere(found).mean(axis=0), 1.0)
    true = store.ct.geometry.ijk_to_ras @ np.array([9.0, 35.0, 15.0, 1.0])
    assert 1 <= found.sum() <= 8
    assert np.abs(center - true).max() < 4.0
    assert not on_grid(np.zeros_like(lesion), store.ct.geometry, grid).any()


@pytest.mark.parametrize("split", ["validation", "holdout"])
def test_what_judges_a_model_never_becomes_material(split):
    store, _ = an_oblique_case()
    with pytest.raises(HoldoutError, match=split):
        learning_case(Record(split=split), store, WHOLE)
    with pytest.raises(HoldoutError):
        replace(a_case(), split=split)


def test_masks_on_another_grid_are_refused():
    case = a_case()
    with pytest.raises(GeometryError, match="liver"):
        LearningCase("x", case.image, {"liver": case.masks["liver"][1:]}, {}, case.geometry)


def test_a_case_in_files_is_the_same_case(tmp_path):
    case = replayed(a_case())
    read = on_disk(case, tmp_path / "case")
    for again in (read, from_disk(tmp_path / "case")):
        assert (again.case, again.labels, again.is_replayed) == (case.case, case.labels, True)
        assert np.array_equal(again.image, case.image)
        assert all(np.array_equal(again.masks[n], case.masks[n]) for n in case.labels)
        assert all(np.array_equal(again.changed[n], case.changed[n]) for n in case.labels)
        assert np.array_equal(again.geometry.ijk_to_ras, case.geometry.ijk_to_ras)
        assert isinstance(again.image, np.memmap)
