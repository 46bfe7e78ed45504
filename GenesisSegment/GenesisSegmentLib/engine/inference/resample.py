"""Resampling between grids that share their axes: a sparse matrix per axis, applied plane by plane.

Linear interpolation, and the Gaussian before it, work on each axis by itself. So a volume is read in slabs along its
last axis, and beside the input and the output no more than a slab is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk
from scipy import sparse

from ...core.geometry import Geometry
from ...core.jobs import Advance

Matrices = tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]
"""Per axis, what each voxel of the output (a row) takes from each voxel of the input (a column)."""

SLAB_VOXELS = 4_000_000
_SHORTEST_SMOOTHED = 4
"""Voxels along an axis that the recursive filter needs."""
_LEAST_WEIGHT = 1e-6
"""Weights of a Gaussian below this are dropped: together they stand for less than 0.02 HU."""


def places(grid: Geometry, among: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the voxel centres of ``grid`` lie among those of another grid on the same axes: its indices, per axis."""
    first = np.linalg.solve(among.ijk_to_ras, np.append(grid.origin, 1.0))[:3]
    steps = zip(first, grid.shape, grid.spacing, among.spacing, strict=True)
    i, j, k = (start + np.arange(n) * (own / other) for start, n, own, other in steps)
    return i, j, k


def interpolation(at: np.ndarray, count: int) -> sparse.csr_array:
    """Linear interpolation of ``count`` voxels at the places ``at``; beyond the ends the last voxel counts."""
    at = np.clip(at, 0, count - 1)
    low = np.minimum(np.floor(at).astype(int), max(0, count - 2))
    weight = at - low
    columns = np.stack([low, np.minimum(low + 1, count - 1)], axis=1)
    rows = np.repeat(np.arange(len(at)), 2)
    values = np.stack([1 - weight, weight], axis=1)
    matrix = sparse.csr_array((values.ravel(), (rows, columns.ravel())), shape=(len(at), count))
    matrix.eliminate_zeros()
    return matrix


def smoothing(count: int, fine_mm: float, coarse_mm: float) -> sparse.csr_array | None:
    """Takes out what a coarse grid cannot hold, as the training material had it taken out; None where it holds all.

    The recursive Gaussian of ITK, whose matrix is what it makes of the unit vectors.
    """
    if fine_mm >= 0.8 * coarse_mm or count < _SHORTEST_SMOOTHED:
        return None
    units = sitk.GetImageFromArray(np.eye(count))
    sigma = 0.4 * float(np.sqrt(coarse_mm**2 - fine_mm**2)) / fine_mm
    weights = sitk.GetArrayFromImage(sitk.RecursiveGaussian(units, sigma, direction=1))
    weights[np.abs(weights) < _LEAST_WEIGHT] = 0
    return sparse.csr_array(weights / weights.sum(axis=1, keepdims=True))


def matrices(source: Geometry, grid: Geometry, is_smoothed: bool = False) -> Matrices:
    """What takes values on ``source`` to ``grid``, both on the same axes."""
    made = []
    for at, count, fine, coarse in zip(places(grid, source), source.shape, source.spacing, grid.spacing, strict=True):
        matrix = interpolation(at, count)
        gaussian = smoothing(count, fine, coarse) if is_smoothed else None
        made.append((matrix if gaussian is None else matrix @ gaussian).astype(np.float32))
    return tuple(made)  # type: ignore[return-value]


def used(matrix: sparse.csr_array) -> slice:
    """The columns, from the first to the last, that have a weight."""
    return slice(int(matrix.indices.min()), int(matrix.indices.max()) + 1)


def slabs(count: int, plane_voxels: int) -> Iterator[slice]:
    """Planes 0..count in slabs of bounded size, in order."""
    step = max(1, SLAB_VOXELS // max(1, plane_voxels))
    for start in range(0, count, step):
        yield slice(start, min(count, start + step))


def resample_plane(plane: np.ndarray, first: sparse.csr_array, second: sparse.csr_array) -> np.ndarray:
    """A plane float32 (a, b) resampled along both axes, and turned: (b', a'), which spares a copy."""
    return second @ np.ascontiguousarray((first @ plane).T)


def add_resampled(voxels: np.ndarray, by: Matrices, out: np.ndarray, advance: Advance = lambda share: None) -> None:
    """Adds the resampled ``voxels`` (i, j, k) to ``out`` float32 (I, J, K), slab by slab along k.

    Fastest where the planes of ``voxels`` have their first axis, and those of ``out`` their second, next in memory.
    """
    i, j, k = (used(matrix) for matrix in by)
    by_i, by_j, by_k = by[0][:, i], by[1][:, j], by[2].tocsc()[:, k]
    inside, planes = voxels[i, j, k], out.transpose(2, 0, 1)
    for slab in slabs(inside.shape[2], inside.shape[0] * inside.shape[1]):
        advance(slab.start / inside.shape[2])
        source = np.ascontiguousarray(inside[..., slab].transpose(2, 1, 0), dtype=np.float32)
        resampled = np.stack([resample_plane(plane, by_j, by_i) for plane in source])
        along = by_k[:, slab].tocsr()
        rows = np.flatnonzero(np.diff(along.indptr))
        if rows.size:
            reached = slice(rows[0], rows[-1] + 1)
            added = along[reached] @ resampled.reshape(len(resampled), -1)
            planes[reached] += added.reshape(-1, *resampled.shape[1:])
