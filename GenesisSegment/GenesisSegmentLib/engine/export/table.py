"""The value table beside label maps and masks: which value is which class, and what was looked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...core.errors import InputError
from ...core.i18n import _
from ...core.segmentation import Segmentation, bit_of

PROGRAM = "GenesisSegment"


def paint_order(segmentation: Segmentation, wanted: Sequence[int] | None) -> tuple[int, ...]:
    """The order in which the computed classes are painted into a label map; later ones hide earlier ones.

    Without ``wanted``: ascending class numbers, so lesions come over organs.

    Raises:
        InputError: ``wanted`` leaves out a computed class.
    """
    if wanted is None:
        return tuple(sorted(segmentation.classes))
    if missing := set(segmentation.classes) - set(wanted):
        slugs = ", ".join(segmentation.structures[c].slug for c in sorted(missing))
        raise InputError(
            _("The paint order leaves out: {slugs}.").format(slugs=slugs), _("Name every class that is segmented.")
        )
    return tuple(c for c in wanted if c in segmentation.classes)


def shared_voxels(bits: np.ndarray) -> np.ndarray:
    """Boolean mask, of the shape of ``bits``, of the voxels that belong to more than one class."""
    return (bits & (bits - bit_of(1))) != 0  # clearing the lowest set bit leaves something


def overlaps_lost(segmentation: Segmentation, labels: np.ndarray) -> dict[int, int]:
    """Number of voxels of each class that a label map (i, j, k) hides under another; classes without loss left out."""
    shared = shared_voxels(segmentation.bits)
    bits, painted = segmentation.bits[shared], labels[shared]
    counts = {c: np.count_nonzero(((bits & bit_of(c)) != 0) & (painted != c)) for c in segmentation.classes}
    return {c: int(count) for c, count in counts.items() if count}


def value_table(segmentation: Segmentation) -> dict[str, Any]:
    """What readers need to know about every computed class, found or not, keyed by class number as text."""
    structures = [segmentation.structures[c] for c in sorted(segmentation.classes)]
    return {
        "program": f"{PROGRAM} {__version__}",
        "labels": {str(s.index): s.slug for s in structures},
        "names": {str(s.index): s.name for s in structures},
        "colors": {str(s.index): "#{:02x}{:02x}{:02x}".format(*s.color) for s in structures},
        "classes_computed": [s.index for s in structures],
        "classes_found": list(segmentation.present()),
    }


def write_table(path: Path, table: dict[str, Any]) -> None:
    """Writes a table as JSON."""
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
