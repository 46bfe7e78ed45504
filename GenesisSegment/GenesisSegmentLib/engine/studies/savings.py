"""How much annotation a better start saves: where its curve reaches what all the labels bring from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise


def share_needed(scores: Mapping[float, float], goal: float) -> float | None:
    """The share of the labels from which on ``scores``, by share, are at least ``goal``; None if that is never so.

    Between two measured shares the score is taken to be a straight line. Where the smallest share is enough already,
    it is the answer: at most so much is needed.
    """
    shares = sorted(scores, reverse=True)
    if not shares or scores[shares[0]] < goal:
        return None
    for more, less in pairwise(shares):
        if scores[less] < goal:
            rise = scores[more] - scores[less]
            return less + (more - less) * (goal - scores[less]) / rise
    return shares[-1]


def saved_share(pretrained: Mapping[float, float], scratch: Mapping[float, float]) -> float | None:
    """The share of the labels that a pre-trained start saves against all labels from scratch; None if it saves none.

    Raises:
        ValueError: the score from scratch with all labels is not known.
    """
    if 1.0 not in scratch:
        raise ValueError("nothing was learned from scratch with all labels")
    needed = share_needed(pretrained, scratch[1.0])
    return None if needed is None else 1.0 - needed
