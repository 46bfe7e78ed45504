"""Lets learning pause or stop in the middle of a step: between the convolutions, forwards and backwards.

How fast learning gives way to a prediction does not hang on how long a step takes:

* A round of the module has a process of its own, and its supervisor has the system stop that process wherever it is
  (:mod:`GenesisSegmentLib.worker.learner.brake`): in a convolution, while a case is brought to the grid of the model,
  while its state is written. It looks whether the device is taken every :data:`GenesisSegmentLib.core.lease.LOOK_S`.
* Without a supervisor, on the command line, the gate of this module waits: at every convolution of a step, at every
  layer of a comparison, and at every piece of a case that is prepared.
* A graphics card works off what is in its queue whether or not the process that filled it stands still. So the
  processor is never more than one convolution ahead of it (:class:`Pace`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from torch import Tensor, cuda, nn
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


class Mark(Protocol):
    """A place in the queue of a graphics card, such as :class:`torch.cuda.Event`."""

    def synchronize(self) -> None:
        """Returns when the card has come so far."""


def queued(tensor: Tensor) -> Mark | None:
    """The end of the queue that computes ``tensor``; None on a processor, which has none."""
    if not tensor.is_cuda:
        return None
    mark = cuda.Event()
    mark.record(cuda.current_stream(tensor.device))
    return mark


class Pace:
    """Keeps the processor from running away from a graphics card: it waits for the place before the last."""

    def __init__(self, mark: Callable[[Tensor], Mark | None] = queued) -> None:
        self._mark = mark
        self._last: Mark | None = None

    def __call__(self, tensor: Tensor) -> None:
        """After the work on ``tensor`` was put into the queue."""
        before, self._last = self._last, self._mark(tensor)
        if before is not None:
            before.synchronize()


@contextmanager
def gated(gate: Gate, *networks: nn.Module | None, pace: Callable[[Tensor], None] | None = None) -> Iterator[None]:
    """Has ``gate`` called after every convolution of the networks, and before the gradient of each.

    ``pace`` is called with it, by default one of :class:`Pace`.
    """
    keep_pace = pace or Pace()

    def wait(tensor: Tensor) -> None:
        gate()
        keep_pace(tensor)

    def passes(module: nn.Module, inputs: object, output: Tensor) -> None:
        wait(output)
        if output.requires_grad:
            output.register_hook(wait)  # type: ignore[no-untyped-call]

    layers = [m for network in networks if network is not None for m in network.modules() if isinstance(m, _ConvNd)]
    handles = [layer.register_forward_hook(passes) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
