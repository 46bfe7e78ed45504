"""Structures that a person taught a model, in a segmentation: known by name, numbered by the segmentation itself.

Two models may have learned different structures under the same number, and one CT may show what both found. So a
segmentation gives each name a number from 33 on that holds as long as a segment or a proposal has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.classes import FIRST_OWN
from ..core.errors import InputError
from ..core.i18n import _
from ..core.layers import Layer
from ..core.segmentation import MOST_CLASSES, MOST_OWN
from .measuring import Row
from .nodes import EARLIER_ROLE
from .proposal import proposal_of
from .tags import taught_name
from .writing import class_numbers


def numbering(node: Any | None, names: Iterable[str]) -> dict[str, int]:
    """The number of each name in a segmentation, None: a new one. Names that are new to it get the lowest free ones.

    Raises:
        InputError: there are more than it can number.
    """
    known: dict[str, int] = {}
    taken: set[int] = set()
    parts = (node, proposal_of(node), node.GetNodeReference(EARLIER_ROLE)) if node is not None else ()
    for part in (part for part in parts if part is not None):
        for segment_id, index in class_numbers(part).items():
            if index >= FIRST_OWN and index not in taken:
                known.setdefault(taught_name(part.GetSegmentation().GetSegment(segment_id)), index)
                taken.add(index)
    wanted = tuple(names)
    free = (n for n in range(FIRST_OWN, MOST_CLASSES + 1) if n not in taken)
    for name in dict.fromkeys(wanted):
        if name not in known:
            known[name] = next(free, 0)
    if 0 in known.values():
        raise InputError(
            _("A segmentation can hold {most} structures that models were taught, and here are more.").format(
                most=MOST_OWN
            ),
            _("Delete those that you do not need, or choose fewer classes, then segment again."),
        )
    return {name: known[name] for name in wanted}


class Renumbered:
    """A result whose classes from 33 on, by the model's own numbers, get those of a segmentation."""

    def __init__(self, own: Sequence[str], numbers: Mapping[str, int]) -> None:
        """``own`` are the names of the model's classes from 33 on; ``numbers`` those of :func:`numbering`."""
        self.taught = {numbers[name]: name for name in own if name in numbers}
        """Names by the numbers of the segmentation."""
        self._numbers = {n: numbers[name] for n, name in enumerate(own, FIRST_OWN) if name in numbers}

    def layers(self, layers: Iterable[Layer]) -> list[Layer]:
        """The layers; the same where no number changes."""
        return [self._layer(layer) for layer in layers]

    def rows(self, rows: Iterable[Row]) -> list[Row]:
        """Measurements, which name what was taught as it was taught."""
        numbered = ((self._numbers.get(int(row["index"])), row) for row in rows)
        return [row if n is None else {**row, "index": n, "name": self.taught[n]} for n, row in numbered]

    def _layer(self, layer: Layer) -> Layer:
        if all(self._numbers.get(c, c) == c for c in layer.classes):
            return layer
        table = np.arange(256, dtype=np.uint8)
        table[list(self._numbers)] = list(self._numbers.values())
        labels = layer.labels.copy(order="K")
        for k in range(labels.shape[2]):  # plane by plane, to spare memory
            labels[:, :, k] = table[labels[:, :, k]]
        return Layer(labels, tuple(sorted(self._numbers.get(c, c) for c in layer.classes)))
