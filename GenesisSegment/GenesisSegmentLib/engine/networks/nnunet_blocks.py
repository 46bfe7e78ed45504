"""The blocks of nnU-Net's first generation, with its key names (Isensee et al., "nnU-Net", Nature Methods 2021)."""

from __future__ import annotations

from torch import Tensor, nn

from ...core.errors import ModelError
from ...core.i18n import _

Stride = tuple[int, int, int]

BASE = 32
LARGEST = 320


def widths(base: int, stages: int) -> tuple[int, ...]:
    """Channels of each resolution: doubled at every pooling, at most 320.

    Raises:
        ModelError: the base is not positive.
    """
    if base < 1:
        raise ModelError(
            _("A network cannot have {base} channels.").format(base=base),
            _("Give a base of at least 1; the published is 32."),
        )
    return tuple(min(base * 2**i, LARGEST) for i in range(stages))


class ConvUnit(nn.Module):
    """3x3x3 convolution, affine instance norm, LeakyReLU 0.01."""

    def __init__(self, inputs: int, outputs: int, stride: int | Stride = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)
        self.instnorm = nn.InstanceNorm3d(outputs, affine=True)
        self.lrelu = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z), divided by the stride."""
        return self.lrelu(self.instnorm(self.conv(x)))


class ConvStack(nn.Module):
    """Convolution units one after the other; the first may pool by its stride."""

    def __init__(self, inputs: int, outputs: int, units: int, stride: int | Stride = 1) -> None:
        super().__init__()
        first = ConvUnit(inputs, outputs, stride)
        self.blocks = nn.Sequential(first, *(ConvUnit(outputs, outputs) for _ in range(units - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z), divided by the stride."""
        return self.blocks(x)


def pair(inputs: int, outputs: int, stride: int | Stride = 1) -> nn.Sequential:
    """Two stacks of one unit, as nnU-Net builds its bottleneck and its decoder."""
    return nn.Sequential(ConvStack(inputs, outputs, 1, stride), ConvStack(outputs, outputs, 1))


def up(inputs: int, outputs: int, stride: int | Stride = 2) -> nn.ConvTranspose3d:
    """Transposed convolution without bias whose kernel is its stride."""
    return nn.ConvTranspose3d(inputs, outputs, stride, stride=stride, bias=False)


def head(inputs: int, classes: int) -> nn.Conv3d:
    """1x1x1 convolution without bias."""
    return nn.Conv3d(inputs, classes, 1, bias=False)
