"""The Swin UNETR backbone of the Universal Model, with the patch merging it was trained with.

Literature: Hatamizadeh et al., "Swin UNETR", BrainLes 2021; Liu et al., "Swin Transformer", ICCV 2021.
"""

from __future__ import annotations

import torch
from monai.networks.blocks import UnetrBasicBlock, UnetrUpBlock
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from .sides import check_sides

MERGING_ORDER = (
    (0, 0, 0),
    (1, 0, 0),
    (0, 1, 0),
    (0, 0, 1),
    (1, 0, 1),
    (0, 1, 0),
    (0, 0, 1),
    (1, 1, 1),
)
"""The voxel of each 2x2x2 block that fills each slot: the order of MONAI 0.9.0, with which the weights were trained.

Two voxels come twice and two never. Later MONAI releases sample all eight; keys and shapes are the same, so the
weights load into them silently and give wrong logits.
"""


class PatchMerging(nn.Module):
    """Halves the sides and doubles the channels by a linear map of sampled neighbours."""

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise NotImplementedError("Only three spatial axes have the trained merging order.")
        slots = len(MERGING_ORDER)
        self.reduction = nn.Linear(slots * dim, 2 * dim, bias=False)
        self.norm = norm_layer(slots * dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, X, Y, Z, C), even sides -> (B, X/2, Y/2, Z/2, 2C)."""
        slots = [x[:, i::2, j::2, k::2] for i, j, k in MERGING_ORDER]
        return self.reduction(self.norm(torch.cat(slots, dim=-1)))


class SwinUNETRBackbone(nn.Module):
    """Swin UNETR without its output layer.

    Sides must be multiples of 32 with more than 32x32x32 voxels, so that no side is ever odd and the bottleneck has a
    variance. ``width`` is 48 in the published weights (a multiple of 12).
    """

    multiple = 32

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.swinViT = SwinTransformer(
            in_chans=1,
            embed_dim=width,
            window_size=(7, 7, 7),
            patch_size=(2, 2, 2),
            depths=(2, 2, 2, 2),
            num_heads=(3, 6, 12, 24),
            downsample=PatchMerging,
        )
        self.encoder1 = _encoder(1, width)
        self.encoder2 = _encoder(width, width)
        self.encoder3 = _encoder(2 * width, 2 * width)
        self.encoder4 = _encoder(4 * width, 4 * width)
        self.encoder10 = _encoder(16 * width, 16 * width)
        self.decoder5 = _decoder(16 * width, 8 * width)
        self.decoder4 = _decoder(8 * width, 4 * width)
        self.decoder3 = _decoder(4 * width, 2 * width)
        self.decoder2 = _decoder(2 * width, width)
        self.decoder1 = _decoder(width, width)
        self.deep_channels = 16 * width
        self.feat_channels = width

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) in 0..1 -> bottleneck (B, 16 width, X/32, Y/32, Z/32), features (B, width, X, Y, Z).

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(image, self.multiple)
        h0, h1, h2, h3, h4 = self.swinViT(image, normalize=True)
        deep = self.encoder10(h4)
        x = self.decoder5(deep, h3)
        x = self.decoder4(x, self.encoder4(h2))
        x = self.decoder3(x, self.encoder3(h1))
        x = self.decoder2(x, self.encoder2(h0))
        return deep, self.decoder1(x, self.encoder1(image))


def _encoder(inputs: int, outputs: int) -> UnetrBasicBlock:
    return UnetrBasicBlock(3, inputs, outputs, kernel_size=3, stride=1, norm_name="instance", res_block=True)


def _decoder(inputs: int, outputs: int) -> UnetrUpBlock:
    return UnetrUpBlock(3, inputs, outputs, kernel_size=3, upsample_kernel_size=2, norm_name="instance", res_block=True)
