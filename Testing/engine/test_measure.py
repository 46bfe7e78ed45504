"""Measurements against analytic phantoms, on straight and oblique grids."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core.errors import GeometryError, OutputError
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.diameters import axial_diameters
from GenesisSegmentLib.engine.measure import measure, write_csv, write_json

LIVER, SPLEEN, LIVER_TUMOR, CYST = 6, 1, 27, 32


def grid(shape, spacing, rotation=(0, 0, 0), origin=(-20.0, 30.0, 500.0)):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ np.diag(spacing)
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def ellipsoid(geometry, centre, radii, turn=0.0):
    """Mask of an ellipsoid in grid millimetres, its first two axes turned by ``turn`` degrees in plane."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij"), axis=-1)
    offset = index * geometry.spacing - np.array(centre)
    offset = offset @ Rotation.from_euler("z", turn, degrees=True).as_matrix()
    return ((offset / radii) ** 2).sum(axis=-1) <= 1


def measured(geometry, masks, voxels=None, classes=None):
    voxels = np.zeros(geometry.shape, np.int16) if voxels is None else voxels
    segmentation = Segmentation(pack(masks.items(), geometry.shape), geometry, classes or tuple(masks))
    volume = Volume(voxels, geometry, Source(Path("scan.nii.gz"), "scan"))
    return {m.index: m for m in measure(segmentation, volume)}


@pytest.mark.parametrize("rotation", [(0, 0, 0), (12, -9, 25), (180, 0, 90)])
def test_sphere(rotation):
    geometry = grid((48, 52, 30), (0.8, 0.7, 1.25), rotation)
    centre, radius = (19.0, 18.2, 18.75), 12.0
    tumour = measured(geometry, {LIVER_TUMOR: ellipsoid(geometry, centre, (radius,) * 3)})[LIVER_TUMOR]
    (lesion,) = tumour.lesions
    assert tumour.volume_ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.01)
    assert lesion.volume_ml == tumour.volume_ml
    assert lesion.longest_mm == pytest.approx(2 * radius, abs=0.8)
    assert lesion.perpendicular_mm == pytest.approx(2 * radius, abs=0.8)
    expected = geometry.ijk_to_ras @ np.array([*(np.array(centre) / geometry.spacing), 1.0])
    assert lesion.centroid_ras == pytest.approx(expected[:3], abs=0.05)


@pytest.mark.parametrize("turn", [0.0, 20.0, 45.0, 78.0])
def test_ellipsoid_axes_in_the_axial_plane_whatever_its_direction(turn):
    """The long axis along the body (30 mm) does not count: diameters are axial."""
    geometry = grid((52, 52, 45), (0.75, 0.75, 1.5))
    mask = ellipsoid(geometry, (19.5, 19.5, 33.0), (15.0, 8.0, 30.0), turn)
    (lesion,) = measured(geometry, {LIVER_TUMOR: mask})[LIVER_TUMOR].lesions
    assert lesion.longest_mm == pytest.approx(30, abs=0.8)
    assert lesion.perpendicular_mm == pytest.approx(16, abs=0.8)


@pytest.mark.parametrize("rotation", [(10, -20, 15), (0, 30, 0), (-25, 12, 200)])
def test_an_oblique_scan_gives_the_same_measurements_as_a_straight_one(rotation):
    straight, oblique = (grid((40, 36, 20), (0.9, 0.8, 2.0), r) for r in ((0, 0, 0), rotation))
    mask = ellipsoid(straight, (17, 14, 20), (13, 7, 12), turn=33)
    one, other = (measured(g, {LIVER_TUMOR: mask})[LIVER_TUMOR].lesions[0] for g in (straight, oblique))
    assert other.longest_mm == pytest.approx(one.longest_mm)
    assert other.perpendicular_mm == pytest.approx(one.perpendicular_mm)
    assert other.volume_ml == pytest.approx(one.volume_ml)
    home = straight.ijk_to_ras @ np.linalg.inv(oblique.ijk_to_ras) @ np.array([*other.centroid_ras, 1.0])
    assert home[:3] == pytest.approx(one.centroid_ras)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
def test_the_axial_plane_is_found_from_the_geometry_not_from_the_axis_order(order, flips):
    straight = grid((30, 28, 16), (1.0, 0.9, 2.5))
    mask = ellipsoid(straight, (14, 12, 18), (11, 6, 16), turn=20)
    change = np.eye(4)[:, [*order, 3]]
    matrix = straight.ijk_to_ras @ change @ np.diag([*flips, 1])
    turned = Geometry(tuple(straight.shape[a] for a in order), matrix)
    moved = mask.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    one = measured(straight, {LIVER_TUMOR: mask})[LIVER_TUMOR].lesions[0]
    other = measured(turned, {LIVER_TUMOR: moved})[LIVER_TUMOR].lesions[0]
    assert other.longest_mm == pytest.approx(one.longest_mm)
    assert other.perpendicular_mm == pytest.approx(one.perpendicular_mm)


def test_perpendicular_is_a_line_in_the_lesion_not_the_width_of_its_outline():
    """An obtuse triangle pointing to both sides of its long axis: the outline is wider than any line across it."""
    i, j = np.meshgrid(np.arange(80), np.arange(60), indexing="ij")
    up = (j >= 30) & (j - 30 <= i) & (j - 30 <= (79 - i) / 3)  # highest at i = 20
    down = (j < 30) & (30 - j <= i / 3) & (30 - j <= 79 - i)  # lowest at i = 60
    found = axial_diameters((up | down)[..., None], (1.0, 1.0, 1.0), axial=2)
    assert found.longest_mm == pytest.approx(80, abs=1)
    assert found.perpendicular_mm == pytest.approx(26.7, abs=1)  # across a corner; the outline is about 40 wide


def drawn(shape, *boxes):
    mask = np.zeros((*shape, 1), bool)
    for i, j in boxes:
        mask[slice(*i), slice(*j)] = True
    return mask


def test_both_lines_of_a_bent_lesion_stay_inside_it():
    """An L with arms of 30 x 3 mm: neither from tip to tip (41 mm), nor across the corner between the arms (30 mm)."""
    bent = drawn((40, 40), ((2, 32), (2, 5)), ((2, 5), (2, 32)))
    found = axial_diameters(bent, (1.0, 1.0, 1.0), axial=2)
    assert 30 <= found.longest_mm <= np.hypot(30, 3) + 1
    # At right angles to the long axis, which is tilted by up to four in 30 mm, in the other arm of 3 mm.
    assert 3 <= found.perpendicular_mm < 26


def test_the_short_axis_of_a_horseshoe_does_not_jump_its_gap():
    """Arms of 4 mm at 20 mm from each other, on a base of 4 mm: no line leads from one arm to the other."""
    horseshoe = drawn((50, 40), ((2, 42), (2, 6)), ((2, 42), (26, 30)), ((2, 6), (2, 30)))
    found = axial_diameters(horseshoe, (1.0, 1.0, 1.0), axial=2)
    assert found.longest_mm == pytest.approx(40, abs=2.5)
    assert found.perpendicular_mm == pytest.approx(28, abs=2.5)  # along the base
    across = axial_diameters(np.delete(horseshoe, np.s_[2:6], axis=0), (1.0, 1.0, 1.0), axial=2)
    assert across.perpendicular_mm < 6


def test_islands_that_are_joined_in_other_slices_alone_are_measured_one_by_one():
    mask = np.zeros((60, 20, 4), bool)
    mask[2:7, 5:10, :3] = mask[42:47, 5:10, :3] = True
    mask[2:47, 7, 3] = True
    (lesion,) = measured(grid(mask.shape, (1.0, 1.0, 3.0)), {LIVER_TUMOR: mask})[LIVER_TUMOR].lesions
    assert lesion.longest_mm == pytest.approx(45, abs=0.1)  # the bridge itself, in its own slice
    islands = axial_diameters(mask[..., :3], (1.0, 1.0, 3.0), axial=2)
    assert islands.longest_mm == pytest.approx(np.hypot(5, 5), abs=1)
    assert islands.perpendicular_mm <= islands.longest_mm


def test_a_hole_of_one_pixel_and_a_rough_outline_do_not_cut_a_line():
    geometry = grid((40, 40, 1), (1.0, 1.0, 1.0))
    whole = ellipsoid(geometry, (20, 20, 0), (16, 9, 1))
    holed = whole.copy()
    holed[20, 20] = holed[10, 20] = holed[25, 17] = False
    one, other = (axial_diameters(mask, geometry.spacing, axial=2) for mask in (whole, holed))
    assert other == pytest.approx(one)


@pytest.mark.parametrize(("bar", "plus"), [(5, 30), (50, 20)])
def test_among_equally_long_lines_the_one_with_the_longest_perpendicular_counts(bar, plus):
    """A bar and a cross of the same length, in the one and the other order."""
    mask = drawn((60, 60), ((10, 50), (bar, bar + 1)), ((10, 50), (plus, plus + 1)), ((25, 26), (plus - 7, plus + 8)))
    assert axial_diameters(mask, (1.0, 1.0, 1.0), axial=2) == pytest.approx((40, 15))


def test_one_voxel_has_the_size_of_its_pixel():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    assert axial_diameters(mask, (0.7, 0.9, 5.0), axial=2) == pytest.approx((0.9, 0.7))


def longest_line(piece, spacing, reach):
    """By brute force: the longest line between edge points that lies in a piece or up to ``reach`` pixels beside it."""
    allowed = ndimage.distance_transform_edt(~np.pad(piece, 3))
    points = [
        np.array([i + di, j + dj])
        for i, j in np.argwhere(np.pad(piece, 3))
        for di, dj in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))
    ]
    longest = 0.0
    for a, b in itertools.combinations(points, 2):
        length = float(np.linalg.norm((a - b) * spacing))
        if length > longest:
            line = a + np.linspace(0.02, 0.98, 49)[:, None] * (b - a)
            # Half-way between pixels a point lies in both, between four in all of them.
            nudges = itertools.product((0.499, 0.501), repeat=2) if reach else ((0.499, 0.499), (0.501, 0.501))
            around = [allowed[tuple(np.floor(line + nudge).astype(int).T)] for nudge in nudges]
            if np.min(around, axis=0).max() <= reach:
                longest = length
    return longest


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_longest_line_is_what_a_search_over_all_pairs_of_edge_points_of_each_piece_finds(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 6, 2)) < 0.45
    mask[3, 3, 1] = True
    spacing = np.array([0.8, 1.1])
    strict, generous = 0.0, 0.0
    for k in range(2):
        labels, count = ndimage.label(mask[..., k], np.ones((3, 3)))
        for n in range(1, count + 1):
            strict = max(strict, longest_line(labels == n, spacing, 0))
            generous = max(generous, longest_line(labels == n, spacing, 1.5))
    found = axial_diameters(mask, (*spacing, 3.0), axial=2)
    assert strict - 1e-6 <= found.longest_mm <= generous + 1e-6
    assert found.perpendicular_mm <= found.longest_mm


def test_lesions_are_counted_with_corners_connected_and_ranked_by_volume():
    geometry = grid((20, 20, 12), (1, 1, 2))
    mask = np.zeros(geometry.shape, bool)
    mask[2:4, 2:4, 2:4] = True
    mask[4, 4, 4] = True  # touches by a corner: the same lesion
    mask[10:16, 10:16, 6:9] = True
    tumour = measured(geometry, {LIVER_TUMOR: mask})[LIVER_TUMOR]
    assert [(lesion.number, lesion.voxels) for lesion in tumour.lesions] == [(1, 108), (2, 9)]
    assert tumour.voxels == 117
    assert tumour.lesions[0].centroid_ras == pytest.approx((-20 + 12.5, 30 + 12.5, 500 + 14))


def test_hounsfield_units_are_those_under_the_mask():
    geometry = grid((16, 14, 12), (1, 1, 1))
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1024, 3000, geometry.shape).astype(np.int16)
    liver, spleen = rng.random(geometry.shape) < 0.1, np.zeros(geometry.shape, bool)
    spleen[3, 4, 5] = True
    result = measured(geometry, {LIVER: liver, SPLEEN: spleen}, voxels)
    assert result[LIVER].mean_hu == pytest.approx(voxels[liver].astype(float).mean())
    assert result[LIVER].sd_hu == pytest.approx(voxels[liver].astype(float).std())
    assert (result[SPLEEN].mean_hu, result[SPLEEN].sd_hu) == (voxels[3, 4, 5], 0.0)
    assert result[LIVER].lesions is None


def test_a_class_that_was_not_found_is_reported_as_empty_and_one_not_looked_for_is_not_reported():
    geometry = grid((8, 8, 8), (1, 1, 1))
    result = measured(geometry, {LIVER: np.ones(geometry.shape, bool)}, classes=(LIVER, CYST))
    assert set(result) == {LIVER, CYST}
    cyst = result[CYST]
    assert (cyst.voxels, cyst.volume_ml, cyst.mean_hu, cyst.lesions) == (0, 0.0, None, ())


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_touching_the_edge_of_the_scan_is_flagged(axis, end):
    geometry = grid((8, 9, 10), (1, 1, 1))
    mask = np.zeros(geometry.shape, bool)
    mask[3:5, 3:5, 3:5] = True
    assert not measured(geometry, {LIVER: mask})[LIVER].touches_border
    np.moveaxis(mask, axis, 0)[end, 4, 4] = True
    assert measured(geometry, {LIVER: mask})[LIVER].touches_border
    lesions = measured(geometry, {LIVER_TUMOR: mask})[LIVER_TUMOR].lesions
    assert [lesion.touches_border for lesion in lesions] == [False, True]


def test_another_grid_is_refused():
    one, other = grid((8, 8, 8), (1, 1, 1)), grid((8, 8, 8), (1, 1, 1.1))
    segmentation = Segmentation(np.zeros(one.shape, np.uint32), one, (LIVER,))
    volume = Volume(np.zeros(other.shape, np.int16), other, Source(Path("scan.nii.gz"), "scan"))
    with pytest.raises(GeometryError):
        measure(segmentation, volume)


def test_csv_has_a_row_per_class_and_per_lesion(tmp_path):
    geometry = grid((20, 20, 12), (1, 1, 2))
    mask = np.zeros(geometry.shape, bool)
    mask[2:4, 2:4, 2:4] = True
    mask[10:16, 10:16, 6:9] = True
    result = measured(geometry, {LIVER: mask, LIVER_TUMOR: mask}, classes=(LIVER, LIVER_TUMOR, CYST))
    write_csv(tmp_path / "table.csv", list(result.values()))
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["name"], r["lesion"], r["lesion_count"]) for r in rows] == [
        ("liver", "", ""),
        ("liver_tumor", "", "2"),
        ("liver_tumor", "1", ""),
        ("liver_tumor", "2", ""),
        ("kidney_cyst", "", "0"),
    ]
    assert rows[0]["volume_ml"] == "0.232"
    assert rows[2]["longest_axial_mm"] == f"{result[LIVER_TUMOR].lesions[0].longest_mm:.1f}"
    assert (rows[2]["centroid_right_mm"], rows[2]["centroid_superior_mm"]) == ("-7.5", "514.0")
    assert rows[4]["mean_hu"] == ""


def test_json_holds_everything_with_null_for_what_is_not_there(tmp_path):
    geometry = grid((20, 20, 12), (1, 1, 2))
    mask = np.zeros(geometry.shape, bool)
    mask[10:16, 10:16, 6:9] = True
    result = measured(geometry, {LIVER_TUMOR: mask}, classes=(LIVER_TUMOR, CYST))
    write_json(tmp_path / "table.json", list(result.values()))
    document = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    tumour, cyst = document["classes"]
    assert tumour["lesions"][0]["longest_mm"] == result[LIVER_TUMOR].lesions[0].longest_mm
    assert (cyst["mean_hu"], cyst["lesions"]) == (None, [])


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError):
        write_csv(tmp_path / "file" / "table.csv", [])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
