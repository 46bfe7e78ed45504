"""From the records of a round to a network that has learned from them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.classes import class_slugs, class_table
from ...core.errors import InputError
from ...core.i18n import _, together
from ...core.jobs import Job
from ..devices import choose_device
from ..inference.spec import ModelSpec
from .base import Base
from .channels import Channels
from .doubting import doubt_of
from .material import LearningCase, Voxels, from_disk, learning_case, on_disk
from .recipe import Learned, LearningRecipe
from .replay import remembered, trace_of
from .round_folder import RoundRequest, file_stem
from .team import Learn, PreparedCase, Task, alone

if TYPE_CHECKING:
    from ..store.records import TrainingRecord


@dataclass(frozen=True, eq=False)
class Taught:
    """What learning brought: see :class:`.recipe.Learned`, the names of the channels, the cases that were learned
    from, those that were shown again, and sentences on cases that could not be used."""

    learned: Learned
    channels: Channels
    fresh: tuple[str, ...]
    replayed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Lesson:
    """What there is to learn: ``fresh`` records, and ``earlier`` ones that the base has learned from already: these are
    shown again, and learned from anew where no fresh one can be used."""

    base: Base
    fresh: Sequence[TrainingRecord]
    earlier: Sequence[TrainingRecord]
    store: Voxels
    request: RoundRequest
    folder: Path


def teach(
    lesson: Lesson,
    job: Job,
    gate: Callable[[], None],
    on_step: Callable[[int, float], None],
    learn: Learn = alone,
) -> Taught:
    """Prepares the cases, chooses what is shown again, and learns. Stages of the job: "preparing" and "learning".

    A killed run goes on: prepared cases and the state of the trainer lie in the folder. ``learn`` does the learning.

    Raises:
        InputError: none of the cases can be used.
        Cancelled, LearningError, ResourceError, OutputError: see :meth:`.trainer.Learner.run`.
    """
    from .channels import widened
    from .trainer import LOG_FOLDER

    base, request = lesson.base, lesson.request
    spec = ModelSpec.of(base.name, base.facts)
    notes: list[str] = []
    fresh = _prepared(lesson, lesson.fresh, spec, job, gate, notes)
    earlier = _prepared(lesson, lesson.earlier, spec, job, gate, notes) if request.replay or not fresh else []
    if not fresh:  # everything again, for longer
        fresh, earlier = earlier, []
    if not fresh:
        raise InputError(together(_("None of the accepted cases can be learned from."), *notes))
    own = [label for case in (*fresh, *earlier) for label in case.labels if label not in class_slugs()]
    channels = base.channels.extended(own)
    again = remembered(earlier, lambda case: trace_of(base.network, base.channels, case, spec.window, request.seed))
    job.advance("preparing", 1.0)
    recipe = LearningRecipe(
        mode=request.mode,
        steps=request.steps,
        budget_s=request.budget_s,
        crop=spec.window,
        learning_rate=request.learning_rate,
        seed=request.seed,
        device=choose_device(request.device, "torch"),
        replay=request.replay,
        pseudo=request.pseudo and not base.is_fresh,
    )
    places = {record.case: _place(lesson, record) for record in (*lesson.fresh, *lesson.earlier)}
    task = Task(
        widened(base.network, len(channels), request.seed),
        channels,
        tuple(PreparedCase(places[case.case], case.is_replayed) for case in (*fresh, *again)),
        recipe,
        lesson.folder / "learning",
        None if base.is_fresh else base.network,
        known_channels(base),
    )
    learned = learn(task, job, gate, on_step)
    logs = lesson.folder / "learning" / LOG_FOLDER
    if logs.is_dir():
        shutil.copytree(logs, lesson.folder / LOG_FOLDER, dirs_exist_ok=True)
    used, shown_again = (tuple(case.case for case in cases) for cases in (fresh, again))
    return Taught(learned, channels, used, shown_again, tuple(notes))


def known_channels(base: Base) -> tuple[int, ...]:
    """The channels that the base has really learned: the classes that it offers, and structures of one's own."""
    offered = [class_table()[c].slug for c in base.facts.offered]
    return tuple(base.channels.channel(label) for label in (*offered, *base.channels.own()))


def _prepared(
    lesson: Lesson,
    records: Sequence[TrainingRecord],
    spec: ModelSpec,
    job: Job,
    gate: Callable[[], None],
    notes: list[str],
) -> list[LearningCase]:
    """The cases on the model's grid, in files: those of an earlier attempt that did not change are taken.

    Left out are cases that the model cannot see, and those whose masks do not lie where they should.
    """

    def pause() -> None:
        gate()
        job.check()

    cases = []
    for n, record in enumerate(records):
        pause()
        job.advance("preparing", 0.9 * n / len(records))
        try:
            case = _on_grid(lesson, record, spec, gate)
        except InputError as error:
            what = _("Case {case} was left out: {why}")
            notes.append(what.format(case=record.case[:12], why=error.what))
            continue
        if doubt := doubt_of(record, case, pause):
            notes.append(doubt)
        else:
            cases.append(case)
    return cases


def _place(lesson: Lesson, record: TrainingRecord) -> Path:
    return lesson.folder / "material" / file_stem(record)


def _on_grid(lesson: Lesson, record: TrainingRecord, spec: ModelSpec, gate: Callable[[], None]) -> LearningCase:
    folder = _place(lesson, record)
    try:
        return from_disk(folder)
    except (OSError, ValueError, KeyError):
        shutil.rmtree(folder, ignore_errors=True)
    return on_disk(learning_case(record, lesson.store, spec, lambda share: gate()), folder)
