"""What of a network learns in which mode, and the forms in which it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.rounds import Mode
from ..networks.universal import UniversalModel, apply_head

_BACKBONE = "backbone."
_DECODERS = ("up_tr", "decoder", "upcat_", "net.up_layers", "net.up_samples")
"""How the names of decoder parts begin inside the backbones: U-Net, Swin UNETR, UNet++, SegResNet."""


def learns(name: str, mode: Mode) -> bool:
    """Whether the parameter called ``name`` in a universal model's state is trained."""
    if mode == "all" or not name.startswith(_BACKBONE):
        return True
    return mode == "decoder" and name.removeprefix(_BACKBONE).startswith(_DECODERS)


def freeze(network: UniversalModel, mode: Mode) -> list[nn.Parameter]:
    """Lets only what ``mode`` trains have gradients, and returns it.

    The network stays in evaluation mode: the batch norm of the U-Net looks at the window in either mode, and its
    unused running statistics are left alone, so that all that is frozen stays the same to the bit.
    """
    network.eval()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(learns(name, mode))
    return [p for p in network.parameters() if p.requires_grad]


def sees_its_batch(network: nn.Module) -> bool:
    """Whether an item's result depends on the others of its batch: then one window goes through it at a time."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())


def multiple_of(network: UniversalModel) -> int:
    """What the sides of its windows must be multiples of."""
    return int(getattr(network.backbone, "multiple", 32))


class Pupil(nn.Module):
    """A universal model as it is trained: the head in single precision, only the channels that are asked for.

    The head is a hundredth of the work, so single precision costs it little.
    """

    def __init__(self, network: UniversalModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, channels: Sequence[Sequence[int]]) -> list[Tensor]:
        """(B, 1, X, Y, Z) and channels per item -> logits (n, X, Y, Z) per item."""
        deep, feat = self.network.backbone(images)
        with single_precision(images):
            features, numbers = self.network.precls_conv(_plain(feat)), self.network.class_numbers(_plain(deep))
            return _logits(features, numbers, channels)


class HeadPupil(nn.Module):
    """The head alone, on what the frozen backbone said of a window: see :mod:`.cached`."""

    def __init__(self, network: UniversalModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, deep: Tensor, normed: Tensor, channels: Sequence[Sequence[int]]) -> list[Tensor]:
        """Bottleneck (1, C, x, y, z) of the window, features (1, c, X, Y, Z) of a crop of it -> logits as above.

        ``normed`` are features less the mean of their group in the whole window, over its deviation.
        """
        norm, activation, last = self.network.precls_conv.children()
        scale, offset = (cast(Tensor, v).reshape(1, -1, 1, 1, 1) for v in (norm.weight, norm.bias))
        with single_precision(deep):
            features = last(activation(torch.addcmul(offset, normed.float(), scale)))
            return _logits(features, self.network.class_numbers(_plain(deep)), channels)


def single_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Nothing is halved on the way, whatever is around."""
    device = tensor.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def group_normed(features: Tensor, norm: nn.Module) -> Tensor:
    """(B, C, X, Y, Z) -> what a group norm makes of them before its own weight and bias."""
    grouped = cast(nn.GroupNorm, norm)
    return F.group_norm(features.float(), grouped.num_groups, eps=grouped.eps)


def _plain(features: Tensor) -> Tensor:
    """In single precision; in the plain memory order where a frozen backbone made them.

    PyTorch (seen with 2.13) crashes in the gradient of a group norm of few channels-last voxels that need none.
    """
    features = features.float()
    return features if features.requires_grad else features.contiguous(memory_format=torch.contiguous_format)


def _logits(features: Tensor, numbers: Tensor, channels: Sequence[Sequence[int]]) -> list[Tensor]:
    pairs = enumerate(channels)
    return [apply_head(features[b : b + 1], numbers[b : b + 1, list(wanted)])[0] for b, wanted in pairs]
