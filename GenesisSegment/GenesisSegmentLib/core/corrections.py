"""What a person accepted: the masks of the reviewed classes of one CT, and how they came about.

Classes that nobody reviewed are not in it: they are unknown, never background.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from .errors import GeometryError, InputError
from .geometry import Box
from .i18n import _
from .volume import Volume


@dataclass(frozen=True, eq=False)
class BoxedMask:
    """A mask on a grid of ``shape`` that takes the memory of its box alone: ``inside`` bool (i, j, k) of ``box``.

    ``box`` is None where the mask is empty.
    """

    shape: tuple[int, int, int]
    box: Box | None
    inside: np.ndarray

    def __post_init__(self) -> None:
        expected = self.box.shape if self.box is not None else (0, 0, 0)
        fits = self.box is None or all(
            0 <= a < b <= n for a, b, n in zip(self.box.start, self.box.stop, self.shape, strict=True)
        )
        if not fits or self.inside.dtype != np.bool_ or self.inside.shape != expected:
            raise GeometryError(_("A mask does not fit its box."))

    @classmethod
    def of(cls, mask: np.ndarray) -> BoxedMask:
        """From a bool array (i, j, k) of the whole grid; what it holds is copied.

        Raises:
            GeometryError: it is not 3-D, or not of type bool.
        """
        if mask.ndim != 3 or mask.dtype != np.bool_:
            raise GeometryError(
                _("A mask is a 3-D array of bool, not {ndim}-D of {dtype}.").format(ndim=mask.ndim, dtype=mask.dtype)
            )
        shape, box = (mask.shape[0], mask.shape[1], mask.shape[2]), Box.around(mask)
        inside = mask[box.slices].copy(order="F") if box is not None else np.zeros((0, 0, 0), bool)
        return cls(shape, box, inside)

    @property
    def count(self) -> int:
        """How many voxels it has."""
        return int(np.count_nonzero(self.inside))

    def whole(self) -> np.ndarray:
        """A new bool array (i, j, k) of the whole grid, i fastest."""
        return self.within(Box.whole(self.shape))

    def within(self, box: Box) -> np.ndarray:
        """A new bool array (i, j, k) of a box that holds the mask's own, i fastest."""
        result = np.zeros(box.shape, bool, order="F")
        if self.box is not None:
            mine = (slice(a - z, b - z) for a, b, z in zip(self.box.start, self.box.stop, box.start, strict=True))
            result[tuple(mine)] = self.inside
        return result


class AcceptedClass:
    """One reviewed class: ``mask`` bool (i, j, k) on the grid of the CT, and what the model had ``proposed``.

    ``label`` is the slug of a class of the table, or the person's own name for a structure that it lacks. ``proposed``
    is None where no model had been asked for the class. Both are kept in their boxes: 25 masks of a whole CT would take
    gigabytes. ``model`` and ``model_sha256`` name the version that proposed it; "": the acceptance says it for all.
    """

    def __init__(
        self,
        label: str,
        mask: np.ndarray | BoxedMask,
        proposed: np.ndarray | BoxedMask | None = None,
        model: str = "",
        model_sha256: str = "",
    ) -> None:
        """Raises:
        GeometryError: a mask is not a 3-D array of bool.
        """
        self.label, self.model, self.model_sha256 = label, model, model_sha256
        self.boxed = mask if isinstance(mask, BoxedMask) else BoxedMask.of(mask)
        self.boxed_proposed = BoxedMask.of(proposed) if isinstance(proposed, np.ndarray) else proposed

    @property
    def mask(self) -> np.ndarray:
        """The accepted mask: a new bool array (i, j, k) at each call."""
        return self.boxed.whole()

    @property
    def proposed(self) -> np.ndarray | None:
        """The model's mask: a new bool array (i, j, k) at each call; None where no model had been asked."""
        return self.boxed_proposed.whole() if self.boxed_proposed is not None else None

    @property
    def changed_voxels(self) -> int:
        """How many voxels differ from the proposal; all of the mask where there was none."""
        before, after = self.boxed_proposed, self.boxed
        boxes = [mask.box for mask in (before, after) if mask is not None and mask.box is not None]
        if before is None or not boxes:
            return after.count
        box = Box.joined(boxes)
        return int(np.count_nonzero(before.within(box) != after.within(box)))


@dataclass(frozen=True, eq=False)
class Acceptance:
    """What was accepted in one go. ``id`` makes it known again, however often it is handed over.

    ``volume`` is the CT (int16 HU). ``patient`` is a text that tells patients apart (:func:`.identity.patient_text`),
    or "": then the CT counts as a patient of its own. Neither it nor the SeriesInstanceUID is ever written down in the
    clear. ``model`` and ``model_sha256`` name the version that ran last, which proposed every class that names no
    other. ``seconds`` were spent on correcting, ``tools`` are the editor effects that were used. ``accepted`` is UTC in
    ISO 8601.
    """

    id: str
    volume: Volume
    classes: tuple[AcceptedClass, ...]
    patient: str = ""
    model: str = ""
    model_sha256: str = ""
    seconds: float = 0.0
    tools: tuple[str, ...] = ()
    accepted: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        labels = [c.label for c in self.classes]
        if not labels or len(set(labels)) != len(labels) or not all(labels):
            raise InputError(
                _("An acceptance names each of its classes once, and at least one."), _("Review a class first.")
            )
        for c in self.classes:
            for mask in (c.boxed, c.boxed_proposed):
                if mask is not None and mask.shape != self.volume.geometry.shape:
                    raise GeometryError(
                        _("The mask of {label} does not lie on the grid of the CT.").format(label=c.label)
                    )


def new_acceptance_id() -> str:
    """A fresh id."""
    return uuid.uuid4().hex


def now() -> str:
    """This moment, UTC, ISO 8601 to the millisecond: two acceptances in one second keep their order."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
