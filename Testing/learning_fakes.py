"""The collaborators of Accept and Learn as plain objects, on the bench of :mod:`workflow_fakes`."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.corrections import Acceptance, AcceptedClass
from GenesisSegmentLib.core.errors import OutputError
from GenesisSegmentLib.core.learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningState,
    LearningStatus,
    Pause,
    RoundEnded,
    UseVersion,
    VersionInfo,
)
from GenesisSegmentLib.core.pieces import Pieces
from GenesisSegmentLib.core.protocol import Done
from GenesisSegmentLib.core.rounds import ClassVerdict
from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.core.workflow.ports import Reviewed
from scene_fakes import SHAPE, FakeScene
from workflow_fakes import Bench, ScriptedWorker

LIVER = ClassVerdict("liver", True, 6, 0, 0.811, 0.874, 0.016, "better")
SPLEEN = ClassVerdict("spleen", False, 6, 0, 0.902, 0.901, None, "same")
V1 = VersionInfo("v1", "Starter, round 1", "starter", "promoted", "2026-11-20T10:00:00+00:00", True, False)
V2 = VersionInfo("v2", "Starter, round 2", "v1", "unproven", "2026-11-21T10:00:00+00:00", False, True)


class AcceptingScene(FakeScene):
    """``masks`` of the reviewed segments by segment ID; all of them are full where nothing was said."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: dict[str, np.ndarray] = {}
        self.accepted: dict[str, str] = {}
        self.patient = "patient 1"
        self.while_reading = lambda: None

    def reading_reviewed(self, segmentation_id: str) -> Pieces[Reviewed]:
        yield from self._in_pieces()
        self._refuse("reading_reviewed")
        self.while_reading()
        rows = [row for row in self.rows[segmentation_id] if row.is_reviewed]
        classes = tuple(
            AcceptedClass(row.segment_id, self.masks.get(row.segment_id, np.ones(SHAPE, bool))) for row in rows
        )
        names = tuple(row.name for row in rows)
        return Reviewed(classes, names, self.patient, "starter", "0" * 64, self.accepted.get(segmentation_id, ""))

    def remember_accepted(self, segmentation_id: str, state: str) -> None:
        self._refuse("remember_accepted")
        self.accepted[segmentation_id] = state


class FakeCorrections:
    """An outbox in memory. ``is_open`` False keeps a write waiting; ``error`` is what it ends with."""

    folder = Path("/outbox")

    def __init__(self) -> None:
        self.kept: list[Acceptance] = []
        self.threads: list[str] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.error: Exception | None = None
        self.waiting = 0
        self.has_history = False

    def put(self, acceptance: Acceptance) -> Path:
        assert self.is_open.wait(30)
        if self.error is not None:
            raise self.error
        self.threads.append(threading.current_thread().name)
        self.kept.append(acceptance)
        self.waiting += 1
        return self.folder / acceptance.id

    def state_of(self, acceptance: Acceptance) -> str:
        return " ".join(f"{c.label}:{c.boxed.count}" for c in acceptance.classes)

    def count_waiting(self) -> int:
        return self.waiting

    def has_any(self) -> bool:
        return self.has_history or self.waiting > 0


class ScriptedLearner(ScriptedWorker):
    """Takes in what waits and counts it; what a round says is up to the test."""

    def __init__(self, corrections: FakeCorrections) -> None:
        super().__init__()
        self._corrections = corrections
        self.state = LearningState("", 0, 0, 0, 0, 0, 0)

    def offer(self, *versions: VersionInfo) -> None:
        """Rounds made these."""
        self.state = replace(self.state, versions=versions)

    def _answer(self, command):
        if isinstance(command, Ingest):
            added, self._corrections.waiting = self._corrections.waiting, 0
            counts = {name: getattr(self.state, name) + added for name in ("cases", "corrections", "fresh", "train")}
            self.state = replace(self.state, **counts)
            return Ingested(command.id, added, 0)
        if isinstance(command, LearningStatus):
            return replace(self.state, id=command.id)
        if isinstance(command, UseVersion):
            self._use(command.version)
            return replace(self.state, id=command.id)
        return Done(command.id) if isinstance(command, Pause) else None

    def _use(self, name: str) -> None:
        versions = tuple(replace(v, is_current=v.name == name) for v in self.state.versions)
        self.state = replace(self.state, versions=versions)


class LearningBench(Bench):
    """A controller that can accept and learn; the time of day is that of ``today`` plus the clock."""

    def __init__(self, is_started: bool = True) -> None:
        self.corrections = FakeCorrections()
        self.learner = ScriptedLearner(self.corrections)
        self.today = datetime(2026, 11, 21, 9, 0)
        super().__init__(is_started=False)
        self.scene = AcceptingScene()
        self.scene.clock = self.clock
        self.controller = self.new_controller()
        self.controller.changed.connect(self.views.append)
        if is_started:
            self.controller.start()

    def new_controller(self) -> Controller:
        return Controller(
            self.scene,
            self.worker,
            self.setup,
            self.settings,
            self.clock,
            self.corrections,
            self.learner,
            lambda: self.today + timedelta(seconds=self.clock.now - 100.0),
        )

    @property
    def learn(self):
        return self.view.learn

    @property
    def accept(self):
        return self.view.correct.accept

    def review(self, *segment_ids: str) -> None:
        for segment_id in segment_ids:
            self.controller.set_reviewed(segment_id, True)

    def tell(self, *events) -> None:
        """The learner says something."""
        self.learner.events.extend(events)
        self.wait()

    def settle(self) -> None:
        """Waits until an acceptance has ended."""
        for thread in threading.enumerate():
            if thread.name == "accept":
                thread.join(30)
        self.wait(0.3)

    def accept_all(self) -> None:
        self.controller.accept()
        self.wait()
        self.settle()


FULL = OutputError("The disk is full.", "Free some space or choose another folder.")


def learning_state(**changes) -> LearningState:
    plain = LearningState("", cases=4, corrections=9, fresh=3, train=3, validation=1, holdout=0)
    return replace(plain, **changes)


def opened(**changes) -> LearningBench:
    """Something was accepted before, and the part was unfolded."""
    bench = LearningBench(is_started=False)
    bench.corrections.has_history = True
    bench.learner.state = learning_state(**changes)
    bench.controller.start()
    bench.controller.show_learn(True)
    bench.wait()
    return bench


def job_of(bench) -> str:
    return bench.learner.last(Learn).id


def round_ended(bench, **changes) -> RoundEnded:
    return replace(RoundEnded(job_of(bench), "promoted", "Liver is better.", "v1", (LIVER, SPLEEN), ""), **changes)
