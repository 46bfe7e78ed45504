"""One class of a segmentation, corrected with prompts; all others stay."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.prompts import Prompt
from ...core.segmentation import Segmentation, bit_of, bits_type
from ...core.volume import Volume
from .draft import Clicks
from .session import Session

if TYPE_CHECKING:
    from .features import Features


def refined(
    volume: Volume,
    segmentation: Segmentation,
    index: int,
    prompts: Sequence[Prompt],
    clicks: Clicks | None = None,
    shared: Collection[int] = (),
    features: Features | None = None,
) -> tuple[Segmentation, tuple[str, ...]]:
    """The segmentation with one class corrected by ``prompts``, each answered in turn; and notes for the person.

    With the ``features`` of a model, its head then learns from the prompts and draws the whole class anew.

    A class that nobody looked for begins empty. Voxels of other classes are not taken, but those of ``shared`` and of
    :func:`sharing` may belong to both.

    Raises:
        InputError: a prompt covers no voxel of the CT that may change, or the model does not draw the class.
        ModelError: the network cannot be run.
    """
    classes = tuple(sorted({*segmentation.classes, index}))
    bits = segmentation.bits.astype(np.promote_types(segmentation.bits.dtype, bits_type(classes)))
    whole = replace(segmentation, bits=bits, classes=classes)
    bit = bits.dtype.type(bit_of(index))
    free = {index, *shared, *sharing(whole, index)}
    others = [c for c in classes if c not in free]
    protected = ((bits & bits.dtype.type(bit_of(*others))) != 0) & ~whole.mask(index) if others else None
    session = Session(volume, whole.mask(index), protected, clicks)
    notes: dict[str, None] = {}
    for prompt in prompts:
        notes |= dict.fromkeys(session.answer(prompt).notes)
    if features is not None:
        notes |= dict.fromkeys(session.propagate(index, features).notes)
    bits &= ~bit
    np.bitwise_or(bits, bit, out=bits, where=session.mask)
    return whole, tuple(notes)


def sharing(segmentation: Segmentation, index: int) -> tuple[int, ...]:
    """The classes whose voxels a class shares by its nature: a lesion those of its organ, and the other way round."""
    table = segmentation.structures
    own = table[index]
    return tuple(c for c, other in table.items() if c in own.hosts or index in other.hosts)
