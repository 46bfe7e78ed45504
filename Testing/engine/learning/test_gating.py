"""Learning gives way within a step, and leaves a graphics card no queue that goes on without it."""

from __future__ import annotations

import torch
from torch import nn

from GenesisSegmentLib.engine.learning.gating import Gate, Pace, gated


class Card:
    """A graphics card that works off its queue only when it is waited for."""

    def __init__(self) -> None:
        self.queued, self.done, self.most = 0, 0, 0

    def mark(self, _tensor: torch.Tensor) -> Place:
        self.queued += 1
        self.most = max(self.most, self.queued - self.done)
        return Place(self, self.queued)


class Place:
    def __init__(self, card: Card, number: int) -> None:
        self._card, self._number = card, number

    def synchronize(self) -> None:
        self._card.done = max(self._card.done, self._number)


def a_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv3d(2, 2, 3, padding=1), nn.Conv3d(2, 1, 1))


def test_the_gate_is_passed_at_every_convolution_forwards_and_backwards():
    network, passed = a_network(), []
    with gated(Gate(lambda: passed.append(1), lambda: None), network):
        network(torch.ones(1, 1, 4, 4, 4)).sum().backward()
    assert len(passed) == 6
    network(torch.ones(1, 1, 4, 4, 4)).sum().backward()
    assert len(passed) == 6, "afterwards it is as it was"


def test_a_graphics_card_is_never_more_than_two_convolutions_behind():
    network, card = a_network(), Card()
    with gated(Gate(lambda: None, lambda: None), network, pace=Pace(card.mark)):
        for _step in range(3):
            network(torch.ones(1, 1, 4, 4, 4)).sum().backward()
    assert card.queued == 18
    assert card.most == 2


def test_on_a_processor_nothing_is_waited_for():
    pace = Pace()
    for _n in range(3):
        pace(torch.ones(1))
