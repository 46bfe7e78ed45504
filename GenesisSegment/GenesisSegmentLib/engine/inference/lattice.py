"""The lattice of the published recipe without MONAI: its grid, its crop, and which of its windows see the body.

A network whose batch norm looks at the window gives other logits for another window. So the fast recipe works in the
grid and crop of the published one, and where it is asked for the published overlap also on its very windows: then it
saves only those in which there is nothing of the patient.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box, Geometry
from ..components import dilated
from .resample import places, slabs
from .windows import starts

BODY_MARGIN_MM = 12.0
"""Windows that come as near to the body as this are run. Its outline is known to a coarse voxel, which is added."""
_SPACING_TOLERANCE_MM = 1e-3
"""A spacing that is right to this is left as it is by MONAI's ``Spacing``."""
_ROUNDING = 1e-6


def published_grid(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """The grid that MONAI's ``Spacing`` makes of a grid on RAS axes, with the sides rounded as there."""
    kept = tuple(
        own if abs(own - wanted) <= _SPACING_TOLERANCE_MM else wanted
        for own, wanted in zip(geometry.spacing, spacing_mm, strict=True)
    )
    grid = geometry.resampled(kept)  # type: ignore[arg-type]
    # In the very steps of MONAI: where a side ends on half a voxel, rounding errors decide.
    axes = geometry.ijk_to_ras[:3, :3]
    upper = np.linalg.cholesky(axes.T @ axes).T
    out = np.eye(4)
    out[:3, :3] = axes @ np.linalg.inv(upper) @ np.diag(np.sign(np.diag(upper)) * np.array(kept))
    ends = np.meshgrid(*[(0.0, n - 1.0) for n in geometry.shape], indexing="ij")
    corners = np.concatenate([np.reshape(ends, (3, -1)), np.ones((1, 8))])
    found = (np.linalg.solve(out, geometry.ijk_to_ras) @ corners)[:3]
    i, j, k = (int(n) for n in np.round(np.ptp(found, axis=1) + 1.0))
    return Geometry((i, j, k), grid.ijk_to_ras)


def box_above(values: np.ndarray, least: float) -> Box | None:
    """The smallest box (i, j, k) of all values above ``least``, found slab by slab; None where there are none."""
    across, along = np.zeros(values.shape[:2], dtype=bool), np.zeros(values.shape[2], dtype=bool)
    for slab in slabs(values.shape[2], values.shape[0] * values.shape[1]):
        is_above = values[..., slab] > least
        along[slab] = is_above.any(axis=(0, 1))
        across |= is_above.any(axis=2)
    hits = [np.flatnonzero(axis) for axis in (across.any(axis=1), across.any(axis=0), along)]
    if not along.any():
        return None
    start, stop = zip(*((int(hit[0]), int(hit[-1]) + 1) for hit in hits), strict=True)
    return Box(start, stop)  # type: ignore[arg-type]


def box_on(native: Geometry, piece: Geometry) -> Box | None:
    """The voxels of ``native`` that a grid with parallel axes covers, edges included; None where there are none."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in piece.shape])).reshape(3, -1)
    ras = piece.ijk_to_ras @ np.vstack([corners, np.ones(corners.shape[1])])
    ijk = np.linalg.solve(native.ijk_to_ras, ras)[:3]
    start = np.maximum(np.ceil(ijk.min(axis=1) - _ROUNDING).astype(int), 0)
    stop = np.minimum(np.floor(ijk.max(axis=1) + _ROUNDING).astype(int) + 1, native.shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist())) if (start < stop).all() else None


@dataclass(frozen=True, eq=False)
class Body:
    """Where the patient is: ``mask`` (i, j, k) on a grid of about 6 mm, whose place is ``geometry``.

    The mask is without thin parts; ``whole`` has them, with everything else that is connected to it.
    """

    mask: np.ndarray
    whole: np.ndarray
    geometry: Geometry

    def filled(self) -> np.ndarray:
        """The whole with all that lies between two of its voxels, side to side or front to back, such as the lungs."""
        return _between(self.whole, 0) | _between(self.whole, 1)

    def windows_near(
        self,
        grid: Geometry,
        shape: tuple[int, ...],
        window: tuple[int, int, int],
        overlap: float,
        before: tuple[int, ...],
    ) -> np.ndarray:
        """Which windows of an image of ``shape`` lie within 12 mm of the body: bool (x starts, y starts, z starts).

        The image is ``grid`` with ``before`` voxels of padding in front. An only window counts as near.
        """
        radius = [int(np.ceil(BODY_MARGIN_MM / s)) + 1 for s in self.geometry.spacing]
        near = dilated(self.filled(), radius).astype(np.float32)
        axes = zip(shape, window, before, places(self.geometry, grid), self.geometry.spacing, grid.spacing, strict=True)
        for side, width, padding, centers, coarse, fine in axes:
            first = np.array(starts(side, width, overlap))[:, None] - padding
            half = coarse / fine / 2
            touches = (centers + half > first - 0.5) & (centers - half < first + width - 0.5)
            # The first axis of what is left is used up, its windows are put behind: after three axes all is in order.
            near = np.tensordot(near, touches.astype(np.float32), axes=(0, 1))
        return near > 0 if near.size > 1 else np.ones((1, 1, 1), dtype=bool)


def _between(mask: np.ndarray, axis: int) -> np.ndarray:
    forward = np.logical_or.accumulate(mask, axis=axis)
    return forward & np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
