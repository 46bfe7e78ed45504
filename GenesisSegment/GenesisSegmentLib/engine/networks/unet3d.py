"""The 3-D U-Net of Models Genesis, which is also a backbone of the Universal Model.

Literature: Zhou et al., "Models Genesis", Medical Image Analysis 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .folding import FoldedJoin
from .sides import check_sides

Activation = Literal["relu", "prelu", "elu"]

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "relu": lambda channels: nn.ReLU(inplace=True),
    "prelu": nn.PReLU,
    "elu": lambda channels: nn.ELU(inplace=True),
}
"""Makes an activation for a number of channels. Published weights use relu; prelu has one slope per channel."""


_PIECE = 4096
"""Voxels that are added in float32, of which the processor's cache holds all channels."""


class BatchStatisticsNorm(nn.BatchNorm3d):
    """Batch norm that normalises by the batch it sees, in evaluation as well as in training.

    The published weights were trained and are used this way; the stored statistics give wholly different logits.
    So an item's result depends on the others of its batch: give one window per forward. The running buffers follow
    in training, as usual, and stay untouched in evaluation.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, X, Y, Z) -> the same shape, zero mean and unit variance per channel, then weight and bias."""
        if self.training:
            return super().forward(input)
        if input.device.type == "cpu" and not input.is_contiguous() and not torch.is_grad_enabled():
            mean, variance = _moments(input)
            return F.batch_norm(input, mean, variance, self.weight, self.bias, training=False, eps=self.eps)
        return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)


def _moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of (B, C, X, Y, Z) in channels-last memory, float32 (C).

    PyTorch's own batch norm adds the voxels of a channel one by one in float32 there: in a window of 96^3 its output is
    off by some hundredths of a standard deviation, the more the fewer threads share the voxels. Here pieces are added
    in float64.
    """
    voxels = values.permute(0, 2, 3, 4, 1).reshape(-1, values.shape[1])
    shift = voxels[:_PIECE].float().mean(0)  # so that the squares do not cancel out
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for piece in voxels.split(_PIECE):
        centered = piece.float() - shift
        total += centered.sum(0)
        squares += centered.square_().sum(0)
    mean = total / len(voxels)
    return (mean + shift).float(), (squares / len(voxels) - mean.square()).float()


class ConvUnit(nn.Module):
    """3x3x3 convolution, batch norm, activation."""

    def __init__(self, inputs: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.bn1 = BatchStatisticsNorm(outputs)
        self.activation = ACTIVATIONS[activation](outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        return self.finished(self.conv1(x))

    def finished(self, convolved: Tensor) -> Tensor:
        """What follows the convolution, (B, outputs, X, Y, Z)."""
        return self.activation(self.bn1(convolved))


class DownStage(nn.Module):
    """Two convolution units; the network pools between the stages."""

    def __init__(self, inputs: int, middle: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.ops = nn.Sequential(ConvUnit(inputs, middle, activation), ConvUnit(middle, outputs, activation))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        return self.ops(x)


class UpStage(nn.Module):
    """Transposed convolution to twice the sides, concatenation (upsampled first), two convolution units."""

    def __init__(self, inputs: int, skip: int, outputs: int, activation: Activation) -> None:
        super().__init__()
        self.up_conv = nn.ConvTranspose3d(inputs, inputs, 2, stride=2)
        self.ops = nn.Sequential(ConvUnit(inputs + skip, outputs, activation), ConvUnit(outputs, outputs, activation))
        self.folded: FoldedJoin | None = None

    def fold(self, is_folded: bool) -> None:
        """Whether the first two convolutions are computed as one, from their weights as they are now."""
        self.folded = FoldedJoin(self.up_conv, self._units()[0].conv1) if is_folded else None

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z), (B, skip, 2X, 2Y, 2Z) -> (B, outputs, 2X, 2Y, 2Z)."""
        if self.folded is None:
            return self.ops(torch.cat([self.up_conv(x), skip], dim=1))
        first, second = self._units()
        return second(first.finished(self.folded(x, skip)))

    def _units(self) -> tuple[ConvUnit, ConvUnit]:
        return cast(ConvUnit, self.ops[0]), cast(ConvUnit, self.ops[1])


class OutputLayer(nn.Module):
    """The last 1x1x1 convolution of the Genesis form, without activation."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.final_conv = nn.Conv3d(inputs, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> logits (B, classes, X, Y, Z)."""
        return self.final_conv(x)


class _UNet3d(nn.Module):
    """Everything the two forms share: four stages down, three up."""

    multiple = 8
    deep_channels = 512
    feat_channels = 64

    def __init__(self, activation: Activation = "relu") -> None:
        super().__init__()
        self.down_tr64 = DownStage(1, 32, 64, activation)
        self.down_tr128 = DownStage(64, 64, 128, activation)
        self.down_tr256 = DownStage(128, 128, 256, activation)
        self.down_tr512 = DownStage(256, 256, 512, activation)
        self.up_tr256 = UpStage(512, 256, 256, activation)
        self.up_tr128 = UpStage(256, 128, 128, activation)
        self.up_tr64 = UpStage(128, 64, 64, activation)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z), sides multiples of 8 -> bottleneck (B, 512, X/8, Y/8, Z/8), features (B, 64, X, Y, Z).

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(image, self.multiple)
        skip64 = self.down_tr64(image)
        skip128 = self.down_tr128(F.max_pool3d(skip64, 2))
        skip256 = self.down_tr256(F.max_pool3d(skip128, 2))
        deep = self.down_tr512(F.max_pool3d(skip256, 2))
        return deep, self.up_tr64(self.up_tr128(self.up_tr256(deep, skip256), skip128), skip64)


class UNet3dBackbone(_UNet3d):
    """The U-Net without an output layer, as the backbone of the Universal Model."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) in 0..1 -> bottleneck (B, 512, X/8, Y/8, Z/8), features (B, 64, X, Y, Z)."""
        return self.features(image)


class GenesisUNet3d(_UNet3d):
    """The U-Net of Models Genesis: an output layer, and the sigmoid inside the network."""

    def __init__(self, classes: int = 1, activation: Activation = "relu") -> None:
        super().__init__(activation)
        self.out_tr = OutputLayer(self.feat_channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) in 0..1 -> values in 0..1, (B, classes, X, Y, Z)."""
        _, feat = self.features(image)
        return torch.sigmoid(self.out_tr(feat))
