"""A round that is killed: the real store, versions, trainer and order of events; a tiny network learns.

What would take minutes stands for itself: the network that is kept is the starter as it was, and the masks of both
models are made up, so that the new one is better.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from GenesisSegmentLib.core.corrections import BoxedMask
from GenesisSegmentLib.core.errors import GenesisError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.rounds import ENDED, GateRule
from GenesisSegmentLib.core.volume import Volume
from GenesisSegmentLib.engine.learning.evaluation import Found
from GenesisSegmentLib.engine.learning.recipe import LearningRecipe
from GenesisSegmentLib.engine.learning.round import Surroundings, run_round
from GenesisSegmentLib.engine.learning.round_folder import RoundFolders, RoundRequest
from GenesisSegmentLib.engine.learning.teaching import Lesson, Taught
from GenesisSegmentLib.engine.learning.trainer import Learner
from GenesisSegmentLib.engine.models.catalogue import load_catalogue
from GenesisSegmentLib.engine.models.resolved import ResolvedModel
from GenesisSegmentLib.engine.models.store import ModelStore
from learning_builders import CHANNELS, a_case, a_network

from .scenarios import Prepared, Scenario, check_cases, unharmed
from .world import World, acceptance

_SLOW_TO_IMPORT = (
    *("alembic", "lightning_fabric", "matplotlib.backends.backend_agg", "matplotlib.figure", "monai.networks.nets"),
    *("onnx", "onnxruntime", "tensorboardX"),
)
"""Imported once, here, and not by each copy of this process."""
_PATIENTS, _STEPS = 5, 3
_RULE = GateRule(needed=1, level=0.5)
"""One patient must do."""


def _prepare(world: World, chance: random.Random) -> Prepared:
    for name in _SLOW_TO_IMPORT:
        importlib.import_module(name)
    missing = 2 * _PATIENTS - len(world.noted("put"))
    if missing > 0:
        unharmed(world, lambda: world.accept(world.next_numbers(missing)))
        unharmed(world, world.ingest)
    world.note("ended before", _ended(world))
    return lambda: _run_round(world)


def _run_round(world: World) -> None:
    torch.set_num_threads(1)
    models = ModelStore(world.folder / "models", load_catalogue(), versions=world.versions)
    folders = RoundFolders(world.folder / "rounds")
    around = Surroundings(world.versions, models, folders, teach=_teach, open_finder=_open_finder)
    with world.store() as store:
        run_round(store, world.versions, RoundRequest(steps=_STEPS, rule=_RULE), surroundings=around)


def _teach(lesson: Lesson, job: Job, gate: Callable[[], None], on_step: Callable[[int, float], None]) -> Taught:
    """The real trainer on a tiny network, written down after every step."""
    recipe = LearningRecipe(steps=_STEPS, budget_s=0.0, accumulate=1, pseudo=False, checkpoint_every_s=0.0)
    folder = lesson.folder / "learning"
    learned = Learner(
        a_network(), CHANNELS, [a_case(side=16)], recipe, folder, job, gate=gate, stage="learning", on_step=on_step
    ).run()
    fresh = tuple(record.case for record in lesson.fresh)
    return Taught(replace(learned, network=lesson.base.network), lesson.base.channels, fresh)


class _Finder:
    """Finds what was accepted, or nothing."""

    def __init__(self, is_good: bool) -> None:
        self._is_good = is_good

    def find(self, volume: Volume, wanted: Sequence[str], job: Job) -> Found:
        job.check()
        masks = {name: np.zeros(volume.geometry.shape, bool) for name in wanted}
        if self._is_good:
            known = (acceptance(number) for number in range(2 * _PATIENTS))
            same = next(a for a in known if np.array_equal(a.volume.voxels, volume.voxels))
            masks |= {c.label: c.mask for c in same.classes if c.label in masks}
        return Found(volume.geometry, {name: BoxedMask.of(mask) for name, mask in masks.items()})


def _open_finder(device: str) -> Callable[[ResolvedModel, Sequence[str]], Any]:
    return lambda model, wanted: _Finder(model.name == "the new model")


def _check(world: World) -> Iterator[str]:
    """The current model opens; the round ends once, however often it is begun; the cases are as they were."""
    folders, before = RoundFolders(world.folder / "rounds"), world.noted("ended before")[-1]
    try:
        yield from _wrong_versions(world)
        if folders.unfinished() is not None or len(_ended(world)) == len(before):
            unharmed(world, lambda: _run_round(world))
        if folders.unfinished() is not None:
            yield "the round has not ended"
        new = [name for name in _ended(world) if name not in before]
        if len(new) != 1:
            yield f"{len(new)} rounds ended, not one"
        yield from _wrong_versions(world)
        with world.store() as store:
            rounds = store.rounds()
        if [r.id for r in rounds if r.state not in ENDED]:
            yield "a round is still said to run"
        made = [version for version in world.versions.versions() if version.round in new]
        last = rounds[-1]
        if [version.name for version in made] != [last.version]:
            yield f"the round made {[version.name for version in made]}, its record says {last.version!r}"
        current = world.versions.current()
        if last.state != "promoted" or current is None or current.name != last.version:
            yield f"the round ended {last.state} ({last.reason}), and {current and current.name} is current"
        world.versions.rollback()
        world.versions.use(last.version)
    except GenesisError as error:
        yield f"{type(error).__name__}: {error}"
    yield from check_cases(world)


def _wrong_versions(world: World) -> Iterator[str]:
    versions = world.versions
    for version in versions.versions():
        versions.resolve(version.name)
    current = versions.current()
    if current is not None and current.name not in versions:
        yield "the current version is gone"


def _ended(world: World) -> list[str]:
    if not (world.folder / "cases").is_dir():
        return []
    with world.store() as store:
        return [r.id for r in store.rounds() if r.state in ENDED]


ROUND = Scenario("round", _prepare, _check)
