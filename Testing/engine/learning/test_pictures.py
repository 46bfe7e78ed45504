"""The picture of a change shows the same, however the CT is stored."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from GenesisSegmentLib.core.corrections import BoxedMask
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine.learning.pictures import AFTER_COLOR, BEFORE_COLOR, draw_change, draw_losses
from inference_builders import ORIENTATIONS, a_volume

SHAPE, SPACING = (60, 50, 20), (2.0, 2.0, 5.0)


def straight() -> Geometry:
    matrix = np.diag([*SPACING, 1.0])
    matrix[:3, 3] = (-60.0, -50.0, 0.0)
    return Geometry(SHAPE, matrix)


def box(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(a, b) for a, b in sides)] = True
    return mask


# A piece at the patient's right side (low i is left in RAS... i runs to the right), in the upper slices.
BEFORE, TRUTH = box((40, 46), (30, 36), (14, 17)), box((40, 50), (30, 40), (14, 18))
VOXELS = np.random.default_rng(0).integers(-100, 150, SHAPE)


def colored(path, color: str) -> np.ndarray:
    """Columns and rows of the pixels of a colour."""
    rgb = imread(path)[..., :3]
    wanted = np.array([int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)])
    return np.argwhere(np.abs(rgb - wanted).max(axis=-1) < 0.12)


@pytest.mark.parametrize("change", ORIENTATIONS[::7], ids=str)
def test_the_picture_does_not_depend_on_how_the_ct_is_stored(tmp_path, change):
    geometry = straight()
    draw_change(
        tmp_path / "one.png", a_volume(VOXELS, geometry), *map(BoxedMask.of, (BEFORE, TRUTH, TRUTH)), "liver", "t"
    )
    turned = geometry.reoriented(change)
    masks = [BoxedMask.of(np.ascontiguousarray(change.apply(m))) for m in (BEFORE, TRUTH, TRUTH)]
    assert draw_change(tmp_path / "other.png", a_volume(change.apply(VOXELS), turned), *masks, "liver", "t")
    np.testing.assert_array_equal(imread(tmp_path / "one.png"), imread(tmp_path / "other.png"))


def test_before_is_at_the_left_and_after_at_the_right(tmp_path):
    path = tmp_path / "one.png"
    draw_change(path, a_volume(VOXELS, straight()), *map(BoxedMask.of, (BEFORE, TRUTH, TRUTH)), "liver", "t")
    half = imread(path).shape[1] / 2
    inside = slice(60, -50)  # without the legend
    before, after = colored(path, BEFORE_COLOR), colored(path, AFTER_COLOR)
    assert len(before) > 50
    assert len(after) > len(before[inside])
    assert before[:, 1].max() < half < after[:, 1].min()


def test_where_nothing_changed_there_is_no_picture(tmp_path):
    volume = a_volume(VOXELS, straight())
    assert not draw_change(tmp_path / "one.png", volume, *map(BoxedMask.of, (TRUTH, TRUTH, TRUTH)), "liver", "t")
    nothing = BoxedMask.of(np.zeros(SHAPE, bool))
    assert not draw_change(tmp_path / "one.png", volume, nothing, nothing, nothing, "liver", "t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("steps", [1, 2, 200])
def test_a_loss_curve_is_drawn_for_any_number_of_steps(tmp_path, steps):
    draw_losses(tmp_path / "loss.png", [1.0 / (n + 1) for n in range(steps)])
    blue = imread(tmp_path / "loss.png")[..., 2] - imread(tmp_path / "loss.png")[..., 0]
    assert (blue > 0.15).any()
