"""The states of the module and what leads from one to the next."""

from __future__ import annotations

from enum import Enum


class State(str, Enum):
    """Where the work on the chosen CT stands."""

    NO_VOLUME = "no volume"
    NEEDS_SETUP = "needs set-up"
    READY = "ready"
    PREDICTING = "predicting"
    REVIEWING = "reviewing"
    CORRECTING = "correcting"
    FAILED = "failed"


class Trigger(str, Enum):
    """What happened."""

    VOLUME_CHOSEN = "volume chosen"
    RESULT_FOUND = "result found"
    """The chosen CT has a segmentation of ours already, from before or from a scene that was loaded."""
    VOLUME_GONE = "volume gone"
    SETUP_MISSING = "set-up missing"
    SETUP_DONE = "set-up done"
    SEGMENT = "segment"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"
    CORRECT = "correct"
    REVIEW = "review"
    DISMISSED = "dismissed"


_CHOSEN = {
    Trigger.VOLUME_CHOSEN: State.READY,
    Trigger.RESULT_FOUND: State.REVIEWING,
    Trigger.VOLUME_GONE: State.NO_VOLUME,
    Trigger.SETUP_MISSING: State.NEEDS_SETUP,
    Trigger.FAILED: State.FAILED,
}
TRANSITIONS: dict[State, dict[Trigger, State]] = {
    State.NO_VOLUME: dict(_CHOSEN),
    State.NEEDS_SETUP: {
        Trigger.SETUP_DONE: State.NO_VOLUME,
        Trigger.SETUP_MISSING: State.NEEDS_SETUP,
        # A result of before can be corrected and exported without the engine.
        Trigger.RESULT_FOUND: State.REVIEWING,
        Trigger.FAILED: State.FAILED,
    },
    State.READY: {**_CHOSEN, Trigger.SEGMENT: State.PREDICTING},
    State.PREDICTING: {
        Trigger.FINISHED: State.REVIEWING,
        Trigger.CANCELLED: State.READY,
        Trigger.VOLUME_GONE: State.NO_VOLUME,
        Trigger.FAILED: State.FAILED,
    },
    State.REVIEWING: {**_CHOSEN, Trigger.SEGMENT: State.PREDICTING, Trigger.CORRECT: State.CORRECTING},
    State.CORRECTING: {**_CHOSEN, Trigger.SEGMENT: State.PREDICTING, Trigger.REVIEW: State.REVIEWING},
    State.FAILED: {**_CHOSEN, Trigger.DISMISSED: State.READY, Trigger.SEGMENT: State.PREDICTING},
}
"""Every move that exists; what is not here does not happen. After SETUP_DONE the chosen volume is looked at anew."""


def is_allowed(state: State, trigger: Trigger) -> bool:
    """Whether the trigger means anything in this state."""
    return trigger in TRANSITIONS[state]


def after(state: State, trigger: Trigger) -> State:
    """The state that follows.

    Raises:
        ValueError: the trigger means nothing in this state, which is a mistake of the caller.
    """
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise ValueError(f'"{trigger.value}" means nothing while {state.value}.') from None
