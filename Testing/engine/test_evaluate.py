"""Scores against analytic cases, on anisotropic and oblique grids; partial labels."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Geometry, Reorientation
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.engine.alignment import aligned
from GenesisSegmentLib.engine.evaluate import evaluate, surface_scores, write_scores_csv
from GenesisSegmentLib.engine.score_plot import plot_scores

SPLEEN, RIGHT_KIDNEY, LIVER, CYST = 1, 2, 6, 32
ORIENTATIONS = [
    Reorientation(axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


def grid(shape, spacing, rotation=(0, 0, 0), origin=(-20.0, 30.0, 500.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ np.diag(spacing)
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def labels(geometry, masks, classes=None):
    return Segmentation(pack(masks.items(), geometry.shape), geometry, tuple(classes or masks))


def cuboid(shape, start, stop):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def ball(geometry, centre, radius):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    return (((index * geometry.spacing - np.array(centre)) / radius) ** 2).sum(axis=-1) <= 1


def one(scores):
    (score,) = scores
    return score


def test_equal_masks_score_perfectly():
    geometry = grid((20, 20, 12), (0.8, 0.8, 2.5))
    both = labels(geometry, {LIVER: ball(geometry, (8, 8, 15), 6)})
    score = one(evaluate(both, both))
    assert (score.status, score.dice, score.nsd, score.hd95_mm) == ("scored", 1.0, 1.0, 0.0)
    assert score.predicted_ml == score.reference_ml == pytest.approx(4 / 3 * np.pi * 6**3 / 1000, rel=0.05)


# A box of 24 x 24 x 70 mm, moved by one slice of 5 mm: both end faces are out of tolerance, and of the sides what
# stands out by more than 2 mm. Moved by 2.4 mm sideways: two of the four side faces are out.
SIDE, END = 24.0 * 70.0, 24.0 * 24.0
SURFACE = 4 * SIDE + 2 * END


@pytest.mark.parametrize(
    ("shift", "moved_mm", "outside"),
    [((0, 0, 1), 5.0, 2 * END + 2 * 4 * 24.0 * 3.0 / 2), ((3, 0, 0), 2.4, 2 * SIDE), ((0, 2, 0), 1.6, 0.0)],
)
def test_a_moved_box_on_a_grid_with_thick_slices(shift, moved_mm, outside):
    geometry = grid((44, 44, 22), (0.8, 0.8, 5.0))
    start, stop = np.array((6, 6, 4)), np.array((36, 36, 18))
    reference = labels(geometry, {LIVER: cuboid(geometry.shape, start, stop)})
    prediction = labels(geometry, {LIVER: cuboid(geometry.shape, start + shift, stop + shift)})
    score = one(evaluate(prediction, reference, tolerance_mm=2.0))
    overlap = np.prod(stop - start - shift) / np.prod(stop - start)
    assert score.dice == pytest.approx(overlap)
    assert score.hd95_mm == pytest.approx(moved_mm, abs=1e-4)
    assert score.nsd == pytest.approx(1 - outside / SURFACE, abs=0.045)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.9, 2.0)])
def test_a_ball_inside_a_larger_one(spacing):
    geometry = grid(tuple(round(44 / s) for s in spacing), spacing)
    centre = (22.0, 22.0, 22.0)
    reference = labels(geometry, {LIVER: ball(geometry, centre, 12.0)})
    prediction = labels(geometry, {LIVER: ball(geometry, centre, 16.0)})
    score = one(evaluate(prediction, reference, tolerance_mm=6.0))
    assert score.dice == pytest.approx(2 * 12**3 / (12**3 + 16**3), abs=0.02)
    assert score.hd95_mm == pytest.approx(4.0, abs=1.0)
    assert score.nsd == 1.0
    assert one(evaluate(prediction, reference, tolerance_mm=2.0)).nsd < 0.05


def test_a_distance_equal_to_the_tolerance_is_within_it():
    one_mask = cuboid((20, 20, 20), (4, 4, 4), (12, 12, 12))
    nsd, hd95 = surface_scores(np.roll(one_mask, 2, axis=0), one_mask, (1.0, 1.0, 1.0), tolerance_mm=2.0)
    assert (nsd, hd95) == (1.0, 2.0)


def test_far_speck_below_five_per_cent_of_the_surface_does_not_set_hd95():
    reference = cuboid((40, 24, 24), (4, 4, 4), (20, 20, 20))
    prediction = reference.copy()
    prediction[36:38, 10:12, 10:12] = True
    _, hd95 = surface_scores(prediction, reference, (1.0, 1.0, 1.0), 2.0)
    assert hd95 == 0.0
    prediction[30:38, 6:18, 6:18] = True
    _, hd95 = surface_scores(prediction, reference, (1.0, 1.0, 1.0), 2.0)
    assert hd95 > 10.0


def test_scores_reach_to_the_edge_of_the_scan():
    """Masks that touch the border of the grid have a surface there like anywhere else."""
    whole = np.ones((8, 8, 8), bool)
    half = cuboid((8, 8, 8), (0, 0, 0), (8, 8, 4))
    nsd, hd95 = surface_scores(half, whole, (1.0, 1.0, 1.0), 1.0)
    assert 0.5 < nsd < 0.8
    assert hd95 == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("predicted", "annotated", "marked", "status", "dice"),
    [
        (True, True, True, "scored", 1.0),
        (False, True, True, "missed", 0.0),
        (True, True, False, "false positive", None),
        (False, True, False, "absent in both", None),
        (True, False, False, "not annotated", None),
        (None, True, True, "not predicted", None),
    ],
)
def test_partial_labels(predicted, annotated, marked, status, dice):
    geometry = grid((10, 10, 10), (1, 1, 1))
    mask, nothing = cuboid(geometry.shape, (2, 2, 2), (6, 6, 6)), np.zeros(geometry.shape, bool)
    prediction = labels(
        geometry, {SPLEEN: mask} | ({} if predicted is None else {LIVER: mask if predicted else nothing})
    )
    reference = labels(geometry, {SPLEEN: mask} | ({LIVER: mask if marked else nothing} if annotated else {}))
    spleen, liver = evaluate(prediction, reference)
    assert spleen.status == "scored"
    assert (liver.index, liver.status, liver.dice) == (LIVER, status, dice)
    assert liver.nsd == dice
    assert (liver.hd95_mm is None) == (status != "scored")
    if status == "false positive":
        assert liver.predicted_ml == pytest.approx(0.064)


def test_only_the_asked_classes_are_scored():
    geometry = grid((10, 10, 10), (1, 1, 1))
    mask = cuboid(geometry.shape, (2, 2, 2), (6, 6, 6))
    both = labels(geometry, {SPLEEN: mask, LIVER: mask})
    assert [(s.index, s.status) for s in evaluate(both, both, classes=(LIVER, CYST))] == [
        (LIVER, "scored"),
        (CYST, "not annotated"),
    ]


@pytest.mark.parametrize("rotation", [(0, 0, 0), (15, -20, 40)], ids=["straight", "oblique"])
@pytest.mark.parametrize("change", ORIENTATIONS, ids=str)
def test_the_reference_may_be_stored_along_other_axes(change, rotation):
    geometry = grid((9, 8, 7), (0.9, 1.0, 2.0), rotation)
    rng = np.random.default_rng(5)
    reference = labels(
        geometry, {LIVER: rng.random(geometry.shape) < 0.5, RIGHT_KIDNEY: rng.random(geometry.shape) < 0.2}
    )
    stored = Segmentation(change.apply(reference.bits), geometry.reoriented(change), reference.classes)
    back = aligned(stored, geometry)
    assert np.array_equal(back.bits, reference.bits)
    assert back.geometry.matches(geometry)


def test_scores_do_not_depend_on_how_the_reference_is_stored():
    geometry = grid((14, 12, 10), (0.9, 1.0, 2.0), (15, -20, 40))
    prediction = labels(geometry, {LIVER: cuboid(geometry.shape, (2, 2, 2), (9, 8, 6))})
    reference = labels(geometry, {LIVER: cuboid(geometry.shape, (3, 2, 2), (9, 9, 7))})
    change = Reorientation((2, 0, 1), (True, False, True))
    stored = Segmentation(change.apply(reference.bits), geometry.reoriented(change), reference.classes)
    assert evaluate(prediction, stored) == evaluate(prediction, reference)


@pytest.mark.parametrize(
    "other",
    [
        grid((10, 10, 10), (1, 1, 1), origin=(-19.0, 30.0, 500.0)),
        grid((10, 10, 10), (1, 1, 1.1)),
        grid((10, 10, 11), (1, 1, 1)),
        grid((10, 10, 10), (1, 1, 1), rotation=(0, 0, 5)),
    ],
    ids=["moved", "spacing", "shape", "turned"],
)
def test_another_grid_is_refused_with_a_remedy(other):
    geometry = grid((10, 10, 10), (1, 1, 1))
    mask = np.ones((10, 10, 10), bool)
    prediction = labels(geometry, {LIVER: mask})
    reference = Segmentation(np.ones(other.shape, np.uint32), other, (LIVER,))
    with pytest.raises(GeometryError) as error:
        evaluate(prediction, reference)
    assert error.value.remedy


def test_a_mirrored_grid_is_not_taken_for_the_same():
    """The same numbers with the first axis said to run the other way: left would become right."""
    geometry = grid((10, 10, 10), (1, 1, 1))
    mirrored = Geometry(geometry.shape, geometry.ijk_to_ras @ np.diag([-1, 1, 1, 1]))
    with pytest.raises(GeometryError):
        aligned(labels(mirrored, {LIVER: np.ones(geometry.shape, bool)}), geometry)


def scores_of_every_status():
    geometry = grid((12, 12, 12), (1, 1, 1))
    mask, nothing = cuboid(geometry.shape, (2, 2, 2), (8, 8, 8)), np.zeros(geometry.shape, bool)
    prediction = labels(geometry, {1: mask, 2: nothing, 3: mask, 4: nothing, 5: mask})
    reference = labels(geometry, {1: np.roll(mask, 1, 0), 2: mask, 3: nothing, 4: nothing, 6: mask})
    return evaluate(prediction, reference)


def test_csv_leaves_undefined_numbers_empty(tmp_path):
    write_scores_csv(tmp_path / "scores.csv", scores_of_every_status(), tolerance_mm=3.0)
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["class"], r["name"], r["status"]) for r in rows] == [
        ("1", "spleen", "scored"),
        ("2", "kidney_right", "missed"),
        ("3", "kidney_left", "false positive"),
        ("4", "gall_bladder", "absent in both"),
        ("5", "esophagus", "not annotated"),
        ("6", "liver", "not predicted"),
    ]
    assert [r["dice"] for r in rows] == ["0.8333", "0.0000", "", "", "", ""]
    assert {r["nsd_tolerance_mm"] for r in rows} == {"3"}


@pytest.mark.parametrize(
    "scores", [scores_of_every_status(), scores_of_every_status()[4:], ()], ids=["all", "none", ""]
)
def test_plot_is_a_picture_that_has_a_row_for_every_score(tmp_path, scores):
    from matplotlib.image import imread

    plot_scores(tmp_path / "scores.png", scores, title="case")
    picture = imread(tmp_path / "scores.png")
    shown = sum(s.status in ("scored", "missed", "false positive") for s in scores)
    assert picture.shape[1] == 1200
    assert picture.shape[0] >= 60 * shown
    bars = (np.abs(picture[..., :3] - np.array((0x2F, 0x6F, 0x9F)) / 255) < 0.02).all(axis=-1)
    longest = bars.sum(axis=1).max()  # the patch of the legend is shorter
    assert (longest > 300) == bool(shown)
