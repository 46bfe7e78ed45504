"""The backbone of the starter model: MONAI's residual U-Net with instance norm, opened for the universal head."""

from __future__ import annotations

from monai.networks.nets import SegResNet
from torch import Tensor, nn

from .unet3d import OutputLayer


class SegResNetBackbone(nn.Module):
    """MONAI SegResNet without its last layer (Myronenko, "3D MRI brain tumor segmentation", 2018).

    Instance norm with affine weights and transposed-convolution upsampling. The sides of the image must be multiples
    of :attr:`multiple`.
    """

    def __init__(self, filters: int = 16, blocks_down: tuple[int, ...] = (1, 2, 2, 4)) -> None:
        super().__init__()
        self.net = SegResNet(
            spatial_dims=3,
            init_filters=filters,
            in_channels=1,
            out_channels=1,
            blocks_down=blocks_down,
            blocks_up=(1,) * (len(blocks_down) - 1),
            norm=("INSTANCE", {"affine": True}),
            use_conv_final=False,
            upsample_mode="deconv",
        )
        del self.net.conv_final
        self.multiple = 2 ** (len(blocks_down) - 1)
        self.deep_channels = filters * self.multiple
        self.feat_channels = filters

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) -> bottleneck (B, deep_channels, X/8, Y/8, Z/8), features (B, filters, X, Y, Z)."""
        deep, skips = self.net.encode(image)
        skips.reverse()
        return deep, self.net.decode(deep, skips)


class GenesisStarter(SegResNetBackbone):
    """The backbone in the form that is pre-trained as Models Genesis: an output layer, the sigmoid inside the network.

    Keys are those of the backbone and ``out_tr.final_conv``, as in :class:`.unet3d.GenesisUNet3d`.
    """

    def __init__(self, filters: int = 16, blocks_down: tuple[int, ...] = (1, 2, 2, 4)) -> None:
        super().__init__(filters, blocks_down)
        self.out_tr = OutputLayer(self.feat_channels, 1)

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 1, X, Y, Z) in 0..1 -> values in 0..1, (B, 1, X, Y, Z)."""
        return self.out_tr(super().forward(image)[1]).sigmoid()
