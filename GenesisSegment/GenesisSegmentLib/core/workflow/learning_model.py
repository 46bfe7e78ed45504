"""What is known of learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..learning_messages import LearningState, RoundEnded, VersionInfo
from ..protocol import Failure
from .ports import SetupReport

CURRENT = "current"
"""The id under which the version in use is offered as a model."""
Automatic = Literal["off", "count", "time"]


@dataclass(frozen=True)
class RoundStep:
    """The round that runs. ``state`` is that of :class:`..learning_messages.Stage`: learning, waiting, paused or
    resuming; ``is_pausing`` until the learner has said what it does about the last wish to pause or to go on."""

    state: str = "learning"
    stage: str = ""
    fraction: float | None = None
    seconds_left: float | None = None
    step: int = 0
    loss: float | None = None
    is_automatic: bool = False
    is_pausing: bool = False
    is_stopping: bool = False

    @property
    def is_paused(self) -> bool:
        """Whether the person paused it."""
        return self.state == "paused"


@dataclass
class LearningModel:
    """Part of :class:`.model.Model`. Counts are those of the case store; ``state`` None: it was not asked yet."""

    is_possible: bool = False
    """Whether there is a process that learns."""
    setup: SetupReport | None = None
    """What learning needs; None: it was not looked yet."""
    has_any: bool = False
    """Whether anything was ever accepted on this machine, or a version was made."""
    waiting: int = 0
    """Acceptances that the case store has not taken yet."""
    damaged: tuple[str, ...] = ()
    """Files of the outbox that were set aside."""
    is_asking: bool = False
    state: LearningState | None = None
    round: RoundStep | None = None
    ended: RoundEnded | None = None
    problem: Failure | None = None
    is_switching: bool = False
    automatic: Automatic = "off"
    count: int = 5
    time: str = "20:00"

    @property
    def is_set_up(self) -> bool:
        """Whether the packages for learning are all there."""
        return self.setup is not None and not self.setup.missing and not self.setup.needs_restart

    @property
    def versions(self) -> tuple[VersionInfo, ...]:
        """The models that learning made and a person may use."""
        return self.state.versions if self.state else ()

    @property
    def current(self) -> VersionInfo | None:
        """The version in use; None while it is the model that came before all versions."""
        return next((version for version in self.versions if version.is_current), None)

    @property
    def newest(self) -> VersionInfo | None:
        """The version that was made last, where it is not the one in use."""
        newest = max(self.versions, key=lambda version: version.created, default=None)
        return None if newest is None or newest.is_current else newest
