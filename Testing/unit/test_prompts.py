from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.prompts import (
    Prompt,
    axis_box,
    bounding_box,
    drawn,
    extent,
    prompts_from_json,
    prompts_to_json,
    told,
)

from .test_core_geometry import ORIENTATIONS, a_geometry, angles, orientations, origins, spacings

SHAPE = (9, 10, 11)
geometries = st.builds(a_geometry, orientations, st.just(SHAPE), spacings, angles, origins)
positions = st.tuples(*[st.floats(-6, 17)] * 3)
radii = st.floats(0, 12)


def a_prompt(kind: str, points: list, is_positive: bool = True, radius_mm: float = 0.0) -> Prompt:
    return Prompt(kind, tuple(points), is_positive, radius_mm)  # type: ignore[arg-type]


counts = {"point": (1, 1), "box": (4, 4), "scribble": (0, 6), "lasso": (0, 6)}
prompts = st.one_of(
    st.builds(a_prompt, st.just(kind), st.lists(positions, min_size=low, max_size=high), st.booleans(), radii)
    for kind, (low, high) in counts.items()
)


def whole(prompt: Prompt, geometry: Geometry) -> np.ndarray:
    return drawn(prompt, geometry, Box.whole(geometry.shape))


def voxels(prompt: Prompt, geometry: Geometry) -> set[tuple[int, ...]]:
    return {tuple(v) for v in np.argwhere(whole(prompt, geometry)).tolist()}


# --- each kind against its definition, voxel by voxel ----------------


@given(geometries, positions)
def test_a_point_is_the_voxel_that_holds_it(geometry: Geometry, position: tuple[float, float, float]) -> None:
    cell = tuple(math.floor(x + 0.5) for x in position)
    is_in = all(0 <= c < n for c, n in zip(cell, SHAPE, strict=True))
    assert voxels(a_prompt("point", [position]), geometry) == ({cell} if is_in else set())


def one_per_plane(points: list[tuple[float, float, float]]) -> set[tuple[int, ...]]:
    """The cells of a polyline: of each piece one in every plane across the axis along which it runs most."""
    cells = {tuple(math.floor(x + 0.5) for x in p) for p in points}
    for start, stop in pairwise(points):
        axis = max(range(3), key=lambda a: (abs(stop[a] - start[a]), -a))
        first, last = sorted(math.floor(p[axis] + 0.5) for p in (start, stop))
        for plane in range(first, last + 1):
            run = stop[axis] - start[axis]
            t = min(max((plane - start[axis]) / run, 0), 1) if run else 0
            cell = [math.floor(start[a] + t * (stop[a] - start[a]) + 0.5) for a in range(3)]
            cell[axis] = plane
            cells.add(tuple(cell))
    return cells


@given(geometries, st.lists(positions, max_size=5))
def test_a_thin_scribble_has_one_voxel_in_each_plane_that_it_crosses(
    geometry: Geometry, points: list[tuple[float, float, float]]
) -> None:
    expected = {c for c in one_per_plane(points) if all(0 <= x < n for x, n in zip(c, SHAPE, strict=True))}
    assert voxels(a_prompt("scribble", points), geometry) == expected


@given(geometries, st.lists(st.tuples(*[st.floats(0, n - 1) for n in SHAPE]), min_size=2, max_size=4))
def test_a_thin_scribble_has_no_gap_and_stays_within_half_a_voxel_of_the_line(
    geometry: Geometry, points: list[tuple[float, float, float]]
) -> None:
    cells = voxels(a_prompt("scribble", points), geometry)
    reached, edge = set(), [next(iter(cells))]
    while edge:
        cell = edge.pop()
        reached.add(cell)
        edge += [c for c in cells - reached if max(abs(a - b) for a, b in zip(c, cell, strict=True)) <= 1]
    assert reached == cells
    samples = np.concatenate(
        [np.linspace(p, q, 400) for p, q in zip(np.array(points), np.array(points)[1:], strict=False)]
    )
    for cell in cells:
        assert np.abs(samples - cell).max(axis=1).min() <= 0.5 + 0.06


@given(geometries, st.lists(positions, min_size=1, max_size=3), st.floats(0.1, 12))
def test_a_thick_scribble_is_all_within_its_radius_in_the_patient(
    geometry: Geometry, points: list[tuple[float, float, float]], radius: float
) -> None:
    covered = whole(a_prompt("scribble", points, radius_mm=radius), geometry)
    line = whole(a_prompt("scribble", points), geometry)
    world = [geometry.ijk_to_ras[:3, :3] @ p + geometry.origin for p in np.array(points)]
    for cell in np.ndindex(*SHAPE):
        centre = geometry.ijk_to_ras[:3, :3] @ cell + geometry.origin
        distance = min(from_piece(centre, p, q) for p, q in zip(world, world[1:] or world, strict=False))
        if abs(distance - radius) > 1e-6:
            assert covered[cell] == (distance < radius or line[cell])


def from_piece(place: np.ndarray, start: np.ndarray, stop: np.ndarray) -> float:
    step = stop - start
    length2 = float(step @ step)
    t = min(max(float((place - start) @ step) / length2, 0), 1) if length2 > 1e-18 else 0
    return float(np.linalg.norm(place - start - t * step))


@given(geometries, st.integers(0, 2), st.floats(0, 8), st.lists(st.tuples(*[st.floats(-3, 13)] * 2), max_size=6))
def test_a_lasso_in_a_slice_is_its_outline_and_all_that_it_winds_around(
    geometry: Geometry, axis: int, height: float, corners: list[tuple[float, float]]
) -> None:
    points = [tuple(np.insert(np.array(c), axis, height).tolist()) for c in corners]
    covered = voxels(a_prompt("lasso", points), geometry)
    outline = voxels(a_prompt("scribble", [*points, *points[:1]]), geometry)
    assert outline <= covered
    others = [a for a in range(3) if a != axis]
    is_flat = len(corners) < 3 or np.linalg.svd(np.array(corners) - np.mean(corners, axis=0))[1][1] < 0.1
    if is_flat:
        return
    for cell in np.ndindex(*SHAPE):
        if cell not in outline:
            enclosed = cell[axis] == math.floor(height + 0.5) and turns_around(corners, [cell[a] for a in others])
            assert (cell in covered) == enclosed


def turns_around(corners: list[tuple[float, float]], place: list[int]) -> bool:
    """The winding number by the sum of the angles under which the sides are seen."""
    total = 0.0
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        ax, ay, bx, by = ax - place[0], ay - place[1], bx - place[0], by - place[1]
        total += math.atan2(ax * by - ay * bx, ax * bx + ay * by)
    return abs(total) > 1


def test_what_a_lasso_goes_around_twice_is_enclosed() -> None:
    loop = [(1.0, 1.0, 4.0), (7.0, 1.0, 4.0), (7.0, 7.0, 4.0), (1.0, 7.0, 4.0)]
    once, twice = (voxels(a_prompt("lasso", loop * n), a_geometry(shape=SHAPE)) for n in (1, 2))
    assert once == twice
    assert len(once) == 49


@given(geometries, positions, st.tuples(*[st.floats(-9, 9)] * 3), st.tuples(*[st.floats(-9, 9)] * 3))
def test_a_lasso_in_an_oblique_view_is_a_sheet_without_holes(
    geometry: Geometry, corner: tuple, along: tuple, across: tuple
) -> None:
    c, a, b = np.array(corner), np.array(along), np.array(across)
    normal = np.cross(a, b)
    if np.linalg.norm(normal) < 4:
        return
    covered = whole(a_prompt("lasso", [tuple(p) for p in (c, c + a, c + a + b, c + b)]), geometry)
    facing = int(np.abs(normal).argmax())
    inverse = np.linalg.inv(np.stack([a, b, np.eye(3)[facing]], axis=1))
    for cell in np.ndindex(*SHAPE):
        s, t, above = inverse @ (np.array(cell) - c)  # above: in voxels along the axis that the view faces
        margin = 0.5 * float(np.abs(inverse[:2]).sum(axis=1).max())
        if margin < s < 1 - margin and margin < t < 1 - margin and abs(abs(above) - 0.5) > 1e-6:
            assert covered[cell] == (abs(above) < 0.5)
        elif abs(above) > 1.51 or not (-margin <= s - 1e-6 <= 1 + margin and -margin <= t - 1e-6 <= 1 + margin):
            assert not covered[cell]


@given(geometries, positions, positions)
def test_a_box_along_the_axes_holds_the_voxels_of_its_corners_and_all_between(
    geometry: Geometry, corner: tuple, other: tuple
) -> None:
    low, high = np.minimum(corner, other), np.maximum(corner, other)
    if any(abs(x % 1 - 0.5) < 1e-6 for x in (*low, *high)):
        return
    corners = [low, *(np.where(np.arange(3) == a, high, low) for a in range(3))]
    first, last = np.floor(low + 0.5), np.floor(high + 0.5)
    expected = np.zeros(SHAPE, dtype=bool)
    for cell in np.ndindex(*SHAPE):
        expected[cell] = all(f <= c <= g for f, c, g in zip(first, cell, last, strict=True))
    assert (whole(a_prompt("box", [tuple(c) for c in corners]), geometry) == expected).all()


@given(geometries, positions, angles, st.tuples(*[st.floats(0.5, 12)] * 3))
def test_a_turned_box_holds_what_lies_in_it_and_at_most_half_a_voxel_more(
    geometry: Geometry, corner: tuple, degrees: tuple, sides: tuple
) -> None:
    from .test_core_geometry import turn

    edges = turn(degrees).T * np.array(sides)[:, None]
    covered = whole(a_prompt("box", [corner, *(tuple(np.array(corner) + e) for e in edges)]), geometry)
    for cell in np.ndindex(*SHAPE):
        places = np.linalg.inv(edges.T) @ (np.array(cell) - corner)
        past = np.maximum(-places, places - 1) * np.array(sides)
        if (past < 0).all():
            assert covered[cell]
        if (past > 0.5 + 1e-6).any():
            assert not covered[cell]


def test_a_box_of_one_slice_in_an_oblique_view_has_no_holes() -> None:
    geometry = a_geometry(shape=SHAPE)
    along, across = np.array([6, 0, 3.0]), np.array([0, 7, 0.0])
    points = [(1, 1, 2), tuple(np.array([1, 1, 2]) + along), tuple(np.array([1, 1, 2]) + across), (1, 1, 2)]
    covered = whole(a_prompt("box", points), geometry)
    assert covered[2:7, 2:8].any(axis=2).all()
    assert covered.sum(axis=2).max() <= 2


# --- any prompt ----------------


@given(geometries, prompts)
@settings(max_examples=200)
def test_the_voxels_of_a_region_are_those_of_the_grid_that_lie_in_it(geometry: Geometry, prompt: Prompt) -> None:
    region = Box((2, 3, 1), (7, 9, 8))
    everything = whole(prompt, geometry)
    assert (drawn(prompt, geometry, region) == everything[region.slices]).all()
    box = extent(prompt, geometry)
    assert box is not None or not everything.any()
    if box is not None:
        assert everything[box.slices].sum() == everything.sum()
        assert all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, SHAPE, strict=True))


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=range(48))
def test_a_prompt_means_the_same_place_in_the_patient_however_the_ct_is_stored(orientation: object) -> None:
    geometry = a_geometry(shape=SHAPE, degrees=(11, -7, 23))
    turned = geometry.reoriented(orientation)  # type: ignore[arg-type]
    to_turned = np.linalg.inv(turned.ijk_to_ras) @ geometry.ijk_to_ras
    rng = np.random.default_rng(5)
    for kind, count in (("point", 1), ("scribble", 5), ("lasso", 6), ("box", 4)):
        points = rng.uniform(-1, 11, (count, 3))
        if kind == "lasso":
            points = points[0] + rng.uniform(-4, 4, (count, 2)) @ rng.uniform(-1, 1, (2, 3))
        prompt = a_prompt(kind, points.tolist(), radius_mm=2.5)
        seen = drawn(prompt.moved(to_turned), turned, Box.whole(turned.shape))
        assert (seen == orientation.apply(whole(prompt, geometry))).all(), kind  # type: ignore[attr-defined]
        assert kind == "point" or seen.any()


@given(prompts)
def test_prompts_survive_their_file(prompt: Prompt) -> None:
    assert prompts_from_json(prompts_to_json([prompt, prompt])) == (prompt, prompt)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"prompts": 3}',
        '{"prompts": [{"kind": "circle", "points": []}]}',
        '{"prompts": [{"kind": "point", "points": [[1, 2]]}]}',
        '{"prompts": [{"kind": "point", "points": [[1, 2, "3"]]}]}',
        '{"prompts": [{"kind": "point", "points": []}]}',
        '{"prompts": [{"kind": "point", "points": [[1, 2, 1e9]]}]}',
        '{"prompts": [{"kind": "point", "points": [[1, 2, NaN]]}]}',
        "[" * 100_000,
    ],
)
def test_a_file_that_holds_no_prompts_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        prompts_from_json(text)


@pytest.mark.parametrize(
    ("kind", "points", "radius"),
    [
        ("point", [], 0),
        ("point", [(0, 0, 0)] * 2, 0),
        ("box", [(0, 0, 0)] * 3, 0),
        ("lasso", [(0, 0, math.inf)], 0),
        ("scribble", [(0, math.nan, 0)], 0),
        ("scribble", [(0, 0)], 0),
        ("scribble", [(0, 0, 0)], -1),
        ("scribble", [(0, 0, 0)], math.nan),
        ("circle", [(0, 0, 0)], 0),
    ],
)
def test_what_is_no_prompt_is_refused(kind: str, points: list, radius: float) -> None:
    with pytest.raises(InputError):
        a_prompt(kind, points, radius_mm=radius)


def test_the_file_of_prompts_is_plain_json() -> None:
    document = json.loads(prompts_to_json([a_prompt("scribble", [(1, 2, 3), (4, 5, 6.5)], False, 2.5)]))
    assert document["prompts"] == [
        {"kind": "scribble", "points": [[1, 2, 3], [4, 5, 6.5]], "is_positive": False, "radius_mm": 2.5}
    ]


# --- what they say together ----------------

GRID = a_geometry(shape=SHAPE)
WHOLE = Box.whole(SHAPE)
ROW = [(1.0, 4.0, 4.0), (7.0, 4.0, 4.0)]


def test_the_later_of_two_contradicting_prompts_holds() -> None:
    said = told([a_prompt("scribble", ROW), a_prompt("point", [(3, 4, 4)], False)], GRID, WHOLE)
    assert not said.inside[3, 4, 4]
    assert said.outside.sum() == 1
    assert said.outside[3, 4, 4]
    assert said.inside.sum() == 6
    said = told([a_prompt("point", [(3, 4, 4)], False), a_prompt("scribble", ROW)], GRID, WHOLE)
    assert not said.outside.any()
    assert said.inside.sum() == 7


@given(geometries, st.lists(prompts, max_size=4))
def test_no_voxel_is_told_to_be_both(geometry: Geometry, some: list[Prompt]) -> None:
    said = told(some, geometry, Box.whole(SHAPE))
    assert not (said.inside & said.outside).any()
    assert not (said.inside & said.beyond).any()


def test_a_negative_box_takes_all_of_itself_away() -> None:
    said = told([axis_box(Box((1, 1, 1), (4, 5, 6)), is_positive=False)], GRID, WHOLE)
    assert said.outside.sum() == 3 * 4 * 5
    assert said.outside[1:4, 1:5, 1:6].all()


def test_a_positive_box_bounds_what_is_added_and_says_nothing_of_its_inside() -> None:
    box = axis_box(Box((1, 1, 1), (4, 5, 6)))
    said = told([box], GRID, WHOLE)
    assert not said.inside.any()
    assert not said.outside.any()
    assert not said.beyond[1:4, 1:5, 1:6].any()
    assert said.beyond.sum() == np.prod(SHAPE) - 3 * 4 * 5


def test_a_box_bounds_later_prompts_until_a_positive_one_reaches_out_of_it() -> None:
    box = axis_box(Box((1, 1, 1), (4, 5, 6)))
    within, out = a_prompt("point", [(2, 2, 2)]), a_prompt("point", [(6, 2, 2)])
    assert bounding_box([box, within], GRID) == box
    assert bounding_box([box, a_prompt("point", [(6, 2, 2)], False)], GRID) == box
    assert bounding_box([box, out], GRID) is None
    assert bounding_box([out, box], GRID) == box
    assert not told([box, out], GRID, WHOLE).beyond.any()
