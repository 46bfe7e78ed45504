from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job, Progress


class Clock:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_job() -> tuple[Job, list[Progress], Clock]:
    seen: list[Progress] = []
    clock = Clock()
    return Job(seen.append, clock), seen, clock


def test_fraction_weighs_the_stages_in_their_order():
    job, seen, _ = a_job()
    job.plan({"read": 1, "infer": 7, "write": 2})
    for stage, fraction in [("read", 1.0), ("infer", 0.0), ("infer", 0.5), ("infer", 1.0), ("write", 0.5)]:
        job.advance(stage, fraction)
    assert [p.stage for p in seen] == ["read", "infer", "infer", "infer", "write"]
    assert [p.fraction for p in seen] == pytest.approx([0.1, 0.1, 0.45, 0.8, 0.9])


@given(st.lists(st.tuples(st.sampled_from(["read", "infer", "write"]), st.floats(-1, 2)), max_size=20))
def test_progress_never_runs_backwards_nor_out_of_bounds(steps):
    job, seen, _ = a_job()
    job.plan({"read": 1, "infer": 7, "write": 2})
    for stage, fraction in steps:
        job.advance(stage, fraction)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert all(0 <= f <= 1 + 1e-9 for f in fractions)


def test_time_left_follows_from_the_time_taken():
    job, seen, clock = a_job()
    job.plan({"work": 3.0})
    job.advance("work", 0.0)
    clock.now += 10
    job.advance("work", 0.25)
    assert [p.seconds_left for p in seen] == [None, pytest.approx(30.0)]


def test_new_plan_starts_again():
    job, seen, clock = a_job()
    job.advance("work", 0.9)
    clock.now += 50
    job.plan({"again": 1.0})
    clock.now += 10
    job.advance("again", 0.5)
    assert seen[-1] == Progress("again", 0.5, pytest.approx(10.0))


def test_cancel_from_another_thread_stops_at_the_next_step_before_it_is_reported():
    job, seen, _ = a_job()
    job.advance("work", 0.1)
    job.check()
    canceller = threading.Thread(target=job.cancel)
    canceller.start()
    canceller.join()
    with pytest.raises(Cancelled):
        job.check()
    with pytest.raises(Cancelled):
        job.advance("work", 0.2)
    assert [p.fraction for p in seen] == [0.1]


def test_stage_that_was_not_planned_is_an_error():
    job, seen, _ = a_job()
    with pytest.raises(ValueError, match="typo"):
        job.advance("typo", 0.5)
    assert seen == []


def test_renewed_job_goes_on_after_a_cancel():
    job, seen, _ = a_job()
    job.cancel()
    job.renew()
    job.advance("work", 0.5)
    assert not job.is_cancelled
    assert seen[-1].fraction == 0.5
