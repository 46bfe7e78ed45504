"""When a silent process is given up: soon where it stands still, late where it works or nobody can say."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.watchdog import Limits, Watchdog

LIMITS = Limits(start=60.0, silence=30.0, busy=300.0)


def given_up_after(watchdog: Watchdog, cpu=lambda second: None, limit: int = 1000) -> int | None:
    """Seconds of silence until the process is given up."""
    return next((s for s in range(1, limit) if watchdog.is_stuck(1.0, lambda s=s: cpu(s))), None)


def spoken() -> Watchdog:
    watchdog = Watchdog(LIMITS)
    watchdog.hear()
    return watchdog


@pytest.mark.parametrize(
    ("cpu", "seconds"),
    [
        (lambda second: 7.0, 30),
        (lambda second: 7.0 + 0.01 * second, 30),
        (lambda second: 7.0 + second, 300),
        (lambda second: 7.0 + 0.3 * second, 300),
        (lambda second: None, 300),
        (lambda second: min(second, 100.0), 120),  # it worked, then stopped: noticed two looks later
    ],
    ids=["still", "nearly still", "one processor", "a busy machine", "not known", "then still"],
)
def test_silent_process_is_given_time_while_it_works(cpu, seconds):
    assert given_up_after(spoken(), cpu) == seconds


def test_new_process_has_its_own_limit_whatever_it_uses():
    assert given_up_after(Watchdog(LIMITS), lambda second: float(second)) == 60


def test_each_word_begins_the_time_anew():
    watchdog = spoken()
    assert given_up_after(watchdog, lambda second: 7.0, limit=29) is None
    watchdog.hear()
    assert given_up_after(watchdog, lambda second: 7.0) == 30


def test_time_in_which_nobody_listened_does_not_count():
    watchdog = spoken()
    assert not watchdog.is_stuck(3600.0, lambda: 7.0)
    assert given_up_after(watchdog, lambda second: 7.0) == 29


def test_person_who_cancels_waits_less_than_a_second():
    interval_between_two_pumps = 0.1
    assert Limits().cancel + interval_between_two_pumps + Limits().pump < 0.9
