"""A stroke in a view means the prompt that was drawn, wherever the CT lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acceptance_builders import oblique
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.prompts import drawn
from GenesisSegmentLib.core.strokes import Stroke, prompt_of

GRID = oblique((40, 36, 30))
TURNED = np.array([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0], [0.0, 0.0, 1.0]])


def world(grid: Geometry, index) -> np.ndarray:
    return grid.ijk_to_ras[:3, :3] @ np.array(index, float) + grid.origin


def stroke(points, axes=TURNED, is_inverted=False) -> Stroke:
    return Stroke(tuple(tuple(p) for p in points), tuple(axes[0]), tuple(axes[1]), is_inverted)


def voxels(prompt) -> np.ndarray:
    return np.argwhere(drawn(prompt, GRID, Box.whole(GRID.shape)))


@given(st.tuples(st.integers(0, 39), st.integers(0, 35), st.integers(0, 29)))
def test_a_point_is_the_voxel_where_the_button_was_let_go(index):
    drew = stroke([world(GRID, (1, 2, 3)), world(GRID, index)])
    assert [tuple(v) for v in voxels(prompt_of("point", drew, GRID, True)).tolist()] == [index]


@pytest.mark.parametrize("tool", ["scribble", "lasso"])
def test_a_line_keeps_every_position_that_the_mouse_went_through(tool):
    places = [(2.0, 3.0, 4.0), (9.25, 3.5, 4.0), (9.0, 12.0, 20.0)]
    prompt = prompt_of(tool, stroke([world(GRID, p) for p in places]), GRID, True, 2.5)
    assert prompt.kind == tool
    np.testing.assert_allclose(prompt.points, places, atol=1e-9)
    assert prompt.radius_mm == (2.5 if tool == "scribble" else 0)


def test_a_rectangle_has_its_sides_along_those_of_the_view():
    first = world(GRID, (10, 10, 10))
    last = first + 9 * TURNED[0] - 4 * TURNED[1] + 3 * TURNED[2]
    corners = np.array([world(GRID, p) for p in prompt_of("rectangle", stroke([first, last]), GRID, True).points])
    np.testing.assert_allclose(corners - first, [np.zeros(3), 9 * TURNED[0], -4 * TURNED[1], np.zeros(3)], atol=1e-9)


def test_a_rectangle_in_a_slice_of_the_ct_is_that_slice_alone():
    axes = GRID.directions.T
    drew = stroke([world(GRID, (5, 6, 7)), world(GRID, (12, 9, 7))], axes)
    found = voxels(prompt_of("rectangle", drew, GRID, True))
    assert (found.min(axis=0) == (5, 6, 7)).all()
    assert (found.max(axis=0) == (12, 9, 7)).all()


def test_a_box_is_as_deep_before_the_view_as_behind_it():
    first = world(GRID, (10, 10, 10))
    last = first + 8 * TURNED[0] + 2 * TURNED[1]
    corners = np.array([world(GRID, p) for p in prompt_of("box", stroke([first, last]), GRID, True).points])
    np.testing.assert_allclose(corners[3] - corners[0], 4 * TURNED[2], atol=1e-9)
    np.testing.assert_allclose(corners[0], first - 2 * TURNED[2], atol=1e-9)


@pytest.mark.parametrize("is_positive", [True, False])
@pytest.mark.parametrize("is_inverted", [True, False])
def test_the_key_turns_adding_into_removing(is_positive, is_inverted):
    drew = stroke([world(GRID, (3, 3, 3))], is_inverted=is_inverted)
    assert prompt_of("point", drew, GRID, is_positive).is_positive is (is_positive != is_inverted)
