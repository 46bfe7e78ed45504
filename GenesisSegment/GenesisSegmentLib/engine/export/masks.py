"""A folder with one mask per class: overlaps are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.classes import class_table
from ...core.files import atomic_folder, output_errors
from ...core.segmentation import Segmentation
from .images import write_nifti
from .table import value_table, write_table
from .targets import mask_path, table_path


def write_masks(segmentation: Segmentation, target: Path) -> tuple[Path, ...]:
    """Writes ``<slug>.nii.gz`` (0 and 1, uint8) for every class that was found, and the value table.

    A mask that an earlier run left in the folder for a class that was now looked for and not found is removed: it
    would pass for a result of this run.
    """
    slugs = {c: class_table()[c].slug for c in sorted(segmentation.classes)}
    present = segmentation.present()
    files = {c: mask_path(target, slugs[c]) for c in present}
    table_file = table_path(target)
    with atomic_folder(target) as folder:
        for c, file in files.items():
            write_nifti(folder / file.name, segmentation.mask(c).astype(np.uint8), segmentation.geometry)
        table = {**value_table(segmentation), "files": {str(c): file.name for c, file in files.items()}}
        write_table(folder / table_file.name, table)
    with output_errors(target):
        for c in set(slugs) - set(present):
            mask_path(target, slugs[c]).unlink(missing_ok=True)
    return (*files.values(), table_file)
