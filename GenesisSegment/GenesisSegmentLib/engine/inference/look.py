"""Looks where the asked classes are before a large network is run: windows round an organ, not those of a whole CT.

A coarse model sees the CT at once. What it says is not believed: windows round the place are run, and where their
result reaches the border of what was looked at, or is not what the coarse model saw, more is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...core.classes import class_table
from ...core.geometry import Box
from ...core.i18n import _, listed
from ...core.jobs import Advance
from ...core.segmentation import Segmentation, bit_of, class_boxes
from ...core.volume import Volume
from ..postprocess import needed_classes
from .preprocess import ModelInput
from .restore import restore_nearest
from .sweep import Lattice, Sweep

MARGIN_MM = 15.0
"""Looked at round what the coarse model saw, at least: about what its outlines err by, and some context."""
LEAST_DICE = 0.5
"""Between the coarse and the fine mask of one organ; below it they are hardly the same organ."""


class Finder(Protocol):
    """A coarse model that sees a whole CT at once."""

    title: str
    """Its name, for people."""
    offered: tuple[int, ...]
    """The classes that it knows."""

    def find(self, volume: Volume, classes: tuple[int, ...], advance: Advance) -> Segmentation:
        """The masks of ``classes`` on the grid of the CT.

        Raises:
            ModelError, ResourceError: it cannot be run here.
            Cancelled: ``advance`` raised it.
        """


@dataclass(frozen=True, eq=False)
class Sighting:
    """Where a coarse model saw classes: ``bits`` (x, y, z) on the model's input, padding included."""

    bits: np.ndarray
    classes: tuple[int, ...]
    finder: str

    def place(self, lattice: Lattice) -> Box | None:
        """The part of the input to look at; None where one of the classes was not seen."""
        boxes = class_boxes(self.bits)
        if any(c not in boxes for c in self.classes):
            return None
        margin = max(int(np.ceil(MARGIN_MM / s)) for s in lattice.prepared.geometry.spacing)
        return lattice.widened(Box.joined(boxes[c] for c in self.classes).grown(margin, self.bits.shape))  # type: ignore[arg-type]

    def unseen(self) -> tuple[int, ...]:
        """The classes of which nothing was seen."""
        boxes = class_boxes(self.bits)
        return tuple(c for c in self.classes if c not in boxes)

    def other(self, bits: np.ndarray) -> tuple[int, ...]:
        """The classes that ``bits``, on the same grid, show elsewhere or not at all."""
        return tuple(c for c in self.classes if _dice(bits, self.bits, c) < LEAST_DICE)


def sought(wanted: Iterable[int], variant: str, offered: Iterable[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The classes that a finder must see so that ``wanted`` are found near them, and those that it cannot help with.

    A lesion that post-processing believes inside its organ alone is looked for there.
    """
    known, missing = set(offered), []
    found: set[int] = set()
    for index in wanted:
        needed = set(needed_classes((index,), variant))
        hosts = needed - {index}
        if index in known or (hosts and hosts <= known):
            found |= needed & known
        else:
            missing.append(index)
    return tuple(sorted(found)), tuple(missing)


def look(finder: Finder, volume: Volume, prepared: ModelInput, classes: tuple[int, ...], advance: Advance) -> Sighting:
    """What ``finder`` sees of ``classes``, brought to the grid of the model's input."""
    found = finder.find(volume, classes, advance)
    straight = found.geometry.to_ras
    bits = np.zeros(prepared.image.shape, dtype=found.bits.dtype)
    bits[prepared.valid] = restore_nearest(
        straight.apply(found.bits), found.geometry.reoriented(straight), prepared.geometry
    )
    return Sighting(bits, classes, finder.title)


def cut_sides(bits: np.ndarray, classes: Iterable[int], box: Box) -> tuple[tuple[int, bool], ...]:
    """The sides (axis, whether the far one) of ``box`` that a class reaches, where the volume goes on beyond them."""
    inside, of_any = bits[box.slices], bit_of(*classes)
    sides = []
    for axis, (low, high, side) in enumerate(zip(box.start, box.stop, bits.shape, strict=True)):
        if low > 0 and (np.take(inside, 0, axis) & of_any).any():
            sides.append((axis, False))
        if high < side and (np.take(inside, -1, axis) & of_any).any():
            sides.append((axis, True))
    return tuple(sides)


def grown_at(box: Box, sides: Iterable[tuple[int, bool]], by: tuple[int, int, int], shape: tuple[int, ...]) -> Box:
    """The box with ``by`` voxels per axis more at these sides, inside a volume of ``shape``."""
    start, stop = list(box.start), list(box.stop)
    for axis, is_far in sides:
        if is_far:
            stop[axis] = min(shape[axis], stop[axis] + by[axis])
        else:
            start[axis] = max(0, start[axis] - by[axis])
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


_WIDENED = 3
"""How often what is looked at grows; then all of the body is."""


def search(
    lattice: Lattice, sighting: Sighting, wanted: tuple[int, ...], found_in: Callable[[Sweep], np.ndarray]
) -> tuple[Sweep | None, int, tuple[str, ...]]:
    """Looks where ``sighting`` says, and further as long as what is found goes on.

    ``found_in`` runs a sweep and gives its cleaned bits on the model's input. Returns the last sweep, or None where
    the whole body must be looked at; how many windows were run; and what was done, in sentences.
    """
    shape, total = lattice.prepared.image.shape, lattice.everywhere().windows
    names, windows, box = _names(wanted), 0, sighting.place(lattice)
    if box is None:
        why = _("{finder} sees no {classes}").format(finder=sighting.finder, classes=_names(sighting.unseen()))
        return None, 0, (searched_everywhere(why),)
    for _try in range(_WIDENED):
        sweep = lattice.around(box)
        if windows + sweep.windows >= total:
            break
        bits = found_in(sweep)
        windows += sweep.windows
        sides = cut_sides(bits, (*wanted, *sighting.classes), sweep.kept)
        if sides:
            half = tuple(w // 2 for w in lattice.window)
            box = grown_at(sweep.kept, sides, half, shape)  # type: ignore[arg-type]
            continue
        other = sighting.other(bits)
        if other:
            why = _("what was found differs from what {finder} sees of {classes}")
            return None, windows, (searched_everywhere(why.format(finder=sighting.finder, classes=_names(other))),)
        note = _(
            "{classes} was looked for around the place where {finder} sees it, not in the whole CT: {few} windows "
            "of {all}."
        ).format(classes=names, finder=sighting.finder, few=windows, all=total)
        return sweep, windows, (note,)
    return None, windows, ((searched_everywhere(_("{classes} goes on").format(classes=names)),) if windows else ())


def searched_everywhere(why: str) -> str:
    """The sentence that tells it, with the reason."""
    return _("The whole CT was searched: {why}.").format(why=why)


def _names(classes: Iterable[int]) -> str:
    table = class_table()
    return listed(table[c].slug if c in table else str(c) for c in classes)


def _dice(one: np.ndarray, other: np.ndarray, index: int) -> float:
    a, b = (one & bit_of(index)) != 0, (other & bit_of(index)) != 0
    size = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / size if size else 1.0
