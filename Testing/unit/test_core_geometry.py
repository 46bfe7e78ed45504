from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from GenesisSegmentLib.core.errors import GeometryError
from GenesisSegmentLib.core.geometry import Box, Geometry, Reorientation

ORIENTATIONS = [
    Reorientation(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)
]
"""The 48 ways in which a grid can lie along the anatomical axes."""

orientations = st.sampled_from(ORIENTATIONS)
shapes = st.tuples(*[st.integers(1, 5)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8.0)] * 3)
angles = st.tuples(*[st.floats(-25, 25)] * 3)
origins = st.tuples(*[st.floats(-500, 500)] * 3)


def turn(degrees: tuple[float, float, float]) -> np.ndarray:
    """3x3 rotation about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = step @ matrix
    return matrix


def a_geometry(
    orientation: Reorientation = ORIENTATIONS[0],
    shape: tuple[int, int, int] = (3, 4, 5),
    spacing: tuple[float, float, float] = (0.8, 1.5, 3.0),
    degrees: tuple[float, float, float] = (0, 0, 0),
    origin: tuple[float, float, float] = (-120.5, 33.25, 800.0),
) -> Geometry:
    """A grid whose axis ``axes[w]`` runs along world axis ``w``, or against it where flipped, then turned."""
    directions = np.zeros((3, 3))
    for world, (axis, flip) in enumerate(zip(orientation.axes, orientation.flips, strict=True)):
        directions[world, axis] = -1 if flip else 1
    matrix = np.eye(4)
    matrix[:3, :3] = turn(degrees) @ directions * np.array(spacing)
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def codes(orientation: Reorientation) -> str:
    return a_geometry(orientation).axis_codes


geometries = st.builds(a_geometry, orientations, shapes, spacings, angles, origins)


def positions(geometry: Geometry) -> np.ndarray:
    """RAS position of every voxel, array (i, j, k, 3)."""
    voxels = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    return voxels @ geometry.ijk_to_ras[:3, :3].T + geometry.ijk_to_ras[:3, 3]


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=codes)
def test_all_48_orientations_are_recognised(orientation):
    geometry = a_geometry(orientation)
    assert geometry.to_ras == orientation
    assert np.allclose(geometry.reoriented(geometry.to_ras).directions, np.eye(3))


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=codes)
def test_axis_codes_agree_with_nibabel(orientation):
    orientation_of = pytest.importorskip("nibabel").aff2axcodes
    for degrees in [(0, 0, 0), (10, -20, 15)]:
        geometry = a_geometry(orientation, degrees=degrees)
        assert geometry.axis_codes == "".join(orientation_of(geometry.ijk_to_ras))


@given(orientations, shapes)
def test_inverting_a_reorientation_gives_the_array_back(change, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    np.testing.assert_array_equal(change.invert(change.apply(array)), array)


@given(geometries, orientations)
def test_reoriented_grid_has_every_voxel_where_it_was(geometry, change):
    before = positions(geometry)
    moved = np.stack([change.apply(before[..., world]) for world in range(3)], axis=-1)
    reoriented = geometry.reoriented(change)
    assert reoriented.shape == moved.shape[:3]
    np.testing.assert_allclose(positions(reoriented), moved, atol=1e-9)


@given(geometries)
def test_grid_brought_to_ras_runs_right_anterior_superior(geometry):
    ras = geometry.reoriented(geometry.to_ras)
    assert ras.axis_codes == "RAS"
    assert ras.to_ras == Reorientation((0, 1, 2), (False, False, False))
    assert (np.diag(ras.directions) > 0).all()


@given(geometries, st.data())
def test_cropped_grid_has_every_voxel_where_it_was(geometry, data):
    start = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    stop = tuple(data.draw(st.integers(s + 1, n)) for s, n in zip(start, geometry.shape, strict=True))
    box = Box(start, stop)
    cropped = geometry.cropped(box)
    assert cropped.shape == box.shape
    np.testing.assert_allclose(positions(cropped), positions(geometry)[box.slices], atol=1e-9)


@given(geometries)
def test_spacing_directions_and_volume_describe_the_matrix(geometry):
    rebuilt = geometry.directions * np.array(geometry.spacing)
    np.testing.assert_allclose(rebuilt, geometry.ijk_to_ras[:3, :3], atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(geometry.directions, axis=0), 1)
    assert geometry.voxel_ml == pytest.approx(np.prod(geometry.spacing) / 1000)
    assert geometry.size_mm == pytest.approx(np.array(geometry.shape) * geometry.spacing)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (5, -12, 20)], ids=["straight", "oblique"])
@pytest.mark.parametrize("orientation", ORIENTATIONS[::13], ids=codes)
@pytest.mark.parametrize(
    ("shape", "spacing", "wanted"),
    [
        ((12, 13, 7), (0.8, 0.8, 5.0), (1.5, 1.5, 1.5)),
        ((12, 13, 7), (3.0, 3.0, 3.0), (1.5, 1.5, 1.5)),
        ((10, 11, 12), (1.5, 1.5, 1.5), (1.5, 1.5, 1.5)),
        ((9, 20, 30), (0.7421875, 0.7421875, 1.25), (3.0, 3.0, 3.0)),
        ((1, 16, 16), (1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
    ],
)
def test_resampled_grid_is_that_of_monai(shape, spacing, wanted, orientation, degrees):
    torch, monai = pytest.importorskip("torch"), pytest.importorskip("monai")
    geometry = a_geometry(orientation, shape, spacing, degrees)
    image = monai.data.MetaTensor(torch.zeros(1, *shape), affine=torch.from_numpy(geometry.ijk_to_ras.copy()))
    expected = monai.transforms.Spacing(pixdim=wanted, mode="nearest")(image)
    resampled = geometry.resampled(wanted)
    assert resampled.shape == tuple(expected.shape[1:])
    np.testing.assert_allclose(resampled.ijk_to_ras, expected.affine, atol=1e-6)


@pytest.mark.parametrize("degrees", [2.0, 15.0, -15.0])
def test_tilted_gantry_is_refused_with_its_angle(degrees):
    straight = a_geometry(spacing=(1, 1, 1), degrees=(5, 10, 20)).ijk_to_ras
    tilt = np.eye(4)
    tilt[1, 2] = np.tan(np.radians(degrees))
    with pytest.raises(GeometryError, match=rf"off by {abs(degrees)} degrees"):
        Geometry((4, 4, 4), straight @ tilt @ np.diag([0.8, 0.8, 5, 1])).check()


def test_right_angles_that_are_rounded_in_a_header_are_accepted():
    matrix = np.round(a_geometry(degrees=(10, -20, 30), spacing=(1, 1, 1)).ijk_to_ras, 4)
    Geometry((512, 512, 300), matrix).check()


@given(geometries)
def test_every_straight_or_turned_grid_is_accepted(geometry):
    geometry.check()


@pytest.mark.parametrize(
    ("shape", "diagonal", "reason"),
    [
        ((0, 4, 4), (1, 1, 1), "The image is empty: 0 x 4 x 4 voxels"),
        ((4, 4, 4), (1, 0, 1), "not plausible"),
        ((4, 4, 4), (0.01, 1, 1), "not plausible"),
        ((4, 4, 4), (1, 1, 31), "not plausible"),
        ((4, 4, 4), (1, np.nan, 1), "not a number"),
        ((4, 4, 4), (1, 1, np.inf), "not a number"),
    ],
)
def test_grid_that_cannot_be_placed_is_refused(shape, diagonal, reason):
    with pytest.raises(GeometryError, match=reason) as caught:
        Geometry(shape, np.diag([*diagonal, 1])).check()
    assert caught.value.remedy


def test_matrix_of_another_size_is_refused():
    with pytest.raises(GeometryError, match="4x4"):
        Geometry((1, 1, 1), np.eye(3))


def test_geometry_keeps_its_own_matrix():
    matrix = np.eye(4)
    geometry = Geometry((1, 1, 1), matrix)
    matrix[0, 3] = 5
    assert geometry.ijk_to_ras[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        geometry.ijk_to_ras[0, 3] = 5


def test_grids_match_within_the_tolerance_at_every_corner():
    geometry = a_geometry(shape=(200, 200, 100), degrees=(10, -20, 30))
    near, far, turned = (np.array(geometry.ijk_to_ras) for _ in range(3))
    near[0, 3] += 0.009
    far[2, 3] -= 0.011
    turned[:3, 1] += 0.0001  # 0.02 mm at the far side of 200 voxels, nothing at the first
    assert geometry.matches(Geometry(geometry.shape, geometry.ijk_to_ras))
    assert geometry.matches(Geometry(geometry.shape, near))
    assert not geometry.matches(Geometry(geometry.shape, far))
    assert geometry.matches(Geometry(geometry.shape, far), tolerance_mm=0.02)
    assert not geometry.matches(Geometry(geometry.shape, turned))
    assert not geometry.matches(Geometry((200, 200, 101), geometry.ijk_to_ras))


@given(hnp.arrays(bool, shapes))
def test_box_around_a_mask_is_the_smallest_that_holds_it(mask):
    box = Box.around(mask)
    if box is None:
        assert not mask.any()
        return
    assert mask[box.slices].sum() == mask.sum()
    inside = mask[box.slices]
    for axis in range(3):
        assert inside.take(0, axis).any()
        assert inside.take(-1, axis).any()


def test_box_grows_up_to_the_edge_of_the_grid():
    assert Box((1, 5, 0), (3, 6, 10)).grown(2, (4, 9, 10)) == Box((0, 3, 0), (4, 8, 10))
    assert Box.whole((4, 9, 10)) == Box((0, 0, 0), (4, 9, 10))
    assert Box((1, 5, 0), (3, 6, 10)).shape == (2, 1, 10)


some_boxes = st.builds(
    lambda start, sides: Box(tuple(start), tuple(a + n for a, n in zip(start, sides, strict=True))),
    st.lists(st.integers(0, 6), min_size=3, max_size=3),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
)


@given(one=some_boxes, other=some_boxes)
def test_two_boxes_have_the_voxels_in_common_that_lie_in_both(one, other) -> None:
    both = np.zeros((12, 12, 12), int)
    both[one.slices] += 1
    both[other.slices] += 1
    common = one.common(other)
    assert common == Box.around(both == 2)
    if common is not None:
        inside = np.zeros(one.shape, bool)
        inside[common.within(one)] = True
        np.testing.assert_array_equal(inside, (both == 2)[one.slices])
