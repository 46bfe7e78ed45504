"""Progress on its way to the parent."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..core.jobs import Progress as JobProgress
from ..core.protocol import Event, Progress

_BETWEEN_REPORTS_S = 0.1


class Reporter:
    """Passes a job's progress on as events of a command, not more often than anybody can see.

    The job is the part of the command from the fraction ``start`` on that takes ``share`` of it.
    """

    def __init__(self, command_id: str, send: Callable[[Event], None], start: float = 0.0, share: float = 1.0) -> None:
        self._command_id, self._send = command_id, send
        self._start, self._share = start, share
        self._stage, self._sent_at = "", 0.0

    def __call__(self, progress: JobProgress) -> None:
        """Sends it if the stage is new or the last one is a while ago."""
        now = time.monotonic()
        if progress.stage == self._stage and now - self._sent_at < _BETWEEN_REPORTS_S:
            return
        self._stage, self._sent_at = progress.stage, now
        self._send(
            Progress(
                self._command_id, progress.stage, self._start + self._share * progress.fraction, progress.seconds_left
            )
        )
