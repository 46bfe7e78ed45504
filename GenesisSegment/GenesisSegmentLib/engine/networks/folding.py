"""A transposed convolution and the convolution after it as one: the same values with a third less arithmetic.

The first convolution of a stage upwards sees the upsampled features and the skipped ones side by side. A convolution is
linear, so its two parts can be computed apart and added; and the part that sees the upsampled features, which a
transposed convolution of kernel 2 and stride 2 made, is itself a transposed convolution: of kernel 4, stride 2 and
padding 1. Nothing of twice the sides has to be made and read for it.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FoldedJoin(nn.Module):
    """``join(cat([up(x), skip]))`` in one go, equal to rounding.

    ``up`` is a transposed convolution with kernel and stride 2, ``join`` a 3x3x3 convolution with padding 1. The
    weights are made anew from theirs, in float64, and are no part of the state dict.
    """

    up_weight: Tensor
    skip_weight: Tensor
    offsets: Tensor

    def __init__(self, up: nn.ConvTranspose3d, join: nn.Conv3d) -> None:
        super().__init__()
        inner = up.out_channels
        with torch.no_grad():
            through, beside = join.weight[:, :inner], join.weight[:, inner:]
            self.register_buffer("up_weight", _composed(up.weight, through), persistent=False)
            self.register_buffer("skip_weight", beside.clone(), persistent=False)
            self.register_buffer("offsets", _offsets(up.bias, through, join.bias), persistent=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z), (B, skip, 2X, 2Y, 2Z) -> (B, outputs, 2X, 2Y, 2Z)."""
        out = F.conv3d(skip, self.skip_weight, self.offsets[_INSIDE], padding=1)
        out += F.conv_transpose3d(x, self.up_weight, stride=2, padding=1)
        for place, offset in zip(_PLACES, self.offsets - self.offsets[_INSIDE], strict=True):
            if place != _PLACES[_INSIDE]:
                out[:, :, place[0], place[1], place[2]] += offset[:, None, None, None].to(out.dtype)
        return out


_PLACES = tuple(itertools.product((slice(0, 1), slice(1, -1), slice(-1, None)), repeat=3))
"""The 27 kinds of places: along each axis the first voxel, those that are not at the border, the last."""
_INSIDE = 13


def _composed(up: Tensor, join: Tensor) -> Tensor:
    """(inputs, inner, 2, 2, 2) and then (outputs, inner, 3, 3, 3) as one kernel (inputs, outputs, 4, 4, 4)."""
    kernel = up.new_zeros((up.shape[0], join.shape[0], 4, 4, 4), dtype=torch.float64)
    for a, b, c in itertools.product(range(2), repeat=3):
        for i, j, k in itertools.product(range(3), repeat=3):
            both = up[..., a, b, c].double() @ join[..., i, j, k].double().T
            kernel[..., a - i + 2, b - j + 2, c - k + 2] += both
    return kernel.to(up.dtype)


def _offsets(inner: Tensor | None, join: Tensor, bias: Tensor | None) -> Tensor:
    """What the biases add in each kind of place, (27, outputs): the padding was not upsampled and has no bias."""
    added = join.new_zeros((join.shape[0], 3, 3, 3))
    if inner is not None:
        everywhere = inner[None, :, None, None, None].expand(1, -1, 3, 3, 3)
        added += F.conv3d(everywhere, join, padding=1)[0]
    if bias is not None:
        added += bias[:, None, None, None]
    return added.flatten(1).T.contiguous()
