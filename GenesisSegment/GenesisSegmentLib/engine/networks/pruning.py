"""What every form of UNet++ shares: its levels, its heads, and cutting it down to a smaller network.

Level L keeps the nodes X(i,j) with i + j <= L. None of them needs a node beyond it, so the smaller network is a subset
of the same weights, and it gives what the head of X(0,L) gives in the whole network (Zhou et al.,
"UNet++", IEEE TMI 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

from ...core.errors import ModelError
from ...core.i18n import _

Network = TypeVar("Network", bound=nn.Module)


def check_levels(level: int, deepest: int, heads: Sequence[int] | None) -> tuple[int, ...]:
    """The heads of a UNet++ of this level in ascending order, one on each X(0,1) .. X(0,level) by default.

    Raises:
        ModelError: the level does not exist, or the heads are none, outside 1 .. level, or without the deepest.
    """
    if not 1 <= level <= deepest:
        raise ModelError(
            _("This UNet++ has no level {level}.").format(level=level),
            _("Choose a level from 1 to {deepest}.").format(deepest=deepest),
        )
    chosen = tuple(sorted(set(range(1, level + 1) if heads is None else heads)))
    if not chosen or chosen[0] < 1 or chosen[-1] != level:
        raise ModelError(
            _("A UNet++ of level {level} cannot have heads at {chosen}.").format(level=level, chosen=str(list(chosen))),
            _("Give levels from 1 to {level}, with {level} among them.").format(level=level),
        )
    return chosen


def check_prune(level: int, heads: Sequence[int]) -> None:
    """Refuses to prune to a level that has no head.

    Raises:
        ModelError: names the levels that have one.
    """
    if level not in heads:
        raise ModelError(
            _("This UNet++ cannot be pruned to level {level}: it has no head there.").format(level=level),
            _("It has heads at: {heads}.").format(heads=", ".join(map(str, heads))),
        )


def copy_subset(whole: nn.Module, part: Network) -> Network:
    """Gives ``part`` the weights of the same names in ``whole``, and its device, precision and mode."""
    weights = whole.state_dict()
    part.load_state_dict({name: weights[name] for name in part.state_dict()})
    example = next(whole.parameters())
    return part.to(device=example.device, dtype=example.dtype).train(whole.training)
