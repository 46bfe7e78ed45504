"""What a person draws to correct a segment, and what it says about each voxel.

Positions are continuous voxel indices (i, j, k) of the CT; views, transforms and millimetres have been taken out of
them before. Prompts accumulate: where two speak about the same voxel, the later one holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from . import rasters
from .errors import InputError
from .geometry import Box, Geometry
from .i18n import _
from .wire import MisfitError, build

Position = tuple[float, float, float]
Kind = Literal["point", "scribble", "box", "lasso"]

FURTHEST = 1e6
"""Voxels: positions beyond it are no positions."""
_COUNTS = {"point": 1, "box": 4}
_REMEMBERED = 4_000_000
"""Voxels: larger drawings are made anew each time."""


@dataclass(frozen=True)
class Prompt:
    """One point, scribble, box or lasso.

    ``points`` are for a *point* its position; for a *scribble* a polyline, drawn ``radius_mm`` thick (0: one voxel
    thin); for a *lasso* a closed polygon in one plane, of any direction, which is filled; for a *box* a corner and the
    three corners beside it, in any direction. Scribbles and lassos may have few points or none.

    Positive: the voxels are in the segment; negative: they are not. A positive box says instead that nothing that it
    adds lies outside of it.

    Raises:
        InputError: the number of points does not fit the kind, a position is no number, or the radius is not one.
    """

    kind: Kind
    points: tuple[Position, ...]
    is_positive: bool = True
    radius_mm: float = 0.0

    def __post_init__(self) -> None:
        points = tuple(tuple(float(x) for x in point) for point in self.points)
        object.__setattr__(self, "points", points)
        if self.kind not in ("point", "scribble", "box", "lasso"):
            raise InputError(_("There is no prompt of kind {kind}.").format(kind=repr(self.kind)))
        if len(points) != _COUNTS.get(self.kind, len(points)):
            what = _("A {kind} has {needed} positions, not {found}.")
            raise InputError(what.format(kind=self.kind, needed=_COUNTS[self.kind], found=len(points)))
        if any(len(p) != 3 or not all(math.isfinite(x) and abs(x) <= FURTHEST for x in p) for p in points):
            raise InputError(_("A position of a prompt is not three numbers in the range of voxel indices."))
        if not (math.isfinite(self.radius_mm) and 0 <= self.radius_mm <= FURTHEST):
            raise InputError(_("The radius of a scribble is not a length."))

    def moved(self, matrix: np.ndarray) -> Prompt:
        """The prompt with its positions taken through a 4x4 matrix."""
        if not self.points:
            return self
        places = np.array(self.points) @ matrix[:3, :3].T + matrix[:3, 3]
        return Prompt(self.kind, tuple(map(tuple, places.tolist())), self.is_positive, self.radius_mm)


def axis_box(box: Box, is_positive: bool = True) -> Prompt:
    """The prompt that is a box of voxels along the axes of the grid."""
    low = np.array(box.start, dtype=float)
    high = np.array(box.stop, dtype=float) - 1
    corners = (low, *(np.where(np.arange(3) == axis, high, low) for axis in range(3)))
    return Prompt("box", tuple(tuple(c.tolist()) for c in corners), is_positive)


def drawn(prompt: Prompt, geometry: Geometry, region: Box) -> np.ndarray:
    """Which voxels of a region of the grid a prompt covers: bool (i, j, k). See :mod:`.rasters`."""
    points = np.array(prompt.points, dtype=np.float64).reshape(-1, 3)
    if prompt.kind == "box":
        return rasters.box(points, region)
    if prompt.kind == "lasso":
        return rasters.polygon(points, region)
    if prompt.kind == "scribble" and prompt.radius_mm > 0:
        return rasters.tube(points, prompt.radius_mm, geometry.ijk_to_ras[:3, :3], region)
    return rasters.line(points, region)


def covered(prompt: Prompt, geometry: Geometry, region: Box) -> np.ndarray:
    """As :func:`drawn`; small drawings are remembered, as all prompts are looked at again with each new one."""
    box = extent(prompt, geometry)
    if box is None or math.prod(box.shape) > _REMEMBERED:
        return drawn(prompt, geometry, region)
    voxels = np.zeros(region.shape, dtype=bool)
    start = [max(a, b) for a, b in zip(box.start, region.start, strict=True)]
    stop = [min(a, b) for a, b in zip(box.stop, region.stop, strict=True)]
    if all(a < b for a, b in zip(start, stop, strict=True)):
        to, from_ = (
            tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, frame.start, strict=True))
            for frame in (region, box)
        )
        voxels[to] = _remembered(prompt, geometry)[from_]
    return voxels


@lru_cache(maxsize=64)
def _remembered(prompt: Prompt, geometry: Geometry) -> np.ndarray:
    box = extent(prompt, geometry)
    assert box is not None
    return drawn(prompt, geometry, box)


def extent(prompt: Prompt, geometry: Geometry) -> Box | None:
    """A box of the grid that holds every voxel that the prompt covers, or None where it misses the grid."""
    points = np.array(prompt.points, dtype=np.float64).reshape(-1, 3)
    if not len(points):
        return None
    if prompt.kind == "box":
        first, last = rasters.box_bounds(points)
    else:
        to_mm = geometry.ijk_to_ras[:3, :3]
        reach = 0.5 + prompt.radius_mm * np.linalg.norm(np.linalg.inv(to_mm), axis=1)
        first, last = points.min(axis=0) - reach, points.max(axis=0) + reach
    low = np.clip(np.floor(first), 0, geometry.shape).astype(int)
    high = np.clip(np.ceil(last) + 1, 0, geometry.shape).astype(int)
    return Box(tuple(low.tolist()), tuple(high.tolist())) if (low < high).all() else None


@dataclass(frozen=True, eq=False)
class Told:
    """What prompts say about the voxels of a region, bool arrays (i, j, k).

    ``inside``: are in the segment; ``outside``: are not; never both. ``beyond``: lie outside of the positive box that
    still bounds what may be added.
    """

    inside: np.ndarray
    outside: np.ndarray
    beyond: np.ndarray


def told(prompts: Sequence[Prompt], geometry: Geometry, region: Box) -> Told:
    """What ``prompts``, in the order in which they were drawn, say about a region of the grid.

    The last positive box bounds what may be added, until a later positive prompt reaches out of it.
    """
    inside = np.zeros(region.shape, dtype=bool)
    outside = np.zeros(region.shape, dtype=bool)
    for prompt in prompts:
        box = extent(prompt, geometry)
        if box is None or not _meet(box, region) or (prompt.kind == "box" and prompt.is_positive):
            continue
        voxels = covered(prompt, geometry, region)
        said, other = (inside, outside) if prompt.is_positive else (outside, inside)
        said |= voxels
        other &= ~voxels
    bound = bounding_box(prompts, geometry)
    beyond = np.zeros(region.shape, dtype=bool) if bound is None else ~drawn(bound, geometry, region) & ~inside
    return Told(inside, outside, beyond)


def bounding_box(prompts: Sequence[Prompt], geometry: Geometry) -> Prompt | None:
    """The positive box that bounds what these prompts may add; see :func:`told`."""
    found = None
    for prompt in prompts:
        if not prompt.is_positive:
            continue
        if found is not None and _is_flat(found):
            found = None  # it spoke about its own slice, and was answered
        if prompt.kind == "box":
            found = prompt
        elif found is not None and _reaches_out(prompt, found, geometry):
            found = None
    return found


def prompts_to_json(prompts: Sequence[Prompt]) -> str:
    """The text of a file of prompts."""
    return json.dumps({"version": 1, "prompts": [asdict(p) for p in prompts]}, indent=1, allow_nan=False) + "\n"


def prompts_from_json(text: str) -> tuple[Prompt, ...]:
    """The prompts in the text of a file.

    Raises:
        InputError: it is no such text; says what is wrong.
    """
    remedy = _('Write {"version": 1, "prompts": [{"kind": "point", "points": [[i, j, k]], "is_positive": true}, ...]}.')
    try:
        return build(_File, json.loads(text)).prompts
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, MisfitError) else _("it is not JSON of this form")
        raise InputError(_("The prompts cannot be read: {reason}.").format(reason=reason), remedy) from error


@dataclass(frozen=True)
class _File:
    prompts: tuple[Prompt, ...]


def _meet(one: Box, other: Box) -> bool:
    starts = zip(one.start, other.stop, strict=True)
    stops = zip(other.start, one.stop, strict=True)
    return all(a < b for a, b in (*starts, *stops))


def _is_flat(box: Prompt) -> bool:
    """Whether a box is a rectangle: one of its edges is shorter than a voxel."""
    points = np.array(box.points)
    return bool((np.linalg.norm(points[1:] - points[0], axis=1) < 1).any())


def _reaches_out(prompt: Prompt, box: Prompt, geometry: Geometry) -> bool:
    region = extent(prompt, geometry)
    return region is not None and bool((drawn(prompt, geometry, region) & ~drawn(box, geometry, region)).any())
