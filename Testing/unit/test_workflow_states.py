"""The table of states: every state with every trigger."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.workflow.states import TRANSITIONS, State, Trigger, after, is_allowed

N, S, R, P, V, C, F = State
WORDS = {
    "chosen": Trigger.VOLUME_CHOSEN,
    "found": Trigger.RESULT_FOUND,
    "gone": Trigger.VOLUME_GONE,
    "missing": Trigger.SETUP_MISSING,
    "done": Trigger.SETUP_DONE,
    "segment": Trigger.SEGMENT,
    "finished": Trigger.FINISHED,
    "cancelled": Trigger.CANCELLED,
    "failed": Trigger.FAILED,
    "correct": Trigger.CORRECT,
    "review": Trigger.REVIEW,
    "dismissed": Trigger.DISMISSED,
}
TABLE = {
    #   chosen found gone miss done segm fin  canc fail corr revi dism
    N: (R, V, N, S, None, None, None, None, F, None, None, None),
    S: (None, V, None, S, N, None, None, None, F, None, None, None),
    R: (R, V, N, S, None, P, None, None, F, None, None, None),
    P: (None, None, N, None, None, None, V, R, F, None, None, None),
    V: (R, V, N, S, None, P, None, None, F, C, None, None),
    C: (R, V, N, S, None, P, None, None, F, None, V, None),
    F: (R, V, N, S, None, P, None, None, F, None, None, R),
}
CASES = [
    pytest.param(state, trigger, target, id=f"{state.value}-{trigger.value}")
    for state, row in TABLE.items()
    for trigger, target in zip(WORDS.values(), row, strict=True)
]


def test_table_names_every_state_and_trigger():
    assert set(TABLE) == set(State) == set(TRANSITIONS)
    assert set(WORDS.values()) == set(Trigger)
    assert len(CASES) == len(State) * len(Trigger)


@pytest.mark.parametrize(("state", "trigger", "target"), CASES)
def test_each_trigger_in_each_state(state, trigger, target):
    assert is_allowed(state, trigger) is (target is not None)
    if target is None:
        with pytest.raises(ValueError, match="means nothing"):
            after(state, trigger)
    else:
        assert after(state, trigger) is target
