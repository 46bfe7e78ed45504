"""Stores of small phantoms for the tests of rounds, and stand-ins for learning and for the models that are compared."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass, BoxedMask
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.identity import hashed
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.outbox import StoredAcceptance
from GenesisSegmentLib.core.resources import resource
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.engine.learning.evaluation import Found
from GenesisSegmentLib.engine.learning.recipe import Learned, LearningRecipe
from GenesisSegmentLib.engine.learning.round import Surroundings
from GenesisSegmentLib.engine.learning.round_folder import RoundFolders
from GenesisSegmentLib.engine.learning.teaching import Lesson, Taught
from GenesisSegmentLib.engine.learning.version_files import STEM
from GenesisSegmentLib.engine.learning.versions import VersionStore
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.models.resolved import ResolvedModel
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.engine.phantom import phantom_ct, phantom_labels
from GenesisSegmentLib.engine.store import CaseStore

SALT = bytes(range(32))
"""Of the program that accepted; the store need not know it."""
SPACING_MM = 8.0
KIDNEYS = {2: 3, 3: 2}
MOVED = ("liver", "pancreas")
"""What a poor model finds in the wrong place."""

Distort = Callable[[np.ndarray], np.ndarray]


def shifted(mask: np.ndarray) -> np.ndarray:
    """What a poor model proposes: two voxels too far to the right."""
    return np.roll(mask, 2, axis=0)


@cache
def a_scan(number: int) -> tuple[Volume, np.ndarray]:
    """The abdomen of phantom ``number`` and its label map."""
    ct, (labels, geometry) = phantom_ct(SPACING_MM, seed=number), phantom_labels(SPACING_MM, seed=number)
    middle = geometry.shape[0] // 2, geometry.shape[1] // 2
    box = Box((middle[0] - 16, middle[1] - 10, 22), (middle[0] + 12, middle[1] + 10, 36))
    source = Source(Path(f"phantom{number}"), f"phantom{number}", series_uid=f"1.2.3.{number}")
    part = np.asfortranarray(ct.voxels[box.slices])
    return Volume(part, geometry.cropped(box), source), labels[box.slices]


def an_acceptance(number: int, classes: Sequence[int | str] = (6,), is_swapped: bool = False) -> StoredAcceptance:
    """Patient ``number`` with these classes corrected; a name is a structure of one's own, in the place of the spleen.

    ``is_swapped``: the left kidney was accepted as the right one, and the right one as the left.
    """
    ct, labels = a_scan(number)
    accepted = []
    for c in classes:
        value = 1 if isinstance(c, str) else KIDNEYS[c] if is_swapped and c in KIDNEYS else c
        mask = labels == value
        name = c if isinstance(c, str) else class_table()[c].slug
        accepted.append(AcceptedClass(name, mask, shifted(mask) if not is_swapped else labels == c))
    case = hashed(SALT, f"series:{ct.source.series_uid}")
    nameless = replace(ct, source=replace(ct.source, series_uid=case, name=case[:12]))
    whole = Acceptance(f"a{number}", nameless, tuple(accepted), model="starter", accepted="2026-01-01T00:00:00+00:00")
    return StoredAcceptance(whole, case, hashed(SALT, f"patient:{number}"))


def a_store(
    folder: Path, patients: int = 5, classes: Sequence[int | str] = (6,), swapped: bool = False, times: int = 1
) -> CaseStore:
    """A store with so many patients; of the first five, numbers 2 (holdout) and 4 judge.

    All is accepted so many ``times``: what is accepted again is confirmed.
    """
    store = CaseStore.open(folder)
    for number in range(patients):
        is_poisoned = swapped and number not in (2, 4)
        stored = an_acceptance(number, classes, is_poisoned)
        for n in range(times):
            store.add(
                replace(stored, acceptance=replace(stored.acceptance, id=f"a{number}-{n}" if n else f"a{number}"))
            )
    return store


def write_shipped_starter(network: object, facts: object, folder: Path) -> Path:
    """The shipped starter in the place of the file of what was learned, whose writing is tested elsewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in (".json", ".onnx"):
        shutil.copyfile(resource(f"Models/genesis_starter{suffix}"), folder / f"{STEM}{suffix}")
    return folder / f"{STEM}.onnx"


def teach_nothing(lesson: Lesson, job: Job, gate: Callable[[], None], on_step: Callable[[int, float], None]) -> Taught:
    """In the place of learning: the base as it is, after two steps."""
    job.advance("preparing", 1.0)
    for step in (1, 2):
        gate()
        job.advance("learning", step / 2)
        on_step(step, 1.0 / step)
    learned = Learned(lesson.base.network, 2, (1.0, 0.5), 1.0, LearningRecipe())
    return Taught(learned, lesson.base.channels, tuple(record.case for record in lesson.fresh))


@dataclass
class Finder:
    """Finds the phantom's own labels: ``MOVED`` ones ``shift`` voxels too far to the right, a ``lost`` one nowhere."""

    shift: int
    lost: str = ""

    def find(self, volume: Volume, wanted: Sequence[str], job: Job) -> Found:
        job.check()
        number = next(n for n in range(20) if np.array_equal(a_scan(n)[0].voxels, volume.voxels))
        labels = a_scan(number)[1]
        indices = {c.slug: c.index for c in class_table().values()}
        masks = {name: (labels == indices.get(name, 1)) & (name != self.lost) for name in wanted}
        masks |= {name: np.roll(masks[name], self.shift, axis=0) for name in MOVED if name in masks}
        return Found(volume.geometry, {name: BoxedMask.of(mask) for name, mask in masks.items()})


def models_that_shift(
    before: int, after: int, lost: str = ""
) -> Callable[[str], Callable[[ResolvedModel, Sequence[str]], Finder]]:
    """In the place of both models: how far off they are, and what the new one has ``lost``."""

    def open_on(device: str) -> Callable[[ResolvedModel, Sequence[str]], Finder]:
        return lambda model, wanted: Finder(after, lost) if model.name == "the new model" else Finder(before)

    return open_on


def surroundings(folder: Path, **changes) -> Surroundings:
    """Everything in ``folder``, with stand-ins for learning and for the models."""
    versions = VersionStore(folder / "versions")
    models = ModelStore(folder / "models", load_catalogue(), versions=versions)
    usual = {"teach": teach_nothing, "open_finder": models_that_shift(2, 0)}
    return Surroundings(versions, models, RoundFolders(folder / "rounds"), **(usual | changes))
