"""How well a model does on accepted cases that it was never trained on: Dice and NSD of what a person reviewed.

The model segments each CT as it does for a person, post-processing included, and is compared on the CT's own grid.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...core.classes import class_slugs, class_table
from ...core.corrections import BoxedMask
from ...core.files import atomic_file
from ...core.geometry import Box, Geometry
from ...core.jobs import Job
from ...core.rounds import Agreement, PairedScore
from ...core.segmentation import Segmentation, pack
from ...core.volume import Volume
from ..evaluate import TOLERANCE_MM, evaluate, surface_scores
from ..inference.segmenter import Segmenter
from ..inference.spec import RunOptions
from ..open_model import open_segmenter

if TYPE_CHECKING:
    from ..models.catalogue import ModelFacts
    from ..models.resolved import ResolvedModel
    from ..store.records import ProvingRecord

EMPTY_ML = 1.0
"""Where a reference is empty, this much found wrongly halves the score."""


class ProvingVoxels(Protocol):
    """Where the voxels of accepted cases are kept (:class:`GenesisSegmentLib.engine.store.CaseStore`)."""

    def volume(self, record: ProvingRecord) -> Volume:
        """The CT."""

    def mask(self, record: ProvingRecord, label: str) -> np.ndarray:
        """The accepted mask, bool (i, j, k) on the grid of the CT."""


@dataclass(frozen=True, eq=False)
class Found:
    """What is where on one CT: ``masks`` by label, on ``geometry``. A label that is missing was not looked for."""

    geometry: Geometry
    masks: Mapping[str, BoxedMask]

    def segmentation(self) -> Segmentation:
        """The classes of the table among them."""
        indices = class_slugs()
        masks = ((indices[label], mask.whole()) for label, mask in self.masks.items() if label in indices)
        known = tuple(sorted(indices[label] for label in self.masks if label in indices))
        return Segmentation(pack(masks, self.geometry.shape), self.geometry, known)

    def save(self, path: Path) -> None:
        """Writes the masks, each in its box.

        Raises:
            OutputError: it could not be written; nothing half-written is left.
        """
        arrays: dict[str, np.ndarray] = {"labels": np.array(list(self.masks))}
        for n, mask in enumerate(self.masks.values()):
            arrays[f"mask{n}"] = np.packbits(mask.inside)
            arrays[f"box{n}"] = np.array([*mask.box.start, *mask.box.stop] if mask.box else [])
        with atomic_file(path) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path, geometry: Geometry) -> Found:
        """Masks that :meth:`save` wrote."""
        masks = {}
        with np.load(path) as arrays:
            for n, label in enumerate(arrays["labels"].tolist()):
                at = [int(value) for value in arrays[f"box{n}"]]
                box = Box((at[0], at[1], at[2]), (at[3], at[4], at[5])) if at else None
                shape = box.shape if box else (0, 0, 0)
                flat = np.unpackbits(arrays[f"mask{n}"], count=int(np.prod(shape)))
                masks[label] = BoxedMask(geometry.shape, box, flat.reshape(shape).astype(bool))
        return cls(geometry, masks)


@dataclass(frozen=True)
class Score:
    """Agreement on one class of one case. ``is_empty``: it is neither in the reference nor found."""

    dice: float
    nsd: float | None = None
    is_empty: bool = False


def classes_of(facts: ModelFacts) -> dict[str, int]:
    """The class index of every label that a model has a channel for."""
    table = {class_table()[c].slug: c for c in facts.classes}
    return {**table, **dict(zip(facts.own, facts.own_classes, strict=True))}


class Examiner:
    """A model that segments CTs one after the other.

    ``gate`` is called at every layer of its network and every other piece of work, and may wait there. ``wanted`` are
    all labels that it will be asked for. Classes of the table among them are looked for even where the model does not
    offer them, as they may be what it has to learn.
    """

    def __init__(
        self,
        model: ResolvedModel,
        wanted: Sequence[str],
        device: str = "auto",
        gate: Callable[[], None] = lambda: None,
    ) -> None:
        facts = model.facts
        self._classes = classes_of(facts)
        asked = {self._classes[label] for label in wanted if label in self._classes} & set(facts.classes)
        self._model = replace(model, facts=replace(facts, offered=tuple(sorted({*facts.offered, *asked}))))
        self._device, self._job = device, Job(lambda progress: _give_way(gate))
        self._segmenter: Segmenter | None = None

    def find(self, volume: Volume, wanted: Sequence[str], job: Job) -> Found:
        """The masks of those of the ``wanted`` labels that the model has a channel for, on the CT's own grid.

        Raises:
            GenesisError: see :meth:`..inference.segmenter.Segmenter.segment`.
        """
        self._job.renew()
        job.on_cancel(self._job.cancel)
        job.check()
        chosen = {label: self._classes[label] for label in wanted if label in self._classes}
        if not chosen:
            return Found(volume.geometry, {})
        self._segmenter = self._segmenter or open_segmenter(self._model, self._job, device=self._device)
        classes = tuple(sorted(chosen.values()))
        # No other model may have a part in what is judged.
        result = self._segmenter.segment(volume, RunOptions(classes, everywhere=True)).segmentation
        return Found(volume.geometry, {label: BoxedMask.of(result.mask(c)) for label, c in chosen.items()})


def _give_way(gate: Callable[[], None]) -> None:
    """Passes the gate; a graphics card is not left with more work than a layer: see :mod:`.gating`."""
    gate()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def reference_of(record: ProvingRecord, store: ProvingVoxels, geometry: Geometry) -> Found:
    """What the person accepted."""
    return Found(geometry, {label: BoxedMask.of(store.mask(record, label)) for label in record.labels})


def scores_of(found: Found, truth: Found) -> dict[str, Score]:
    """Agreement on every label of ``truth``; organs include their lesions on both sides, as in :mod:`..evaluate`.

    A label that ``found`` lacks counts as not found. Where the reference is empty, the Dice that is given is 1 for
    nothing found, and falls with what is found: ``EMPTY_ML`` halves it. It must not be left out, or a model that
    finds lesions everywhere would look good.
    """
    masks = {label: found.masks.get(label, nothing(mask.shape)) for label, mask in truth.masks.items()}
    prediction = Found(found.geometry, masks)
    indices, scores = class_slugs(), {}
    table = [label for label in truth.masks if label in indices]
    if table:
        reference = truth.segmentation()
        for score in evaluate(prediction.segmentation(), reference, reference.classes):
            if score.dice is not None:
                scores[score.name] = Score(score.dice, score.nsd)
            else:
                scores[score.name] = _of_empty(score.predicted_ml or 0.0)
    for label in truth.masks:
        if label not in indices:
            scores[label] = _own_score(prediction.masks[label], truth.masks[label], truth.geometry)
    return scores


def paired(record: ProvingRecord, before: Mapping[str, Score], after: Mapping[str, Score]) -> tuple[PairedScore, ...]:
    """The scores of a case side by side; without those where there was nothing to find and nothing was found."""
    return tuple(
        PairedScore(
            label, record.case, record.patient, record.split, old.dice, after[label].dice, old.nsd, after[label].nsd
        )
        for label, old in before.items()
        if not (old.is_empty and after[label].is_empty)
    )


def agreements(record: ProvingRecord, before: Found, after: Found, labels: Iterable[str]) -> tuple[Agreement, ...]:
    """How much two models agree on those of the ``labels`` that nobody reviewed in a case.

    Without those that neither found, or that the first did not look for; what the second did not look for counts as not
    found.
    """
    ml, pairs = before.geometry.voxel_ml, []
    for label in sorted(set(labels) - set(record.labels)):
        one = before.masks.get(label)
        if one is not None:
            pairs.append((label, one, after.masks.get(label, nothing(one.shape))))
    return tuple(
        Agreement(label, record.case, record.patient, _dice(one, other), one.count * ml, other.count * ml)
        for label, one, other in pairs
        if one.count or other.count
    )


def nothing(shape: tuple[int, int, int]) -> BoxedMask:
    """A mask without a voxel."""
    return BoxedMask(shape, None, np.zeros((0, 0, 0), bool))


def _own_score(found: BoxedMask, truth: BoxedMask, geometry: Geometry) -> Score:
    if truth.box is None:
        return _of_empty(found.count * geometry.voxel_ml)
    if found.box is None:
        return Score(0.0, 0.0)
    box = Box.joined([found.box, truth.box])
    one, other = found.within(box), truth.within(box)
    nsd, _ = surface_scores(one, other, geometry.spacing, TOLERANCE_MM)
    return Score(_dice(found, truth), nsd)


def _dice(one: BoxedMask, other: BoxedMask) -> float:
    """Of two masks, of which one at least holds something."""
    box = Box.joined(mask.box for mask in (one, other) if mask.box is not None)
    return 2 * int(np.count_nonzero(one.within(box) & other.within(box))) / (one.count + other.count)


def _of_empty(found_ml: float) -> Score:
    return Score(EMPTY_ML / (EMPTY_ML + found_ml), is_empty=found_ml == 0)
