"""A workstation of its own in a folder: outbox, case store, models, rounds, and a clinician whose answers are known.

The clinician accepts the reference labels of a case, as somebody would who corrected the proposal to perfection; a
poisoned acceptance holds what somebody would accept by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ... import __version__
from ...core.classes import class_slugs, class_table
from ...core.corrections import Acceptance, AcceptedClass, new_acceptance_id, now
from ...core.errors import InputError
from ...core.geometry import Geometry
from ...core.jobs import Job
from ...core.outbox import Outbox
from ...core.rounds import RoundRecord
from ...core.volume import Volume
from ..images.reading import read_volume
from ..inference.spec import RunOptions
from ..labels import read_labels, read_named
from ..learning.round import RoundRequest, run_round
from ..learning.round_folder import RoundFolders
from ..learning.versions import CURRENT, VersionStore
from ..models.catalogue import load_catalogue
from ..models.store import ModelStore
from ..open_model import open_segmenter
from ..store import CaseStore

Mistake = Literal["none", "swapped", "empty", "shifted"]
MISTAKES: tuple[Mistake, ...] = ("swapped", "empty", "shifted")
SHIFT_MM = 30.0
"""How far along the first axis shifted masks lie from where they belong."""


@dataclass(frozen=True)
class Patient:
    """A case of the data: its folder (ct.nii.gz, labels.nii.gz, labels.json), and the labels that are reviewed."""

    folder: Path
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the case."""
        return self.folder.name


class Clinic:
    """Everything that GenesisSegment keeps, below ``folder``; nothing of the person's own is touched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.versions = VersionStore(folder / "versions")
        self.models = ModelStore(folder / "models", load_catalogue(), versions=self.versions)
        self._rounds = RoundFolders(folder / "rounds")

    def accept(self, patient: Patient, mistake: Mistake = "none") -> None:
        """Segments a CT with the current model, corrects it, and puts it into the case store.

        Raises:
            InputError: the labels do not hold what is to be reviewed.
        """
        acceptance = self._acceptance(patient, mistake)
        with CaseStore.open(self._folder / "cases") as store:
            outbox = Outbox(self._folder / "outbox", store.salt)
            outbox.put(acceptance)
            store.ingest(outbox)

    def learn(self, request: RoundRequest, report: Callable[[int, float], None]) -> RoundRecord:
        """A round, to its end."""
        with CaseStore.open(self._folder / "cases") as store:
            return run_round(store, self.versions, request, on_step=report, folders=self._rounds)

    def _acceptance(self, patient: Patient, mistake: Mistake) -> Acceptance:
        volume = read_volume(patient.folder / "ct.nii.gz")
        truth = _reference(patient)
        proposed = self._proposal(volume, patient.labels)
        masks = mistaken(truth, mistake, volume.geometry)
        model = self.models.resolve(CURRENT)
        return Acceptance(
            id=new_acceptance_id(),
            volume=volume,
            classes=tuple(AcceptedClass(label, masks[label], proposed.get(label)) for label in patient.labels),
            patient=patient.name,
            model=model.name,
            model_sha256=model.sha256,
            accepted=now(),
            version=__version__,
        )

    def _proposal(self, volume: Volume, labels: Sequence[str]) -> dict[str, np.ndarray]:
        model = self.models.resolve(CURRENT)
        wanted = tuple(c for c in model.facts.offered if class_table()[c].slug in labels)
        if not wanted:
            return {}
        result = open_segmenter(model, Job()).segment(volume, RunOptions(wanted)).segmentation
        return {class_table()[c].slug: result.mask(c) for c in wanted}


def _reference(patient: Patient) -> dict[str, np.ndarray]:
    path = patient.folder / "labels.nii.gz"
    slugs = class_slugs()
    own = [label for label in patient.labels if label not in slugs]
    masks: dict[str, np.ndarray] = {}
    if len(own) < len(patient.labels):
        found = read_labels(patient.folder).segmentation
        lacking = [label for label in patient.labels if label in slugs and slugs[label] not in found.classes]
        if lacking:
            raise InputError(f"{path} was not drawn for {', '.join(lacking)}.", "Review other classes.")
        masks = {label: found.mask(slugs[label]) for label in patient.labels if label in slugs}
    if own:
        named = read_named(path, own).segmentation
        masks |= {label: named.mask(n) for n, label in enumerate(own, 1)}
    return masks


def mistaken(masks: dict[str, np.ndarray], mistake: Mistake, geometry: Geometry) -> dict[str, np.ndarray]:
    """What somebody would accept who mixes up left and right, accepts nothing, or works on a shifted CT."""
    if mistake == "swapped":
        return {label: masks.get(_other_side(label), mask) for label, mask in masks.items()}
    if mistake == "empty":
        return {label: np.zeros_like(mask) for label, mask in masks.items()}
    if mistake == "shifted":
        voxels = round(SHIFT_MM / geometry.spacing[0])
        return {label: np.roll(mask, voxels, axis=0) for label, mask in masks.items()}
    return masks


def _other_side(label: str) -> str:
    if label.endswith("_left"):
        return label.removesuffix("_left") + "_right"
    return label.removesuffix("_right") + "_left"
