"""Connected components of masks: the largest ones, holes, and masks made a little wider.

All masks are boolean arrays (i, j, k). Two voxels are connected when they share a face, an edge or a corner
(26-connected), as in the published post-processing (models.md 2.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage

from ..core.geometry import Box
from .pieces import Pieces


@dataclass(frozen=True, eq=False)
class Components:
    """The 26-connected components of a mask, largest first.

    ``labels`` (i, j, k) holds an arbitrary number per component, 0 outside; ``order`` are these numbers by rank,
    ``sizes`` the voxel counts, ``centroids`` (n, 3) the mean indices and ``boxes`` the smallest boxes in the same
    order. Components of equal size are ranked by their centroid, the lowest first index first, so that the rank does
    not depend on the memory layout.
    """

    labels: np.ndarray
    order: np.ndarray
    sizes: np.ndarray
    centroids: np.ndarray
    boxes: tuple[Box, ...]

    def __len__(self) -> int:
        return len(self.order)

    def mask(self, *ranks: int) -> np.ndarray:
        """The voxels of the components with these ranks (0 is the largest)."""
        wanted = np.zeros(len(self) + 1, dtype=bool)
        wanted[self.order[list(ranks)]] = True
        return wanted[self.labels]


def components(mask: np.ndarray) -> Components:
    """The components of a boolean mask (i, j, k)."""
    labels, count = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=26, return_N=True)
    if count == 0:
        return Components(labels, np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), ())
    statistics = cc3d.statistics(labels)
    sizes = statistics["voxel_counts"][1:].astype(np.int64)
    centroids = statistics["centroids"][1:]
    rank = np.lexsort((centroids[:, 2], centroids[:, 1], centroids[:, 0], -sizes))
    boxes = tuple(_box(statistics["bounding_boxes"][r + 1]) for r in rank)
    return Components(labels, rank + 1, sizes[rank], centroids[rank], boxes)


def _box(slices: tuple[slice, slice, slice]) -> Box:
    i, j, k = slices
    return Box((int(i.start), int(j.start), int(k.start)), (int(i.stop), int(j.stop), int(k.stop)))


def largest(mask: np.ndarray, count: int | None = 1, above: float = 0.0, share: float = 0.0) -> np.ndarray:
    """The ``count`` largest components (all for None) that have more than ``above`` voxels.

    Components with less than ``share`` of the voxels of the largest one are dropped too.
    """
    pieces = Pieces.of(mask)
    return pieces.mask(pieces.largest(1, count, above, share))


def touching(mask: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The components of ``mask`` that have at least one voxel in ``region``."""
    pieces = Pieces.of(mask)
    return pieces.mask(np.unique(pieces.numbers[region & mask]))


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """The mask with its cavities filled: background that no path of voxel faces connects to the border of the array."""
    background = cc3d.connected_components(np.ascontiguousarray(~mask), connectivity=6)
    outside = np.zeros(int(background.max(initial=0)) + 1, dtype=bool)
    for axis in range(3):
        for side in (0, -1):
            outside[np.unique(background.take(side, axis=axis))] = True
    outside[0] = False  # label 0 is the mask itself
    return ~outside[background]


def dilated(mask: np.ndarray, radius: Sequence[int]) -> np.ndarray:
    """The mask widened by ``radius`` voxels along each axis (a box as the structuring element)."""
    size = tuple(2 * r + 1 for r in radius)
    return ndimage.maximum_filter(mask.astype(np.uint8), size, mode="constant", cval=0).astype(bool)


def closed(mask: np.ndarray, radius: Sequence[int]) -> np.ndarray:
    """Dilation, then erosion by the same box; outside the array counts as background, so its border is eroded."""
    size = tuple(2 * r + 1 for r in radius)
    wide = dilated(mask, radius).astype(np.uint8)
    return ndimage.minimum_filter(wide, size, mode="constant", cval=0).astype(bool)


def depth(mask: np.ndarray) -> np.ndarray:
    """How many erosions by a 3 x 3 x 3 cube each voxel survives, plus one; outside the array counts as background."""
    padded = np.pad(mask, 1)
    return ndimage.distance_transform_cdt(padded, metric="chessboard")[1:-1, 1:-1, 1:-1]


def nearest_seed(
    region: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    spacing_mm: Sequence[float],
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Which seed each voxel of ``region`` is nearer to: -1 for ``first``, 1 for ``second``, 0 at equal distance.

    int8 array (i, j, k), 0 outside ``region``, which holds both seeds. Distances are Euclidean, between voxel centres.
    Each of the two distance maps takes the time of one ``check`` to the next, about 0.2 s per million voxels of the
    region's box.
    """
    nearer = np.zeros(region.shape, dtype=np.int8)
    box = Box.around(region)
    if box is None:
        return nearer
    check()
    difference = ndimage.distance_transform_edt(~first[box.slices], sampling=spacing_mm)
    check()
    difference -= ndimage.distance_transform_edt(~second[box.slices], sampling=spacing_mm)
    check()
    nearer[box.slices] = np.sign(difference, out=difference)
    nearer[~region] = 0
    return nearer
