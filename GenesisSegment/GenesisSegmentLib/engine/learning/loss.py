"""Dice + BCE over the classes whose answer is known; all others give no loss (models.md 3)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def partial_label_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Dice + BCE, each averaged over the given classes; unlabelled classes are simply not given (models.md 3).

    ``logits`` and ``truth`` (n, X, Y, Z). The Dice term is taken over the whole sample, with 1 in its denominator only.
    """
    flat, goal = logits.flatten(1), truth.flatten(1)
    p = flat.sigmoid()
    size = goal.sum(1)
    dice = 1 - 2 * (p * goal).sum(1) / (p.sum(1) + size + 1)
    is_there = (size > 0).float()
    # For a class that is absent the Dice term is constant: it teaches nothing and would only blur the figure.
    return (dice * is_there).sum() / is_there.sum().clamp(min=1) + F.binary_cross_entropy_with_logits(flat, goal)


def lesson_loss(logits: Tensor, truth: Tensor, reviewed: int, pseudo_weight: float = 1.0) -> Tensor:
    """The loss of one item: what was reviewed, and ``pseudo_weight`` times what the parent said of other classes.

    ``logits`` and ``truth`` (n, X, Y, Z), the first ``reviewed`` classes from a person. Both parts are means over
    their own (item, class) pairs, so that many pseudo-labels do not drown few corrections.
    """
    loss = logits.sum() * 0.0  # keeps the graph whole where one of the parts is empty
    if reviewed:
        loss = loss + partial_label_loss(logits[:reviewed], truth[:reviewed].float())
    if reviewed < len(truth):
        loss = loss + pseudo_weight * partial_label_loss(logits[reviewed:], truth[reviewed:].float())
    return loss
