"""The terminology entry that 3D Slicer keeps with a segment."""

from __future__ import annotations

from .classes import Code, StructureClass

ENTRY_TAG = "TerminologyEntry"
"""Name of the segment tag that holds the entry."""
CATEGORY_CONTEXT = "Segmentation category and type - GenesisSegment"
REGION_CONTEXT = "Anatomic codes - GenesisSegment"
_NO_CODE = "^^"


def terminology_entry(structure: StructureClass) -> str:
    """The entry of a class as Slicer serialises it.

    Context, category, type and its modifier, context of the region, region and its modifier (which no class has).
    Fields are separated by ``~``, the three parts of a code by ``^``; a missing code is ``^^``.
    """
    return "~".join(
        (
            CATEGORY_CONTEXT,
            _triplet(structure.category),
            _triplet(structure.type),
            _triplet(structure.modifier),
            REGION_CONTEXT,
            _triplet(structure.region),
            _NO_CODE,
        )
    )


def _triplet(code: Code | None) -> str:
    return f"{code.scheme}^{code.value}^{code.meaning}" if code else _NO_CODE
