"""What the segments measure as they are now, after changes by hand or Undo; lesions are left to the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.geometry import Box
from ..core.i18n import _
from ..core.pieces import Pieces
from .arrays import voxels
from .nodes import volume_of
from .reading import read_single
from .tags import RUN_TAG, label_of, tag_of
from .volumes import placement
from .writing import class_numbers

Row = Mapping[str, Any]
_PLANES = 2
"""Planes that are measured at a time."""


def measuring(node: Any, rows: Sequence[Row], changes: Mapping[str, int]) -> Pieces[list[Row]]:
    """The rows of a model, of which those of changed segments are measured anew and those of deleted ones left out.

    Lesions of a changed segment are left out, for their diameters are no longer true; a note says so. Of several runs,
    the rows of the one that a segment comes from count, so that they follow Undo.

    Args:
        node: segmentation node.
        rows: fields of MeasurementRow, as the models found them, and the ``run``; newest first.
        changes: voxels by which each segment differs from what the model found, by segment ID.
    """
    ids = {index: segment_id for segment_id, index in class_numbers(node).items()}
    changed = {index for index, segment_id in ids.items() if changes.get(segment_id)}
    result: list[Row] = []
    for index in sorted({int(row["index"]) for row in rows} | changed):
        of_class = _of_run(node, ids.get(index), [row for row in rows if int(row["index"]) == index])
        if index in changed:
            result.append((yield from _measured(node, ids[index], index, any(r.get("lesion_count") for r in of_class))))
        else:
            result += of_class
    return result


def _of_run(node: Any, segment_id: str | None, rows: list[Row]) -> list[Row]:
    """The rows of one class that are true for a segment; without one, those of the last run that found none."""
    if segment_id is None:
        rows = [row for row in rows if not row["voxels"]]
        return [row for row in rows if row.get("run", "") == rows[0].get("run", "")]
    run = tag_of(node.GetSegmentation().GetSegment(segment_id), RUN_TAG)
    return [row for row in rows if row.get("run", "") == run] if run else rows


def _measured(node: Any, segment_id: str, index: int, had_lesions: bool) -> Pieces[Row]:
    """One row of a segment: the numbers as the engine has them, the deviation over all voxels of the segment."""
    volume = volume_of(node)
    grid = placement(volume).geometry
    segment, values = read_single(node, segment_id, grid), voxels(volume.GetImageData())
    box, sums, touches = segment.box, _Sums(), False
    (i, j, _k), (_i1, _j1, depth) = box.slices, grid.shape
    for k in range(box.start[2], box.stop[2]):
        mask = segment.planes(k, k + 1, box)[..., 0]
        if mask.any():
            sums.add(values[i, j, k][mask])
            touches = touches or k in (0, depth - 1) or _touches(mask, box, grid.shape)
        if k % _PLANES == 0:
            yield
    return {
        "index": index,
        "name": label_of(node.GetSegmentation().GetSegment(segment_id), index),
        "voxels": sums.count,
        "volume_ml": sums.count * grid.voxel_ml,
        "mean_hu": sums.mean,
        "sd_hu": sums.deviation,
        "touches_border": touches,
        "note": _("Changed by hand: measure the lesions again.") if had_lesions else _("Changed by hand."),
    }


def _touches(mask: np.ndarray, box: Box, shape: tuple[int, int, int]) -> bool:
    """Whether a plane of a segment reaches one of the four sides of the grid."""
    (i0, j0, _k0), (i1, j1, _k1), (width, height, _depth) = box.start, box.stop, shape
    return bool(
        (i0 == 0 and mask[0].any())
        or (i1 == width and mask[-1].any())
        or (j0 == 0 and mask[:, 0].any())
        or (j1 == height and mask[:, -1].any())
    )


class _Sums:
    """Mean and standard deviation of values that come a few at a time, by the differences from the first of them."""

    def __init__(self) -> None:
        self.count, self._zero, self._sum, self._squares = 0, 0.0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """More values, at least one."""
        if not self.count:
            self._zero = float(values[0])
        from_zero = values.astype(np.float64) - self._zero
        self.count += values.size
        self._sum += float(from_zero.sum())
        self._squares += float(np.dot(from_zero, from_zero))

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self._zero + self._sum / self.count if self.count else None

    @property
    def deviation(self) -> float | None:
        """Over all values; None without any."""
        if not self.count:
            return None
        return math.sqrt(max(0.0, self._squares / self.count - (self._sum / self.count) ** 2))
