"""The SegResNet of the SuPreM release: MONAI's network in the published configuration.

Literature: Myronenko, "3D MRI brain tumor segmentation using autoencoder regularization", BrainLes 2018; Li et al.,
"How Well Do Supervised 3D Models Transfer to Medical Imaging Tasks?", ICLR 2024.
"""

from __future__ import annotations

from monai.networks.nets import SegResNet
from torch import Tensor

from .sides import check_sides


class SuPreMSegResNet(SegResNet):
    """MONAI SegResNet with 16 first filters, group norm and linear upsampling. Sides must be multiples of 8."""

    multiple = 8

    def __init__(self, classes: int = 25) -> None:
        super().__init__(
            spatial_dims=3,
            init_filters=16,
            in_channels=1,
            out_channels=classes,
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) in 0..1 -> logits (B, classes, X, Y, Z).

        Raises:
            InputError: the sides do not fit.
        """
        check_sides(x, self.multiple)
        return super().forward(x)
