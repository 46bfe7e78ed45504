"""The click network: a small U-Net that works at half resolution and looks at full resolution once, at the end."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ..refine.channels import CHANNELS, INSIDE, MASK, OUTSIDE, SOFT, WHOSE

WIDTHS = (16, 32, 64, 96)
MULTIPLE = 16
"""The sides of a region must be multiples of it."""
_FINE = (SOFT, MASK, INSIDE, OUTSIDE, WHOSE)
"""What is looked at in full resolution."""


class ClickNet(nn.Module):
    """Class-agnostic and click-conditioned: channels (B, 11, X, Y, Z) -> logits (B, 1, X, Y, Z).

    A 3-D U-Net (Cicek et al. 2016) with instance norm. Half of the work of such a network is done at full resolution,
    where little is to be learned but the edge: this one starts with a stride of two, and only its last convolution
    sees full resolution, together with some of the channels themselves. That buys three times the filters below.

    What it computes is added to the segment as it is and to what geodesic distances say of it: with nothing learned,
    that is the answer.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS, fine: int = 8) -> None:
        super().__init__()
        counts = [1] + [2] * (len(widths) - 2) + [1]
        self.stem = _convolution(CHANNELS, widths[0], stride=2)
        self.encoders = nn.ModuleList(_convolutions(w, w, n) for w, n in zip(widths, counts, strict=True))
        steps = list(pairwise(widths))
        self.downs = nn.ModuleList(_convolution(low, high, stride=2) for low, high in steps)
        self.ups = nn.ModuleList(nn.ConvTranspose3d(high, low, 2, 2) for low, high in reversed(steps))
        self.decoders = nn.ModuleList(
            _convolutions(2 * low, low, n) for (low, _), n in zip(reversed(steps), reversed(counts[:-1]), strict=True)
        )
        self.top = nn.ConvTranspose3d(widths[0], fine, 2, 2)
        self.fine = _convolution(fine + len(_FINE), fine)
        self.head = nn.Conv3d(fine, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.trust = nn.Parameter(torch.ones(2))
        """In the segment as it is, and in the geodesic distances, as logits."""

    def forward(self, channels: Tensor) -> Tensor:
        """See the class."""
        features, skips = self.stem(channels), []
        for encoder, down in zip(self.encoders, self.downs, strict=False):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.encoders[-1](features)
        for up, decoder in zip(self.ups, self.decoders, strict=True):
            features = decoder(torch.cat([up(features), skips.pop()], dim=1))
        change = self.head(self.fine(torch.cat([self.top(features), channels[:, _FINE]], dim=1)))
        stay, seem = 2 * channels[:, MASK : MASK + 1] - 1, channels[:, WHOSE : WHOSE + 1]
        return change + self.trust[0] * stay + self.trust[1] * seem


def _convolutions(inputs: int, outputs: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_convolution(inputs if n == 0 else outputs, outputs) for n in range(count)))


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False),
        nn.InstanceNorm3d(outputs, affine=True),
        nn.LeakyReLU(0.01, inplace=True),
    )
