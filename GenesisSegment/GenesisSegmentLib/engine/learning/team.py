"""Who learns: this process alone, or several that torchrun started together.

The first process runs the round: it alone has the lock, reads the case store, writes, and judges. The others wait until
it says what is to be learned, take their share of every step, and end when learning has ended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import GenesisError, ResourceError
from ...core.i18n import _
from ...core.jobs import Job
from .channels import Channels
from .material import from_disk, replayed
from .recipe import Learned, LearningRecipe

if TYPE_CHECKING:
    from ..networks.universal import UniversalModel

_LONGEST_WAIT = timedelta(days=2)
"""Of one process for another, which may be bringing many CTs to the grid of the model."""
OnStep = Callable[[int, float], None]
Gate = Callable[[], None]


class PartnerLostError(GenesisError):
    """Of several processes that learned together, one has ended; the round can be gone on with."""

    code = "partner_lost"


@dataclass(frozen=True)
class PreparedCase:
    """Where :func:`.material.on_disk` put a case, and whether it is shown again."""

    folder: Path
    is_replayed: bool


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learned: the arguments of :class:`.trainer.Learner`, fit to be told to another process."""

    network: UniversalModel
    channels: Channels
    cases: tuple[PreparedCase, ...]
    recipe: LearningRecipe
    folder: Path
    parent: UniversalModel | None
    kept: tuple[int, ...]

    def learned(self, job: Job, gate: Gate = lambda: None, on_step: OnStep = lambda step, loss: None) -> Learned:
        """Learns, or goes on; stage "learning" of the job. Errors as those of :meth:`.trainer.Learner.run`."""
        from .trainer import Learner

        read = [(from_disk(case.folder), case.is_replayed) for case in self.cases]
        cases = [replayed(case) if is_replayed else case for case, is_replayed in read]
        learner = Learner(
            self.network,
            self.channels,
            cases,
            self.recipe,
            self.folder,
            job,
            self.parent,
            gate,
            kept=self.kept,
            stage="learning",
            on_step=on_step,
        )
        return learner.run()


Learn = Callable[[Task, Job, Gate, OnStep], Learned]
"""How a task is done."""


def alone(task: Task, job: Job, gate: Gate, on_step: OnStep) -> Learned:
    """By this process."""
    return task.learned(job, gate, on_step)


class Team:
    """The ``size`` processes that torchrun started, of which this is number ``rank``; usually one."""

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._is_told = False

    @classmethod
    def of_torchrun(cls) -> Team:
        """As it says in the environment."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this process runs the round."""
        return self._rank == 0

    @contextmanager
    def met(self) -> Iterator[None]:
        """All processes know each other meanwhile. Whatever happens, nobody waits for the first in vain."""
        if self._size == 1:
            yield
            return
        from torch import cuda, distributed

        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda.is_available() else "gloo", timeout=_LONGEST_WAIT)
        try:
            yield
        finally:
            try:
                if self.is_first and not self._is_told:
                    self._tell(None)
            finally:
                distributed.destroy_process_group()

    def learn(self, task: Task, job: Job, gate: Gate, on_step: OnStep) -> Learned:
        """Has all processes do a task, this one included.

        Raises:
            PartnerLostError: another process ended meanwhile; what was learned so far can be gone on with.
            ResourceError: memory ran out: several processes do not try smaller ways.
            GenesisError: as :meth:`.trainer.Learner.run`.
        """
        if self._size == 1:
            return task.learned(job, gate, on_step)
        self._tell(task)
        return self._done(task, job, gate, on_step)

    def help(self, job: Job, gate: Gate) -> None:
        """Waits for the task of the first process and does this one's share; ``job`` gets one stage, "learning".

        What the first process meets too (it was stopped, or nothing can be learned) is left to it to tell the person.
        """
        task = self._heard()
        if task is None:
            return
        job.plan({"learning": 1.0})
        try:
            self._done(task, job, gate)
        except GenesisError as error:
            print(f"Process {self._rank}: {error}", file=sys.stderr)

    def _done(self, task: Task, job: Job, gate: Gate, on_step: OnStep = lambda step, loss: None) -> Learned:
        from .trainer import is_out_of_memory

        try:
            return task.learned(job, gate, on_step)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                what = _("The memory of this machine ran out while {count} processes learned.")
                raise ResourceError(what.format(count=self._size), _("Learn with fewer processes.")) from error
            what = _("One of {count} processes that learned together ended: {reason}.")
            remedy = _("Look at what it said, then run the same again: the round goes on.")
            raise PartnerLostError(what.format(count=self._size, reason=_first_line(error)), remedy) from error

    def _tell(self, task: Task | None) -> None:
        self._is_told = True
        self._exchange([task])

    def _heard(self) -> Task | None:
        return self._exchange([None])

    @staticmethod
    def _exchange(told: list[Task | None]) -> Task | None:
        from torch import distributed

        distributed.broadcast_object_list(told, src=0)
        return told[0]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
