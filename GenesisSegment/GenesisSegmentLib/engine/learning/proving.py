"""The new model against the one before, case by case, on all that was never trained on; it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from ...core.corrections import BoxedMask
from ...core.errors import InputError
from ...core.jobs import Job
from ...core.rounds import PairedScore
from ...core.volume import Volume
from .evaluation import Examiner, Found, ProvingVoxels, Score, paired, reference_of, scores_of
from .pictures import draw_change
from .report import Picture
from .round_folder import RoundFolder, file_stem

if TYPE_CHECKING:
    from ..models.resolved import ResolvedModel
    from ..store.records import ProvingRecord

PICTURES = 6
Side = Literal["before", "after"]


class Finder(Protocol):
    """What finds masks in a CT: an :class:`.evaluation.Examiner`."""

    def find(self, volume: Volume, wanted: Sequence[str], job: Job) -> Found:
        """The masks of the wanted labels that it knows."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A model in the comparison, and the names of its channels."""

    model: ResolvedModel
    labels: tuple[str, ...]


OpenFinder = Callable[[Contender, Sequence[str]], Finder]


def open_examiner(device: str) -> OpenFinder:
    """Examiners on a device."""
    return lambda contender, wanted: Examiner(contender.model, contender.labels, wanted, device)


@dataclass(frozen=True, eq=False)
class Proving:
    """The comparison of a round. Masks and scores of each case are kept in ``folder`` as soon as they are there."""

    store: ProvingVoxels
    records: Sequence[ProvingRecord]
    folder: RoundFolder
    open_finder: OpenFinder

    def run(
        self, before: Contender, after: Contender, job: Job, gate: Callable[[], None]
    ) -> tuple[tuple[PairedScore, ...], tuple[str, ...]]:
        """The scores, and sentences on cases that could not be compared. Stage of the job: "proving".

        Raises:
            GenesisError: a model cannot be run.
        """
        notes: list[str] = []
        sides: tuple[tuple[Side, Contender], ...] = (("before", before), ("after", after))
        for n, (side, contender) in enumerate(sides):
            self._examine(side, contender, job, gate, n / len(sides), notes)
        scores: list[PairedScore] = []
        for record in self.records:
            found = [self._scores(side, record) for side, _ in sides]
            if found[0] is not None and found[1] is not None:
                scores += paired(record, found[0], found[1])
        return tuple(scores), tuple(dict.fromkeys(notes))

    def pictures(self, scores: Sequence[PairedScore], most: int = PICTURES) -> tuple[Picture, ...]:
        """PNG files of the classes and cases whose Dice changed most, the largest change first. None of a case that was
        changed or deleted since it was compared.

        Raises:
            OutputError: they could not be written.
        """
        by_case = {record.case: record for record in self.records}
        order = sorted(scores, key=lambda s: (-abs(s.dice_after - s.dice_before), s.case, s.label))
        drawn: list[Picture] = []
        for score in order:
            if len(drawn) == most:
                break
            record = by_case.get(score.case)
            if record is None or not all(self._masks(side, record).is_file() for side in ("before", "after")):
                continue
            volume = self.store.volume(record)
            truth = reference_of(record, self.store, volume.geometry).masks[score.label]
            found = [Found.load(self._masks(side, record), volume.geometry).masks for side in ("before", "after")]
            masks = [each.get(score.label) or _nothing(truth) for each in found]
            path = self.folder.path / "pictures" / f"{len(drawn)}.png"
            change = f"Dice {score.dice_before:.2f} to {score.dice_after:.2f}"
            caption = f"{score.label}, {score.split} case {score.case[:12]}: {change}"
            if draw_change(path, volume, masks[0], masks[1], truth, score.label, caption):
                drawn.append(Picture(path, caption))
        return tuple(drawn)

    def _examine(
        self, side: Side, contender: Contender, job: Job, gate: Callable[[], None], done: float, notes: list[str]
    ) -> None:
        wanted = sorted({label for record in self.records for label in record.labels})
        finder: Finder | None = None
        for n, record in enumerate(self.records):
            job.advance("proving", done + 0.5 * n / len(self.records))
            if self.folder.has(self._name(side, record)):
                continue
            gate()
            finder = finder or self.open_finder(contender, wanted)
            try:
                volume = self.store.volume(record)
                found = finder.find(volume, record.labels, job)
            except InputError as error:
                notes.append(f"Case {record.case[:12]} was not compared: {error.what}")
                continue
            truth = reference_of(record, self.store, volume.geometry)
            found.save(self._masks(side, record))
            scores = {label: asdict(score) for label, score in scores_of(found, truth).items()}
            self.folder.write(self._name(side, record), scores)

    def _scores(self, side: Side, record: ProvingRecord) -> dict[str, Score] | None:
        if not self.folder.has(self._name(side, record)):
            return None
        return {label: Score(**score) for label, score in self.folder.read(self._name(side, record)).items()}

    def _name(self, side: str, record: ProvingRecord) -> str:
        return f"{side}/{file_stem(record)}.json"

    def _masks(self, side: str, record: ProvingRecord) -> Path:
        return self.folder.path / side / f"{file_stem(record)}.npz"


def _nothing(like: BoxedMask) -> BoxedMask:
    return BoxedMask(like.shape, None, np.zeros((0, 0, 0), bool))
