"""The clock that stands still with its process."""

from __future__ import annotations

from GenesisSegmentLib.worker.learner.clock import RunningClock


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_clock_counts_what_a_process_does_and_not_while_it_is_stopped():
    time = FakeTime()
    clock = RunningClock(time)
    begin = clock()
    for _ in range(20):
        time.now += 0.4  # busy, but alive
        clock()
    assert round(clock() - begin, 6) == 8.0
    time.now += 3600.0
    assert round(clock() - begin, 6) == 8.0
    time.now += 0.5
    assert round(clock() - begin, 6) == 8.5


def test_clock_never_runs_backwards():
    time = FakeTime()
    clock = RunningClock(time)
    seen = []
    for step in (0.1, 5.0, 0.0, 0.9, 1.0, 1.1, 0.2):
        time.now += step
        seen.append(clock())
    assert seen == sorted(seen)
