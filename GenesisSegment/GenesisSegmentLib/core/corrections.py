"""What a person accepted: the masks of the reviewed classes of one CT, and how they came about.

Classes that nobody reviewed are not in it: they are unknown, never background.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from .errors import GeometryError, InputError
from .volume import Volume


@dataclass(frozen=True, eq=False)
class AcceptedClass:
    """One reviewed class: ``mask`` bool (i, j, k) on the grid of the CT, and what the model had ``proposed``.

    ``label`` is the slug of a class of the table, or the person's own name for a structure that it lacks. ``proposed``
    is None where no model had been asked for the class.
    """

    label: str
    mask: np.ndarray
    proposed: np.ndarray | None = None

    @property
    def changed_voxels(self) -> int:
        """How many voxels differ from the proposal; all of the mask where there was none."""
        if self.proposed is None:
            return int(np.count_nonzero(self.mask))
        return int(np.count_nonzero(self.mask != self.proposed))


@dataclass(frozen=True, eq=False)
class Acceptance:
    """What was accepted in one go. ``id`` makes it known again, however often it is handed over.

    ``volume`` is the CT (int16 HU). ``patient`` is a text that tells patients apart (the PatientID of DICOM), or "":
    then the CT counts as a patient of its own. Neither it nor the SeriesInstanceUID is ever written down in the clear.
    ``model`` and ``model_sha256`` name the version that made the proposal. ``seconds`` were spent on correcting,
    ``tools`` are the editor effects that were used. ``accepted`` is UTC in ISO 8601.
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
            raise InputError("An acceptance names each of its classes once, and at least one.", "Review a class first.")
        for c in self.classes:
            for mask in (c.mask, c.proposed):
                if mask is not None and (mask.dtype != np.bool_ or mask.shape != self.volume.geometry.shape):
                    raise GeometryError(f"The mask of {c.label} does not lie on the grid of the CT.")


def new_acceptance_id() -> str:
    """A fresh id."""
    return uuid.uuid4().hex


def now() -> str:
    """This moment, UTC, ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
