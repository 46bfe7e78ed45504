"""The nnU-Net variant of Models Genesis (Zhou et al., "Models Genesis", 2021).

Literature: Zhou et al., "Models Genesis", Medical Image Analysis 2021; Isensee et al., "nnU-Net", Nature Methods 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .nnunet_blocks import BASE, ConvStack, Stride, head, pair, up, widths
from .sides import check_sides

POOLS: tuple[Stride, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
"""The last pooling leaves the first axis alone."""


class GenesisNNUNet(nn.Module):
    """nnU-Net's U-Net with strided pooling and transposed convolutions; no activation at the end.

    Every decoder stage has a head ``seg_outputs.N`` in the weights, the last one at full resolution; only that one
    speaks, as the network was trained without deep supervision. Concatenation is upsampled first, skip second.
    """

    multiples = (16, 32, 32)

    def __init__(self, classes: int = 2, base: int = BASE) -> None:
        super().__init__()
        c = widths(base, len(POOLS) + 1)
        below = [(i, i - 1) for i in range(len(POOLS), 0, -1)]
        self.conv_blocks_localization = nn.ModuleList(pair(2 * c[i], c[i]) for _, i in below)
        stages: list[nn.Module] = [ConvStack(1, c[0], 2)]
        stages += [ConvStack(c[i - 1], c[i], 2, POOLS[i - 1]) for i in range(1, len(POOLS))]
        self.conv_blocks_context = nn.ModuleList([*stages, pair(c[-2], c[-1], POOLS[-1])])
        self.tu = nn.ModuleList(up(c[low], c[high], POOLS[high]) for low, high in below)
        self.seg_outputs = nn.ModuleList(head(c[i], classes) for _, i in below)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z), X a multiple of 16, Y and Z of 32 -> (B, classes, X, Y, Z) without activation.

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(image, self.multiples)
        skips: list[Tensor] = []
        x = image
        for stage in self.conv_blocks_context:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for raise_, node in zip(self.tu, self.conv_blocks_localization, strict=True):
            x = node(torch.cat([raise_(x), skips.pop()], dim=1))
        return self.seg_outputs[-1](x)
