"""What a segment measures as it is now, after it was changed by hand; lesions are left to the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..core.classes import class_table
from ..core.geometry import Box
from ..core.i18n import _
from .arrays import voxels
from .nodes import volume_of
from .reading import class_numbers, read_part
from .volumes import placement

Row = Mapping[str, Any]


def rows_as_they_are(node: Any, rows: Sequence[Row], changes: Mapping[str, int]) -> list[Row]:
    """The rows of a model, of which those of changed segments are measured anew and those of deleted ones left out.

    Lesions of a changed segment are left out, for their diameters are no longer true; a note says so.

    Args:
        node: segmentation node.
        rows: fields of MeasurementRow, as the model found them.
        changes: voxels by which each segment differs from what the model found, by segment ID.
    """
    ids = {index: segment_id for segment_id, index in class_numbers(node).items()}
    changed = {index for index, segment_id in ids.items() if changes.get(segment_id)}
    result: list[Row] = []
    for index in sorted({int(row["index"]) for row in rows} | changed):
        of_class = [row for row in rows if int(row["index"]) == index]
        if index in changed:
            result.append(_measured(node, ids[index], index, any(r.get("lesion_count") for r in of_class)))
        else:
            result += [row for row in of_class if index in ids or not row["voxels"]]
    return result


def _measured(node: Any, segment_id: str, index: int, had_lesions: bool) -> Row:
    """One row of a segment: the numbers as the engine has them, the deviation over all voxels of the segment."""
    volume = volume_of(node)
    grid = placement(volume).geometry
    where, mask = read_part(node, segment_id, grid)
    values = voxels(volume.GetImageData())[where][mask]
    box = Box.around(mask) if values.size else None
    touches = box is not None and any(
        part.start + a == 0 or part.start + b == n
        for part, a, b, n in zip(where, box.start, box.stop, grid.shape, strict=True)
    )
    return {
        "index": index,
        "name": class_table()[index].slug,
        "voxels": int(values.size),
        "volume_ml": values.size * grid.voxel_ml,
        "mean_hu": float(values.mean(dtype=np.float64)) if values.size else None,
        "sd_hu": float(values.std(dtype=np.float64)) if values.size else None,
        "touches_border": touches,
        "note": _("Changed by hand: measure the lesions again.") if had_lesions else _("Changed by hand."),
    }
