"""What a round works with: the case store, the models and versions, its folders, and who teaches and compares."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from ...core.jobs import Job
from ...core.rounds import RoundRecord
from ..models.store import ModelStore
from .proving import OpenFinder, open_examiner
from .round_folder import RoundFolders
from .teaching import Lesson, Taught, teach
from .versions import VersionStore

if TYPE_CHECKING:
    import numpy as np

    from ...core.volume import Volume
    from ..store.records import ProvingRecord, TrainingRecord


class Cases(Protocol):
    """The case store, as far as a round needs it (:class:`GenesisSegmentLib.engine.store.CaseStore`)."""

    def volume(self, record: TrainingRecord | ProvingRecord) -> Volume:
        """The CT."""

    def mask(self, record: TrainingRecord | ProvingRecord, label: str) -> np.ndarray:
        """The accepted mask, bool (i, j, k) on the grid of the CT."""

    def changed(self, record: TrainingRecord | ProvingRecord, label: str) -> np.ndarray:
        """Where it differs from what the model had proposed, bool (i, j, k)."""

    def training(self) -> tuple[TrainingRecord, ...]:
        """The cases that may teach."""

    def proving(self, split: Literal["validation", "holdout"]) -> tuple[ProvingRecord, ...]:
        """The cases that judge."""

    def save_round(self, record: RoundRecord) -> None:
        """Keeps a round, or brings what was kept of it up to date."""


Teach = Callable[[Lesson, Job, Callable[[], None], Callable[[int, float], None]], Taught]


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a round works with besides the case store. ``gate`` is called between pieces of work and may wait."""

    versions: VersionStore
    models: ModelStore
    folders: RoundFolders
    gate: Callable[[], None] = lambda: None
    on_step: Callable[[int, float], None] = lambda step, loss: None
    teach: Teach = teach
    open_finder: Callable[[str], OpenFinder] = open_examiner
    free_bytes: Callable[[Path], int] = field(default=lambda folder: shutil.disk_usage(folder).free)
