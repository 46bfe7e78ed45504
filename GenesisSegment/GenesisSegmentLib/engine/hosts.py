"""Organs include their lesions: a tumour of the liver is liver, too.

The universal model was taught so (Liu et al., arXiv 2301.00785: lesion labels are folded into their organ), but a label
map, and a segmentation drawn without overlaps, has a hole in the organ where the lesion was painted over it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from ..core.classes import class_table
from ..core.geometry import Box
from ..core.i18n import _, listed, together
from ..core.segmentation import Segmentation, bit_of, class_boxes
from .components import components, dilated

LIVER, VESSEL_TUMOR = 6, 29


@cache
def families() -> dict[tuple[int, ...], tuple[int, ...]]:
    """Lesion classes by the organs that they may lie in."""
    table: dict[tuple[int, ...], tuple[int, ...]] = {}
    for c, structure in class_table().items():
        # The tumours of the hepatic-vessel data are tumours of the liver, beside the vessels: no vessel includes them.
        hosts = (LIVER,) if c == VESSEL_TUMOR else structure.hosts
        if hosts:
            table[hosts] = (*table.get(hosts, ()), c)
    return table


def organs_with_lesions(segmentation: Segmentation) -> tuple[Segmentation, tuple[str, ...]]:
    """The segmentation with every lesion counted as part of its organ, too, and what that changed, as sentences.

    Only organs that were looked for grow. A lesion of a paired organ belongs to the side that it touches; one that
    touches none, or both, is left as it is.
    """
    bits, boxes = segmentation.bits, class_boxes(segmentation.bits)
    grown: list[str] = []
    unclear: list[str] = []
    for hosts, members in families().items():
        lesions = [c for c in members if c in boxes and c in segmentation.classes]
        known = [c for c in hosts if c in segmentation.classes]
        if not lesions or not known:
            continue
        if bits is segmentation.bits:
            bits = bits.copy(order="K")
        box = Box.joined(boxes[c] for c in lesions).grown(1, bits.shape)
        names = listed(class_table()[c].slug for c in lesions)
        before = bits[box.slices].copy()
        left = _fold(bits[box.slices], hosts, known, lesions)
        changed = np.bitwise_or.reduce(before ^ bits[box.slices], axis=None)
        as_organ, of_lesions = _("{lesions} as {organ}"), _("{count} of {lesions}")
        organs = [class_table()[c].slug for c in known if int(changed) >> (c - 1) & 1]
        grown += [as_organ.format(lesions=names, organ=organ) for organ in organs]
        unclear += [of_lesions.format(count=left, lesions=names)] * (left > 0 and len(known) == len(hosts))
    notes = []
    if grown:
        notes.append(_("Organs include their lesions: {organs}.").format(organs=together(*grown, between=", ")))
    if unclear:
        text = _("Pieces that could belong to either side count as no organ: {pieces}.")
        notes.append(text.format(pieces=together(*unclear, between=", ")))
    return replace(segmentation, bits=bits), tuple(notes)


def _fold(bits: np.ndarray, hosts: tuple[int, ...], known: list[int], lesions: list[int]) -> int:
    """Sets the bit of its organ in every voxel of the lesions; returns how many pieces have no certain organ."""
    mask = (bits & bit_of(*lesions)) != 0
    if len(hosts) == 1:
        bits[mask] |= bit_of(hosts[0])
        return 0
    left = 0
    found = components(mask)
    for rank, inner in enumerate(found.boxes):
        around = inner.grown(1, bits.shape)  # type: ignore[arg-type]
        piece = found.labels[around.slices] == found.order[rank]
        rim = bits[around.slices][dilated(piece, (1, 1, 1)) & ~mask[around.slices]]
        touched = [c for c in known if (rim & bit_of(c)).any()]
        if len(touched) == 1:
            bits[around.slices][piece] |= bit_of(touched[0])
        left += len(touched) != 1
    return left
