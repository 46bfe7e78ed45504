"""What the process of a round does: runs it, and says how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...core.jobs import Job
from ...core.learning_messages import Learn, RoundEnded, Stage
from ...core.protocol import Command, Event
from ...core.rounds import RoundRecord
from .rounds import LEARNING

_BETWEEN_STAGES_S = 0.2


def learned(command: Command, job: Job, send: Callable[[Event], None]) -> Event:
    """Runs the round that a command asks for, or goes on with the one that was interrupted.

    Nothing waits in here: the supervisor stops the whole process while a prediction needs the device.

    Raises:
        GenesisError: see :func:`GenesisSegmentLib.engine.learning.round.run_round`.
    """
    assert isinstance(command, Learn)
    from ...engine.learning.round import RoundRequest, run_round
    from ...engine.learning.versions import VersionStore
    from ...engine.store import CaseStore

    request = RoundRequest(
        base=command.base,
        is_from_genesis=command.is_from_genesis,
        budget_s=command.budget_s,
        steps=command.steps,
        mode=command.mode,
        device=command.device,
    )
    with CaseStore.open_default() as store:
        record = run_round(store, VersionStore.of_this_person(), request, job, on_step=StepReporter(command.id, send))
    return ended(command.id, record)


def ended(command_id: str, record: RoundRecord) -> RoundEnded:
    """The final event of a round."""
    return RoundEnded(command_id, record.state, record.reason, record.version, record.classes, record.report)


class StepReporter:
    """Tells step and loss, not more often than anybody can see."""

    def __init__(self, command_id: str, send: Callable[[Event], None]) -> None:
        self._command_id, self._send = command_id, send
        self._sent_at = -_BETWEEN_STAGES_S

    def __call__(self, step: int, loss: float) -> None:
        """After each step."""
        now = time.monotonic()
        if now - self._sent_at >= _BETWEEN_STAGES_S:
            self._sent_at = now
            self._send(Stage(self._command_id, LEARNING, step, loss))
