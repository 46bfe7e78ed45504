"""The new model against the one before, case by case, on all that was never trained on; it goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ...core.errors import InputError
from ...core.i18n import _
from ...core.jobs import Job
from ...core.rounds import Agreement, PairedScore
from ...core.volume import Volume
from .evaluation import (
    Examiner,
    Found,
    ProvingVoxels,
    Score,
    agreements,
    classes_of,
    nothing,
    paired,
    reference_of,
    scores_of,
)
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


@dataclass(frozen=True)
class Compared:
    """What came out: scores of what was reviewed, agreement on what was not, sentences on cases that could not be
    compared."""

    scores: tuple[PairedScore, ...]
    agreements: tuple[Agreement, ...] = ()
    notes: tuple[str, ...] = ()


OpenFinder = Callable[["ResolvedModel", Sequence[str]], Finder]


def open_examiner(device: str, gate: Callable[[], None] = lambda: None) -> OpenFinder:
    """Examiners on a device; ``gate`` as there."""
    return lambda model, wanted: Examiner(model, wanted, device, gate)


@dataclass(frozen=True, eq=False)
class Proving:
    """The comparison of a round. Masks and scores of each case are kept in ``folder`` as soon as they are there."""

    store: ProvingVoxels
    records: Sequence[ProvingRecord]
    folder: RoundFolder
    open_finder: OpenFinder

    def run(self, before: ResolvedModel, after: ResolvedModel, job: Job, gate: Callable[[], None]) -> Compared:
        """Compares the models on what was reviewed, and with one another on all else that the one before knows: it must
        not be lost unseen. Stage of the job: "proving".

        Raises:
            GenesisError: a model cannot be run.
        """
        notes: dict[str, str] = {}
        known = [label for label, c in classes_of(before.facts).items() if c in before.facts.drawn]
        sides: tuple[tuple[Side, ResolvedModel], ...] = (("before", before), ("after", after))
        for n, (side, model) in enumerate(sides):
            self._examine(side, model, known, job, gate, n / len(sides), notes)
        scores: list[PairedScore] = []
        agreed: list[Agreement] = []
        for record in self.records:
            old, new = (self._scores(side, record) for side, _model in sides)
            if old is not None and new is not None:
                gate()
                if there := self._read(record, notes):
                    scores += paired(record, old, new)
                    agreed += agreements(record, *self._found(record, there[0]), known)
        return Compared(tuple(scores), tuple(agreed), tuple(notes.values()))

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
            there = self._read(record, {})
            if there is None:
                continue
            volume, truth = there[0], there[1].masks[score.label]
            found = self._found(record, volume)
            masks = [each.masks.get(score.label, nothing(truth.shape)) for each in found]
            path = self.folder.path / "pictures" / f"{len(drawn)}.png"
            change = f"Dice {score.dice_before:.2f} to {score.dice_after:.2f}"
            caption = f"{score.label}, {score.split} case {score.case[:12]}: {change}"
            if draw_change(path, volume, masks[0], masks[1], truth, score.label, caption):
                drawn.append(Picture(path, caption, record.case))
        return tuple(drawn)

    def _examine(
        self,
        side: Side,
        model: ResolvedModel,
        known: Sequence[str],
        job: Job,
        gate: Callable[[], None],
        done: float,
        notes: dict[str, str],
    ) -> None:
        wanted = sorted({*known, *(label for record in self.records for label in record.labels)})
        finder: Finder | None = None
        for n, record in enumerate(self.records):
            job.advance("proving", done + 0.5 * n / len(self.records))
            if self.folder.has(self._name(side, record)):
                continue
            gate()
            there = self._read(record, notes)
            if there is None:
                continue
            volume, truth = there
            finder = finder or self.open_finder(model, wanted)
            try:
                found = finder.find(volume, sorted({*known, *record.labels}), job)
            except InputError as error:
                what = _("Case {case} was not compared: {why}")
                notes[record.case] = what.format(case=record.case[:12], why=error.what)
                continue
            found.save(self._masks(side, record))
            scores = {label: asdict(score) for label, score in scores_of(found, truth).items()}
            self.folder.write(self._name(side, record), scores)

    def _read(self, record: ProvingRecord, notes: dict[str, str]) -> tuple[Volume, Found] | None:
        """The CT and what was accepted; None, and a note for the case, where the store no longer has them."""
        try:
            volume = self.store.volume(record)
            return volume, reference_of(record, self.store, volume.geometry)
        except InputError:  # its words are for the store: they would hold a path, and speak of damage
            what = _("Case {case} was not compared: it was deleted or changed meanwhile, or its files are damaged.")
            notes[record.case] = what.format(case=record.case[:12])
            return None

    def _scores(self, side: Side, record: ProvingRecord) -> dict[str, Score] | None:
        if not self.folder.has(self._name(side, record)):
            return None
        return {label: Score(**score) for label, score in self.folder.read(self._name(side, record)).items()}

    def _found(self, record: ProvingRecord, volume: Volume) -> tuple[Found, Found]:
        """What was found before and after."""
        before, after = (Found.load(self._masks(side, record), volume.geometry) for side in ("before", "after"))
        return before, after

    def _name(self, side: str, record: ProvingRecord) -> str:
        return f"{side}/{file_stem(record)}.json"

    def _masks(self, side: str, record: ProvingRecord) -> Path:
        return self.folder.path / side / f"{file_stem(record)}.npz"
