"""The part of :mod:`.protocol` that belongs to corrections and learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .rounds import ClassVerdict, Mode, RoundState


@dataclass(frozen=True)
class Ingest:
    """Takes what lies in the outbox ``outbox`` into the case store. Answer: :class:`Ingested`."""

    type: ClassVar[str] = "ingest"
    id: str
    outbox: str


@dataclass(frozen=True)
class Learn:
    """Runs a round, or goes on with one that was interrupted. Answers: Progress on the way, then :class:`RoundEnded`.

    ``base`` is a model or version, ``current`` the one in use; ``budget_s`` 0 means no limit but ``steps``, and so on.
    """

    type: ClassVar[str] = "learn"
    id: str
    base: str = "current"
    is_from_genesis: bool = False
    budget_s: float = 1800.0
    steps: int = 0
    mode: Mode = "all"
    device: str = "auto"


@dataclass(frozen=True)
class Pause:
    """Stops the running round where it stands, or lets it go on. Answer: Done."""

    type: ClassVar[str] = "pause"
    id: str
    is_paused: bool = True


@dataclass(frozen=True)
class LearningStatus:
    """Asks what has been accepted and learned. Answer: :class:`LearningState`."""

    type: ClassVar[str] = "learning_status"
    id: str


@dataclass(frozen=True)
class UseVersion:
    """Makes a version the current model; with "" goes back to the one before. Answer: :class:`LearningState`."""

    type: ClassVar[str] = "use_version"
    id: str
    version: str = ""


@dataclass(frozen=True)
class Ingested:
    """How many acceptances were ``added`` now and were there ``before``; ``damaged`` files were set aside."""

    type: ClassVar[str] = "ingested"
    id: str
    added: int
    before: int
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What a round is doing right now: "waiting" (a prediction has the device), "paused", "learning", or "resuming".

    The last is said when its process died and another goes on from what was written down last.
    """

    type: ClassVar[str] = "stage"
    id: str
    state: str
    step: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class RoundEnded:
    """A round ended, with its table; ``version`` is the new model, "" where none came out."""

    type: ClassVar[str] = "round_ended"
    id: str
    state: RoundState
    reason: str
    version: str = ""
    classes: tuple[ClassVerdict, ...] = ()
    report: str = ""


@dataclass(frozen=True)
class VersionInfo:
    """A model version of this machine. ``state`` is that of its round, or "base" for what it all began with."""

    name: str
    title: str
    parent: str
    state: str
    created: str
    is_current: bool
    is_trial: bool


@dataclass(frozen=True)
class LearningState:
    """Accepted cases and corrections, how many since the last round, the versions, and what the last round said."""

    type: ClassVar[str] = "learning_state"
    id: str
    cases: int
    corrections: int
    fresh: int
    train: int
    validation: int
    holdout: int
    versions: tuple[VersionInfo, ...] = ()
    last_state: str = ""
    last_reason: str = ""
    last_classes: tuple[ClassVerdict, ...] = ()
    last_report: str = ""


LearningCommand = Ingest | Learn | Pause | LearningStatus | UseVersion
LearningEvent = Ingested | Stage | RoundEnded | LearningState
