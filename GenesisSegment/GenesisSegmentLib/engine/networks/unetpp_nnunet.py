"""UNet++ in nnU-Net's form, with five poolings.

Literature: Zhou et al., "UNet++: Redesigning Skip Connections to Exploit Multiscale Features", IEEE TMI 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .nnunet_blocks import BASE, ConvStack, head, pair, up, widths
from .pruning import check_levels, check_prune, copy_subset
from .sides import check_sides

LEVELS = 5


class UNetPlusPlusNNUNet(nn.Module):
    """Nodes X(i,j), i + j <= level; X(i,j) sees X(i,0) .. X(i,j-1), then the upsampled X(i+1,j-1).

    The names count backward: ``locN.k`` and ``upN.k`` build X(5-N-k-1, k+1), so ``loc4`` is X(0,1) and ``loc0`` the
    longest path, to X(0,5); the head ``seg_outputs.N`` belongs to X(0,5-N). ``level`` and ``heads`` (both counted by
    j, as in the literature) describe a pruned network; by default all five levels are there, each with its head.

    Sides must be multiples of :attr:`multiple`. With ``deep_supervision`` the output is the list of all heads, deepest
    first; without it, the deepest head alone.

    Raises:
        ModelError: the level or the heads do not exist.
    """

    def __init__(
        self,
        classes: int = 3,
        deep_supervision: bool = False,
        level: int = LEVELS,
        heads: Sequence[int] | None = None,
        base: int = BASE,
    ) -> None:
        super().__init__()
        self.heads = check_levels(level, LEVELS, heads)
        self.classes, self.deep_supervision = classes, deep_supervision
        self.level, self.base = level, base
        self.multiple = 2**level
        c = widths(base, LEVELS + 1)
        diagonals = range(level, 0, -1)
        for d in diagonals:
            nodes = [pair((j + 1) * c[d - j], c[d - j]) for j in range(1, d + 1)]
            self.add_module(f"loc{LEVELS - d}", nn.ModuleList(nodes))
        self.conv_blocks_context = nn.ModuleList(_encoder(c, level))
        for d in diagonals:
            ups = [up(c[d - j + 1], c[d - j]) for j in range(1, d + 1)]
            self.add_module(f"up{LEVELS - d}", nn.ModuleList(ups))
        self.seg_outputs = nn.ModuleDict({str(LEVELS - j): head(c[0], classes) for j in reversed(self.heads)})

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """(B, 1, X, Y, Z) -> logits (B, classes, X, Y, Z), or one such tensor per head, deepest first.

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(image, self.multiple)
        rows: list[list[Tensor]] = []
        x = image
        for stage in self.conv_blocks_context:
            x = stage(x)
            rows.append([x])
        for d in range(1, self.level + 1):
            self._add_diagonal(rows, d)
        if not self.deep_supervision:
            return self._head(rows[0], self.level)
        return [self._head(rows[0], j) for j in reversed(self.heads)]

    def _add_diagonal(self, rows: list[list[Tensor]], d: int) -> None:
        """Appends the nodes with i + j = d, from below upward."""
        nodes, ups = self.get_submodule(f"loc{LEVELS - d}"), self.get_submodule(f"up{LEVELS - d}")
        for j, (node, raise_) in enumerate(zip(nodes.children(), ups.children(), strict=True), start=1):
            i = d - j
            rows[i].append(node(torch.cat([*rows[i], raise_(rows[i + 1][j - 1])], dim=1)))

    def _head(self, top: Sequence[Tensor], j: int) -> Tensor:
        return self.seg_outputs[str(LEVELS - j)](top[j])

    def prune(self, level: int) -> UNetPlusPlusNNUNet:
        """A copy with the nodes i + j <= level and the head of X(0,level): what that head says here, for less work.

        Raises:
            ModelError: there is no head at this level.
        """
        check_prune(level, self.heads)
        return copy_subset(self, UNetPlusPlusNNUNet(self.classes, level=level, heads=(level,), base=self.base))


def _encoder(c: Sequence[int], level: int) -> list[nn.Module]:
    """X(0,0) .. X(level,0); the whole network's last stage is the bottleneck, which nnU-Net builds as a pair."""
    stages: list[nn.Module] = [ConvStack(1, c[0], 2)]
    for i in range(1, level + 1):
        stages.append(pair(c[i - 1], c[i], 2) if i == LEVELS else ConvStack(c[i - 1], c[i], 2, stride=2))
    return stages
