"""What the paper describes beside the released generator: vessels avoided, and tissue pushed aside.

The paper (Hu et al., CVPR 2023) states the forms; the numbers that it leaves open are ours, and stand here.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ...core.geometry import Box
from ..components import components

_SMOOTH_MM = 1.5
_LEAST_HU, _DEVIATIONS = 15.0, 1.5
"""A vessel is brighter than the mean of the organ by the larger of these, once noise is smoothed away."""
_LEAST_ML = 0.2
"""Smaller bright pieces are noise."""
REACH = 2.0
"""How far tissue is pushed, in mean radii of the lesion from its middle."""
_RIM_MM = 8.0
"""Over this distance from the organ's surface pushing fades, so that the surface and all beyond stay in place."""


def vessels(hu: np.ndarray, organ: np.ndarray) -> np.ndarray:
    """Bright vessels of an organ in a CT with contrast, bool (X, Y, Z); both at 1 mm."""
    weight = ndimage.gaussian_filter(organ.astype(np.float32), _SMOOTH_MM)
    smooth = ndimage.gaussian_filter(np.where(organ, hu, 0).astype(np.float32), _SMOOTH_MM) / np.maximum(weight, 1e-3)
    inside = smooth[organ]
    middle = float(np.median(inside))
    spread = 1.4826 * float(np.median(np.abs(inside - middle)))
    bright = organ & (smooth > middle + max(_LEAST_HU, _DEVIATIONS * spread))
    found = components(bright)
    large = [rank for rank, size in enumerate(found.sizes) if size >= 1000 * _LEAST_ML]
    return found.mask(*large) if large else np.zeros_like(organ)


def pushed(
    hu: np.ndarray,
    organ: np.ndarray,
    spacing: tuple[float, float, float],
    centre: tuple[float, float, float],
    radius: float,
    push: float,
) -> tuple[np.ndarray, Box] | None:
    """HU around a lesion after its growth has pushed the tissue of the organ outwards, float32, and where they lie.

    What is seen at a distance d from the middle comes from (1 - push (1 - d / reach)^2) d, the local scaling of
    Glasbey and Mardia that the paper uses. ``hu`` and ``organ`` are (X, Y, Z) with ``spacing``, ``centre`` in voxels.
    None where the lesion lies outside.
    """
    reach = REACH * radius
    start = tuple(int(np.floor(c - reach / s)) for c, s in zip(centre, spacing, strict=True))
    stop = tuple(int(np.ceil(c + reach / s)) + 1 for c, s in zip(centre, spacing, strict=True))
    box = Box(start, stop).common(Box.whole(organ.shape))  # type: ignore[arg-type]
    if box is None:
        return None
    wide = box.grown(int(np.ceil(_RIM_MM / min(spacing))), organ.shape)  # type: ignore[arg-type]
    depth = ndimage.distance_transform_edt(organ[wide.slices], sampling=spacing)[box.within(wide)]
    way = [
        ((np.arange(a, b) - c) * s).reshape([-1 if axis == n else 1 for n in range(3)])
        for axis, (a, b, c, s) in enumerate(zip(box.start, box.stop, centre, spacing, strict=True))
    ]
    distance = np.sqrt(sum(w**2 for w in way))
    share = -push * np.clip(1 - distance / reach, 0, 1) ** 2 * np.clip(depth / _RIM_MM, 0, 1)
    at = [
        np.arange(a, b).reshape(w.shape) + share * w / s
        for a, b, w, s in zip(box.start, box.stop, way, spacing, strict=True)
    ]
    moved = ndimage.map_coordinates(hu, at, output=np.float32, order=1, mode="nearest")
    return np.where(share < 0, moved, hu[box.slices]).astype(np.float32), box
