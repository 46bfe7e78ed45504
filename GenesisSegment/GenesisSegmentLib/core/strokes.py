"""What the mouse draws in a view, and the prompt that it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .geometry import Geometry
from .prompts import Kind, Position, Prompt

Tool = Literal["point", "scribble", "lasso", "rectangle", "box"]
TOOLS: tuple[Tool, ...] = ("point", "scribble", "lasso", "rectangle", "box")
_KINDS: dict[Tool, Kind] = {"point": "point", "scribble": "scribble", "lasso": "lasso"}


@dataclass(frozen=True)
class Stroke:
    """Where the mouse was while its button was down: positions in the world, RAS mm, in the plane of a view.

    ``right`` and ``up`` are the unit vectors that span the plane. ``is_inverted``: the key that turns adding into
    removing was held, or the other way round.
    """

    points: tuple[Position, ...]
    right: Position
    up: Position
    is_inverted: bool = False


def prompt_of(tool: Tool, stroke: Stroke, grid: Geometry, is_positive: bool, radius_mm: float = 0.0) -> Prompt:
    """The prompt on a CT that a stroke means.

    A *point* lies where the mouse was last. A *rectangle* has its corners where the mouse was first and last, its sides
    along those of the view, and one slice. A *box* is as deep as the mean (geometric) of its sides is long, half of it
    before and half behind the view: the shape of a node or a lesion.

    Args:
        tool: what is drawn with.
        stroke: at least one position.
        grid: of the CT, in the world.
        is_positive: whether the tool adds.
        radius_mm: of a scribble.
    """
    is_positive = is_positive != stroke.is_inverted
    if tool in _KINDS:
        points = stroke.points[-1:] if tool == "point" else stroke.points
        return _placed(_KINDS[tool], np.array(points), grid, is_positive, radius_mm if tool == "scribble" else 0.0)
    first, last, right, up = (np.array(v) for v in (stroke.points[0], stroke.points[-1], stroke.right, stroke.up))
    wide, high = ((last - first) @ axis * axis for axis in (right, up))
    deep = np.zeros(3)
    if tool == "box":
        deep = np.cross(right, up) * np.sqrt(np.linalg.norm(wide) * np.linalg.norm(high))
    corner = first - deep / 2
    return _placed("box", np.array([corner, corner + wide, corner + high, corner + deep]), grid, is_positive)


def _placed(kind: Kind, world: np.ndarray, grid: Geometry, is_positive: bool, radius_mm: float = 0.0) -> Prompt:
    """The prompt at positions (n, 3) in the world, as voxel indices."""
    homogeneous = np.column_stack([world, np.ones(len(world))])
    indices = np.linalg.solve(grid.ijk_to_ras, homogeneous.T).T[:, :3]
    return Prompt(kind, tuple(map(tuple, indices.tolist())), is_positive, radius_mm)
