"""A folder with one mask per class: overlaps are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_folder, sha256_of
from ...core.segmentation import Segmentation
from .former import make_room
from .images import write_nifti
from .table import PROGRAM, value_table, write_table
from .targets import FOLDER_TABLE, SUFFIXES, mask_path, table_path


def write_masks(segmentation: Segmentation, target: Path) -> tuple[Path, ...]:
    """Writes ``<slug>.nii.gz`` (0 and 1, uint8) for every class that was found, and the value table.

    The table adds to :func:`value_table` the grid (``shape`` and ``ijk_to_ras``, RAS mm), so that it is known where
    nothing was found, and the file of each class that was found with its SHA-256.

    A mask that an earlier run left in the folder for a class that was now looked for and not found is removed: it
    would pass for a result of this run. What an earlier run did not leave there like this gets another name.
    """
    slugs = {c: segmentation.structures[c].slug for c in sorted(segmentation.classes)}
    files = {c: mask_path(target, slugs[c]) for c in segmentation.present()}
    table_file = table_path(target)
    with atomic_folder(target) as folder:
        for c, file in files.items():
            write_nifti(folder / file.name, segmentation.mask(c).astype(np.uint8), segmentation.geometry)
        table = {
            **value_table(segmentation),
            "shape": list(segmentation.geometry.shape),
            "ijk_to_ras": segmentation.geometry.ijk_to_ras.tolist(),
            "files": {str(c): file.name for c, file in files.items()},
            "sha256": {file.name: sha256_of(folder / file.name) for file in files.values()},
        }
        write_table(folder / table_file.name, table)
        _make_room(target, {file.name for file in files.values()}, {mask_path(target, s).name for s in slugs.values()})
    return (*files.values(), table_file)


def _make_room(folder: Path, names: set[str], computed: set[str]) -> None:
    table = _former_table(folder / FOLDER_TABLE)
    earlier = table.get("sha256")
    earlier = earlier if isinstance(earlier, dict) else {}
    is_own = str(table.get("program", "")).startswith(PROGRAM)
    stale = (computed & set(earlier)) - names
    make_room(folder, names if is_own else {*names, FOLDER_TABLE}, stale, earlier, SUFFIXES)


def _former_table(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
