"""A clock that stands still with the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_TICK_S = 0.2
_STOP_S = 1.0
"""A process that did nothing for so long was stopped, or the machine slept."""


class RunningClock:
    """Seconds during which this process ran: a round that is paused uses up none of its time.

    ``clock`` is read in small intervals by a thread: a long one is a stop.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._seen, self._stopped = clock(), 0.0

    def start(self) -> RunningClock:
        """Begins to notice stops."""
        threading.Thread(target=self._tick, name="clock", daemon=True).start()
        return self

    def __call__(self) -> float:
        """The seconds, from any beginning."""
        with self._lock:
            now = self._clock()
            if now - self._seen >= _STOP_S:
                self._stopped += now - self._seen
            self._seen = now
            return now - self._stopped

    def _tick(self) -> None:
        while True:
            time.sleep(_TICK_S)
            self()
