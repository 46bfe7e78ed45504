"""UNet++ in MONAI's form: nested skip paths, deep supervision, and pruning to a smaller network.

Literature: Zhou et al., "UNet++: Redesigning Skip Connections to Exploit Multiscale Features", IEEE TMI 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.nets.basic_unet import Down, TwoConv, UpCat
from torch import Tensor, nn

from .pruning import check_levels, check_prune, copy_subset
from .sides import check_sides

LEVELS = 4
FEATURES = (32, 32, 64, 128, 256, 32)
"""Channels of X(0,0) .. X(4,0), then of X(0,4)."""

_ACTIVATION = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
_NORM = ("instance", {"affine": True})


class _Nest(nn.Module):
    """The nodes X(i,j), i + j <= level: i counts the poolings, j the steps along the skip path.

    X(i,j) sees X(i,0) .. X(i,j-1), then the upsampled X(i+1,j-1). Node X(i,0) is the submodule ``conv_i_0``, every
    other one ``upcat_i_j``. Sides must be multiples of :attr:`multiple`.
    """

    def __init__(self, level: int, features: Sequence[int]) -> None:
        super().__init__()
        self.level = level
        self.multiple = 2**level
        self.conv_0_0 = TwoConv(3, 1, features[0], _ACTIVATION, _NORM, bias=True)
        for i in range(1, level + 1):
            node = Down(3, features[i - 1], features[i], _ACTIVATION, _NORM, bias=True)
            self.add_module(f"conv_{i}_0", node)
        for j in range(1, level + 1):
            for i in range(level - j + 1):
                self.add_module(f"upcat_{i}_{j}", _up_node(i, j, features))

    def nodes(self, image: Tensor) -> list[list[Tensor]]:
        """(B, 1, X, Y, Z) -> the output of node X(i,j) at [i][j], each (B, channels, X/2^i, Y/2^i, Z/2^i).

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(image, self.multiple)
        rows = [[self.conv_0_0(image)]]
        for i in range(1, self.level + 1):
            rows.append([self.get_submodule(f"conv_{i}_0")(rows[i - 1][0])])
        for j in range(1, self.level + 1):
            for i in range(self.level - j + 1):
                node = self.get_submodule(f"upcat_{i}_{j}")
                rows[i].append(node(rows[i + 1][j - 1], torch.cat(rows[i], dim=1)))
        return rows


def _up_node(i: int, j: int, features: Sequence[int]) -> UpCat:
    """X(i,j): what comes from below keeps its channels in the top row and halves them elsewhere."""
    outputs = features[5] if j == LEVELS else features[i]
    return UpCat(3, features[i + 1], j * features[i], outputs, _ACTIVATION, _NORM, bias=True, halves=i > 0)


class UNetPlusPlusBackbone(_Nest):
    """UNet++ without heads, as the backbone of the Universal Model."""

    def __init__(self, features: Sequence[int] = FEATURES) -> None:
        super().__init__(LEVELS, features)
        self.deep_channels = features[4]
        self.feat_channels = features[5]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) in 0..1 -> X(4,0) (B, 256, X/16, Y/16, Z/16), X(0,4) (B, 32, X, Y, Z)."""
        rows = self.nodes(image)
        return rows[LEVELS][0], rows[0][LEVELS]


class UNetPlusPlus(_Nest):
    """UNet++ with a 1x1x1 head ``final_conv_0_j`` on X(0,j).

    ``level`` and ``heads`` describe a pruned network; by default all four levels are there, each with its head. With
    ``deep_supervision`` the output is the list of all heads, shallowest first, to be trained with equal weight;
    without it, the deepest head alone.

    Raises:
        ModelError: the level or the heads do not exist.
    """

    def __init__(
        self,
        classes: int = 2,
        deep_supervision: bool = False,
        level: int = LEVELS,
        heads: Sequence[int] | None = None,
        features: Sequence[int] = FEATURES,
    ) -> None:
        chosen = check_levels(level, LEVELS, heads)
        super().__init__(level, features)
        self.classes = classes
        self.deep_supervision = deep_supervision
        self.heads = chosen
        self.features = tuple(features)
        for j in chosen:
            inputs = features[5] if j == LEVELS else features[0]
            self.add_module(f"final_conv_0_{j}", nn.Conv3d(inputs, classes, 1))

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, 1, X, Y, Z) -> logits (B, classes, X, Y, Z), or one such tensor per head, shallowest first."""
        top = self.nodes(image)[0]
        if not self.deep_supervision:
            return self.head(top, self.level)
        return [self.head(top, j) for j in self.heads]

    def head(self, top: Sequence[Tensor], j: int) -> Tensor:
        """The nodes X(0,0), X(0,1) ... -> logits of the head on X(0,j)."""
        return self.get_submodule(f"final_conv_0_{j}")(top[j])

    def prune(self, level: int) -> UNetPlusPlus:
        """A copy with the nodes i + j <= level and the head of X(0,level): what that head says here, for less work.

        Raises:
            ModelError: there is no head at this level.
        """
        check_prune(level, self.heads)
        return copy_subset(self, UNetPlusPlus(self.classes, level=level, heads=(level,), features=self.features))
