"""A label map with class numbers as values, and its value table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.files import atomic_folder
from ...core.segmentation import Segmentation
from .images import write_image
from .table import overlaps_lost, paint_order, value_table, write_table
from .targets import suffix_of, table_path


def write_label_map(segmentation: Segmentation, target: Path, wanted: Sequence[int] | None) -> tuple[Path, ...]:
    """Writes ``target`` and its JSON beside it; both appear together or not at all.

    The table adds to :func:`value_table` the paint order and, as ``overlaps_lost``, how many voxels of a class are
    hidden under another one.
    """
    order = paint_order(segmentation, wanted)
    labels = segmentation.label_map(order)
    lost = overlaps_lost(segmentation, labels)
    table = {
        **value_table(segmentation),
        "paint_order": list(order),
        "overlaps_lost": {str(c): count for c, count in lost.items()},
    }
    json_path = table_path(target)
    with atomic_folder(target.parent) as folder:
        # Written in lower case first: ITK takes .MHA for another format.
        image = folder / f"labels{suffix_of(target)}"
        write_image(image, labels, segmentation.geometry)
        image.rename(folder / target.name)
        write_table(folder / json_path.name, table)
    return target, json_path
