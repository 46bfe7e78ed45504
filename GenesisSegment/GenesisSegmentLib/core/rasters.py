"""Which voxels a line, a tube, a polygon and a box cover, in continuous voxel indices.

Voxel (i, j, k) is the cell from -0.5 to +0.5 around its centre. What a shape covers does not depend on the region that
is looked at: the voxels of a region are exactly those of the whole grid that lie in it.
"""

from __future__ import annotations

import numpy as np

from .geometry import Box

_FLAT = 1e-3
"""Below this share of their length, edges of a box or sides of a polygon do not leave the plane or line of others."""

_PIECE, _AT_ONCE = 8.0, 16_000
"""Voxels: the length of a piece of a thick line, and how many voxels around pieces are looked at together."""


def line(points: np.ndarray, region: Box) -> np.ndarray:
    """The voxels of a polyline through ``points`` (n, 3): one voxel thin, each touching the next (26-connected).

    Of each piece there is one voxel in every plane across the axis along which it runs most.
    """
    start, stop = points[:-1], points[1:]
    step = stop - start
    axis = np.abs(step).argmax(axis=1)
    pieces = np.arange(len(step))
    ends = np.sort(nearest(np.stack([start[pieces, axis], stop[pieces, axis]])), axis=0)
    first = np.maximum(ends[0], np.array(region.start)[axis])
    last = np.minimum(ends[1], np.array(region.stop)[axis] - 1)
    count = np.maximum(last - first + 1, 0)
    piece = np.repeat(pieces, count)
    plane = first[piece] + np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    along = axis[piece]
    run = step[piece, along]
    t = np.divide(plane - start[piece, along], run, out=np.zeros(len(piece)), where=run != 0)
    voxels = nearest(start[piece] + np.clip(t, 0, 1)[:, None] * step[piece])
    voxels[np.arange(len(piece)), along] = plane
    covered = np.zeros(region.shape, dtype=bool)
    _mark(covered, np.concatenate([nearest(points), voxels]), region)
    return covered


def tube(points: np.ndarray, radius_mm: float, to_mm: np.ndarray, region: Box) -> np.ndarray:
    """The voxels whose centre is at most ``radius_mm`` from a polyline, and those of the polyline itself.

    ``to_mm`` (3, 3) turns steps in voxels into steps in millimetres.
    """
    covered = line(points, region)
    start, stop = _pieces(points)
    reach = radius_mm * np.linalg.norm(np.linalg.inv(to_mm), axis=1)
    low = np.maximum(np.ceil(np.minimum(start, stop) - reach).astype(np.int64), region.start)
    high = np.minimum(np.floor(np.maximum(start, stop) + reach).astype(np.int64) + 1, region.stop)
    (met,) = np.nonzero((low < high).all(axis=1))
    if met.size:
        sides = (high - low)[met].max(axis=0)
        count = max(1, _AT_ONCE // int(sides.prod()))
        for some in (met[n : n + count] for n in range(0, met.size, count)):
            _mark(covered, _near(start[some], stop[some], radius_mm, to_mm, low[some], sides), region)
    return covered


def polygon(points: np.ndarray, region: Box) -> np.ndarray:
    """The voxels of a closed polygon (n, 3): its outline, and what it encloses in the plane that fits it best.

    The plane is one voxel thin and without holes, in any direction: one voxel in each column along the axis that it
    faces most. Where the outline crosses itself, all that it winds around is enclosed.
    """
    covered = line(np.concatenate([points, points[:1]]), region)
    centre = points.mean(axis=0) if len(points) else np.zeros(3)
    _u, sizes, directions = np.linalg.svd(points - centre, full_matrices=False)
    if len(points) < 3 or sizes[1] <= _FLAT * sizes[0]:
        return covered
    normal = directions[2]
    facing = int(np.abs(normal).argmax())
    u, v = (axis for axis in range(3) if axis != facing)
    columns = _wound(points[:, (u, v)], (region.start[u], region.start[v]), (region.stop[u], region.stop[v]))
    at = np.argwhere(columns) + np.array([region.start[u], region.start[v]])
    height = centre[facing] - (at - centre[[u, v]]) @ normal[[u, v]] / normal[facing]
    voxels = np.empty((len(at), 3), dtype=np.int64)
    voxels[:, (u, v)] = at
    voxels[:, facing] = nearest(np.clip(height, points[:, facing].min(), points[:, facing].max()))
    _mark(covered, voxels, region)
    return covered


def box(points: np.ndarray, region: Box) -> np.ndarray:
    """The voxels of the box with the corner ``points[0]`` and the three corners beside it, ``points[1:]``.

    Its sides reach half a voxel further, as a corner stands for its whole voxel: a box without height is one slice.
    """
    axes = zip(region.start, region.stop, np.eye(3, dtype=int), strict=True)
    i, j, k = (np.arange(low, high, dtype=np.float64).reshape(np.where(unit, -1, 1)) for low, high, unit in axes)
    _directions, normals, lowest, highest = _slabs(points)
    covered = np.ones(region.shape, dtype=bool)
    for normal, low, high in zip(normals, lowest, highest, strict=True):
        place = sum(n * axis for n, axis in zip(normal, (i, j, k), strict=True) if n)
        covered &= (place >= low) & (place <= high)
    return covered


def box_bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest index (3,) that a box reaches along each axis."""
    directions, _normals, lowest, highest = _slabs(points)
    ends = np.stack([lowest[:, None] * directions, highest[:, None] * directions])
    return ends.min(axis=0).sum(axis=0), ends.max(axis=0).sum(axis=0)


def nearest(positions: np.ndarray) -> np.ndarray:
    """The voxels that hold these positions; halves belong to the higher one."""
    return np.floor(positions + 0.5).astype(np.int64)


def _mark(covered: np.ndarray, voxels: np.ndarray, region: Box) -> None:
    places = voxels - region.start
    places = places[((places >= 0) & (places < covered.shape)).all(axis=1)]
    covered[tuple(places.T)] = True


def _pieces(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The starts and stops (n, 3) of a polyline in pieces that are short, so that the boxes around them are small."""
    start, step = (points[:-1], np.diff(points, axis=0)) if len(points) > 1 else (points, 0 * points)
    count = np.maximum(1, np.ceil(np.abs(step).max(axis=1, initial=0) / _PIECE)).astype(np.int64)
    piece = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(piece)) - np.repeat(np.cumsum(count) - count, count)
    share = step[piece] / count[piece, None]
    first = start[piece] + number[:, None] * share
    return first, first + share


def _near(
    start: np.ndarray, stop: np.ndarray, radius_mm: float, to_mm: np.ndarray, low: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """The voxels (n, 3) at most ``radius_mm`` from pieces of line, in boxes of equal ``sides`` from ``low``."""
    i, j, k = (np.arange(side) + (low - start)[:, axis, None] for axis, side in enumerate(sides))
    x, y, z = (
        (row[0] * i)[:, :, None, None] + (row[1] * j)[:, None, :, None] + (row[2] * k)[:, None, None] for row in to_mm
    )
    dx, dy, dz = ((stop - start) @ to_mm.T).T[:, :, None, None, None]
    length2 = dx * dx + dy * dy + dz * dz
    t = np.clip((x * dx + y * dy + z * dz) / np.where(length2 > 0, length2, 1), 0, 1)
    x, y, z = x - t * dx, y - t * dy, z - t * dz
    found = np.argwhere(x * x + y * y + z * z <= radius_mm * radius_mm)
    return low[found[:, 0]] + found[:, 1:]


def _wound(points: np.ndarray, start: tuple[int, int], stop: tuple[int, int]) -> np.ndarray:
    """Whether a closed polygon (n, 2) winds around the points of the lattice ``start``..``stop``."""
    a, b = points, np.roll(points, -1, axis=0)
    low, high = np.minimum(a[:, 1], b[:, 1]), np.maximum(a[:, 1], b[:, 1])
    first = np.maximum(np.ceil(low).astype(np.int64), start[1])
    count = np.maximum(np.minimum(np.ceil(high).astype(np.int64), stop[1]) - first, 0)
    side = np.repeat(np.arange(len(a)), count)
    row = first[side] + np.arange(len(side)) - np.repeat(np.cumsum(count) - count, count)
    t = (row - a[side, 1]) / (b[side, 1] - a[side, 1])
    crossing = np.ceil(a[side, 0] + t * (b[side, 0] - a[side, 0]))
    turns = np.zeros((stop[0] - start[0] + 1, stop[1] - start[1]), dtype=np.int32)
    column = np.clip(crossing - start[0], 0, stop[0] - start[0]).astype(np.int64)
    np.add.at(turns, (column, row - start[1]), np.where(b[side, 1] > a[side, 1], 1, -1))
    return turns.cumsum(axis=0)[:-1] != 0


def _slabs(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A box as what three slabs share: directions and normals as of :func:`_frame`, lowest and highest place (3,).

    The place of a voxel in a slab is its index along the normal. Half a voxel across a side is the most that keeps a
    slab without height one voxel thin along the axis that it faces.
    """
    directions, normals = _frame(points)
    steps = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    places = (points[0] + steps @ (points[1:] - points[0])) @ normals.T
    half = 0.5 * np.abs(normals).max(axis=1) + 1e-9
    return directions, normals, places.min(axis=0) - half, places.max(axis=0) + half


def _frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along the edges of a box, and the normals of its sides: the rows of two 3x3 matrices.

    Where the edges do not span space, others stand for those that add nothing.
    """
    edges = points[1:] - points[0]
    directions = np.zeros((3, 3))
    spanned: list[np.ndarray] = []
    missing = []
    for n in np.argsort(-np.linalg.norm(edges, axis=1)):
        length = np.linalg.norm(edges[n])
        rest = _leaving(edges[n], spanned)
        if length > 1e-6 and np.linalg.norm(rest) > _FLAT * length:
            directions[n] = edges[n] / length
            spanned.append(rest / np.linalg.norm(rest))
        else:
            missing.append(n)
    for n in missing:
        rest = max((_leaving(axis, spanned) for axis in np.eye(3)), key=lambda r: float(np.linalg.norm(r)))
        directions[n] = rest / np.linalg.norm(rest)
        spanned.append(directions[n])
    return directions, np.linalg.inv(directions).T


def _leaving(vector: np.ndarray, spanned: list[np.ndarray]) -> np.ndarray:
    """The part of a vector that is at right angles to all of ``spanned``."""
    for direction in spanned:
        vector = vector - (vector @ direction) * direction
    return vector
