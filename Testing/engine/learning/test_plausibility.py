"""Masks that were moved or mixed up are found out; right ones, also badly drawn ones, are left in peace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders import an_oblique_geometry
from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.images.reading import read_volume
from GenesisSegmentLib.engine.inference.spec import ModelSpec
from GenesisSegmentLib.engine.labels import read_labels
from GenesisSegmentLib.engine.learning.doubting import doubt_of
from GenesisSegmentLib.engine.learning.material import learning_case, seen_by_model
from GenesisSegmentLib.engine.learning.plausibility import best_fit, doubts
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.store.records import Correction, TrainingRecord

SPACING = (4.0, 4.0, 4.0)
SHAPE = (60, 50, 40)
GRID = Geometry(SHAPE, np.diag([*SPACING, 1.0]))


def ball(centre: tuple[float, float, float], radius: float, shape=SHAPE) -> np.ndarray:
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True)) <= radius**2


LIVER, SPLEEN = ball((40, 25, 20), 8), ball((15, 22, 22), 6)


@pytest.fixture
def image() -> np.ndarray:
    """Tissue with two brighter organs and noise."""
    noise = np.random.default_rng(3).normal(0, 0.03, SHAPE)
    return (0.5 + 0.25 * LIVER + 0.2 * SPLEEN + noise).astype(np.float32)


@pytest.mark.parametrize("mask", [LIVER, SPLEEN])
def test_right_mask_is_in_its_best_place(image, mask):
    fit = best_fit(image, mask, GRID)
    assert fit.offset_mm == (0, 0, 0)
    assert not fit.is_moved
    assert doubts(image, {"liver": mask}, GRID) == ()


@pytest.mark.parametrize(
    ("axis", "voxels", "words"),
    [
        (0, -5, "20 mm to the right"),
        (0, 5, "20 mm to the left"),
        (1, -5, "20 mm to the front"),
        (1, 7, "28 mm to the back"),
        (2, -5, "20 mm up"),
        (2, 5, "20 mm down"),
    ],
)
def test_moved_mask_is_sent_back_where_it_belongs(image, axis, voxels, words):
    moved = np.roll(LIVER, voxels, axis=axis)
    assert doubts(image, {"liver": moved}, GRID) == (f"liver would fit the CT better {words}.",)


def test_badly_drawn_mask_in_its_place_is_not_doubted(image):
    too_large, half = ball((40, 25, 20), 10), LIVER & (np.arange(SHAPE[0])[:, None, None] > 38)
    assert doubts(image, {"liver": too_large}, GRID) == ()
    assert doubts(image, {"liver": half}, GRID) == ()


def test_organ_that_the_ct_hardly_shows_is_not_doubted():
    noise = np.random.default_rng(4).normal(0.5, 0.05, SHAPE).astype(np.float32)
    assert doubts(noise, {"colon": LIVER}, GRID) == ()


@pytest.mark.parametrize("label", ["liver_tumor", "my structure"])
def test_place_of_lesions_and_structures_of_ones_own_is_not_judged(image, label):
    assert doubts(image, {label: np.roll(LIVER, 6, axis=0)}, GRID) == ()


def test_looking_can_be_stopped_before_each_mask(image):
    class StoppedError(Exception):
        pass

    def stop() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        doubts(image, {"liver": LIVER}, GRID, pause=stop)


def test_small_mask_is_not_doubted(image):
    small = np.roll(ball((40, 25, 20), 2), 6, axis=0)
    assert np.count_nonzero(small) * 0.064 < 40
    assert best_fit(image, small, GRID) is None
    assert best_fit(image, np.zeros(SHAPE, bool), GRID) is None


def test_sides_that_were_mixed_up_are_found(image):
    masks = {"kidney_left": LIVER, "kidney_right": SPLEEN}  # the axis points to the right: this left one is there
    assert doubts(image, masks, GRID) == ("kidney_left lies to the right of kidney_right.",)
    assert doubts(image, {"kidney_left": SPLEEN, "kidney_right": LIVER}, GRID) == ()
    assert doubts(image, {"kidney_left": LIVER}, GRID) == ()


def test_what_was_confirmed_is_not_doubted(image):
    moved = np.roll(LIVER, 6, axis=0)
    assert doubts(image, {"liver": moved}, GRID, ("liver",)) == ()
    assert doubts(image, {"liver": moved}, GRID, ("spleen",)) != ()
    masks = {"kidney_left": LIVER, "kidney_right": SPLEEN}
    assert doubts(image, masks, GRID, ("kidney_left", "kidney_right")) == ()


@pytest.mark.parametrize("times", [1, 2])
def test_direction_is_the_patients_on_an_oblique_ct(times):
    geometry = an_oblique_geometry((90, 80, 50), (1.6, 1.8, 3.0), (10.0, -20.0, 15.0))
    codes = np.indices(geometry.shape).reshape(3, -1).T
    centre = np.array([45, 40, 25])
    inside = (np.linalg.norm((codes - centre) * geometry.spacing, axis=1) < 32).reshape(geometry.shape)
    voxels = np.where(inside, 150, -20).astype(np.int16)
    to_left = np.linalg.inv(geometry.ijk_to_ras[:3, :3]) @ [-24.0, 0, 0]
    moved = np.roll(inside, np.round(to_left).astype(int), axis=(0, 1, 2))

    class Store:
        def volume(self, record) -> Volume:
            return Volume(np.asfortranarray(voxels), geometry, Source(Path("ct"), "ct"))

        def mask(self, record, label) -> np.ndarray:
            return moved

        changed = mask

    spec = ModelSpec("m", (1, 6), (1, 6), SPACING, (-1000.0, 400.0), None, multiple=8, is_smoothed=True)
    record = TrainingRecord("c" * 64, "p", "train", ("liver",), "", (Correction("liver", "m", times=times),))
    sentence = doubt_of(record, learning_case(record, Store(), spec))
    if times > 1:
        assert sentence == ""
    else:
        assert "liver would fit the CT better 24 mm to the right." in sentence
        assert "accept it once more" in sentence


def test_real_masks_are_believed_and_moved_ones_are_not(shared_data):
    """On a real CT with its reference labels; shifts by 30 mm to either side."""
    folder = shared_data / "colorectal_liver_metastases" / "crlm_1004"
    volume, labels = read_volume(folder / "ct.nii.gz"), read_labels(folder).segmentation
    spec = ModelSpec.of("starter", load_catalogue()["starter"].facts)
    names = {class_table()[c].slug: c for c in (1, 2, 3, 6)}

    class Store:
        def volume(self, record) -> Volume:
            return volume

        def mask(self, record, label) -> np.ndarray:
            return labels.mask(names[label])

    record = TrainingRecord("c" * 64, "p", "train", tuple(names))
    image, masks, grid, _ = seen_by_model(record, Store(), spec)
    assert doubts(image, masks, grid) == ()
    voxels = round(30 / grid.spacing[0])
    for label, mask in masks.items():
        for shift in (voxels, -voxels):
            (found,) = doubts(image, {label: np.roll(mask, shift, axis=0)}, grid)
            assert found.startswith(f"{label} would fit")
