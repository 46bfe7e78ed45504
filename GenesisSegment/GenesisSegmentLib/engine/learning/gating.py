"""Lets learning pause or stop in the middle of a step: between the convolutions, forwards and backwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd


class Gate:
    """Waits where ``wait`` waits, counts for how long, and raises where ``check`` raises."""

    def __init__(self, wait: Callable[[], None], check: Callable[[], None]) -> None:
        self._wait, self._check = wait, check
        self.waited_s = 0.0

    def __call__(self) -> None:
        """Passes, later or never."""
        started = time.monotonic()
        self._wait()
        self.waited_s += time.monotonic() - started
        self._check()


@contextmanager
def gated(gate: Gate, *networks: nn.Module | None) -> Iterator[None]:
    """Has ``gate`` called after every convolution of the networks, and before the gradient of each."""

    def passes(module: nn.Module, inputs: object, output: Tensor) -> None:
        gate()
        if output.requires_grad:
            output.register_hook(lambda gradient: gate())

    layers = [m for network in networks if network is not None for m in network.modules() if isinstance(m, _ConvNd)]
    handles = [layer.register_forward_hook(passes) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
