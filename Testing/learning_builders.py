"""Tiny networks and cases for the tests of learning."""

from __future__ import annotations

import numpy as np
import torch

from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.engine.learning.channels import Channels
from GenesisSegmentLib.engine.learning.material import LearningCase
from GenesisSegmentLib.engine.networks.starter import SegResNetBackbone
from GenesisSegmentLib.engine.networks.unet3d import UNet3dBackbone
from GenesisSegmentLib.engine.networks.universal import UniversalModel

LABELS = ("spleen", "kidney_right", "liver", "liver_tumor")
CHANNELS = Channels(LABELS)


class TinyUNet(UNet3dBackbone):
    """The U-Net of the Universal Model with an eighth of its channels, on two levels: the same kinds of layers."""

    def __init__(self) -> None:
        from GenesisSegmentLib.engine.networks.unet3d import DownStage, UpStage

        torch.nn.Module.__init__(self)
        self.multiple, self.deep_channels, self.feat_channels = 2, 32, 16
        self.down_tr64 = DownStage(1, 8, 16, "relu")
        self.down_tr128 = DownStage(16, 16, 32, "relu")
        self.up_tr64 = UpStage(32, 16, 16, "relu")

    def features(self, image):
        skip = self.down_tr64(image)
        deep = self.down_tr128(torch.nn.functional.max_pool3d(skip, 2))
        return deep, self.up_tr64(deep, skip)


def a_network(backbone: str = "segresnet", classes: int = len(LABELS), embedding: str = "random") -> UniversalModel:
    """A universal model with fresh weights, always the same ones."""
    torch.manual_seed(3)
    body = TinyUNet() if backbone == "unet" else SegResNetBackbone(16, (1, 1))
    network = UniversalModel(body, classes, embedding).eval()
    if embedding == "word":
        network.organ_embedding.copy_(torch.randn(classes, 512) * 0.4)
    return network


def a_case(
    name: str = "one", labels: tuple[str, ...] = ("liver", "spleen"), side: int = 24, is_replayed: bool = False
) -> LearningCase:
    """A bright box for each label, off centre along every axis, on a noisy ground; its rim was corrected."""
    rng = np.random.default_rng(sum(map(ord, name)))
    image = rng.uniform(0.0, 0.15, (side, side + 2, side - 2)).astype(np.float32)
    masks, changed = {}, {}
    for n, label in enumerate(labels):
        mask = np.zeros(image.shape, dtype=bool)
        corner = 3 + 5 * n
        mask[corner : corner + 7, 4 : 13 + n, corner : corner + 6] = True
        image[mask] += 0.4 + 0.2 * n
        masks[label] = mask
        rim = np.zeros_like(mask)
        rim[corner, 4 : 13 + n, corner : corner + 6] = True
        changed[label] = rim
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    return LearningCase(name, image, masks, changed, Geometry(image.shape, matrix), is_replayed=is_replayed)
