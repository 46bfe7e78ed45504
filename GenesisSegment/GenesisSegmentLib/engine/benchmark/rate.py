"""What this machine reaches in a large 3-D convolution, and what a network would take at that rate: its floor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from ..inference.paths import stages_to_fold
from .measure import Cost, race

CHANNELS = 64


@dataclass(frozen=True, eq=False)
class Rates:
    """GFLOP per second of a convolution in fp32 (as it comes, and channels last) and in bfloat16, channels last."""

    plain: Cost
    last: Cost
    bf16: Cost
    gflop: float
    share_equal: float

    def gflop_per_cpu_s(self, is_bf16: bool) -> float:
        """Per second of processor time, by the faster layout."""
        return self.gflop / (self.bf16.cpu if is_bf16 else min(self.plain.cpu, self.last.cpu))


@cache
def rates(side: int, rounds: int) -> Rates:
    """Measured once per process: convolutions of 64 to 64 channels on an image of ``side``^3."""
    torch.manual_seed(0)
    conv = nn.Conv3d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
    image = torch.rand(1, CHANNELS, side, side, side)
    last = image.contiguous(memory_format=torch.channels_last_3d)
    low = copy.deepcopy(conv).to(dtype=torch.bfloat16, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    low_image = last.to(torch.bfloat16)
    with torch.no_grad():
        found = race(lambda: conv(image), lambda: conv(last), rounds, lambda: None)
        bf16 = race(lambda: None, lambda: low(low_image), rounds, lambda: None)
    close = (found.plain_result - found.our_result).abs() <= 1e-5 * found.plain_result.abs().max()
    gflop = 2 * CHANNELS**2 * 27 * side**3 / 1e9
    return Rates(found.plain, found.ours, bf16.ours, gflop, float(close.double().mean()))


def gflop_of(network: nn.Module, side: int, channels: tuple[int, ...] | None = None) -> float:
    """What one window of ``side``^3 takes in GFLOP, its convolutions folded; nothing is computed."""
    from torch.utils.flop_counter import FlopCounterMode

    shadow = copy.deepcopy(network).to("meta")
    for stage in stages_to_fold(shadow):
        stage.fold(True)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        forward: Callable[..., Tensor] = shadow
        forward(torch.zeros(1, 1, side, side, side, device="meta"), channels)
    return counter.get_total_flops() / 1e9
