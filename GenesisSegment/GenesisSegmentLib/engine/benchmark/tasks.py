"""What is raced: the published way, written plainly here or with MONAI, and ours beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.jobs import Job
from ...core.segmentation import BITS, pack
from ...core.volume import Volume
from ..images import read_volume
from ..inference.preprocess import ModelInput, model_input
from ..inference.published import published_input, window_total
from ..inference.ring import BitSink, slide
from ..inference.runtimes import TorchRuntime
from ..inference.spec import FAST_OVERLAP, ModelSpec, Runtime
from ..inference.sweep import Lattice
from ..networks.universal import HEAD_SPLIT, HEAD_WIDTH
from ..phantom import phantom_ct
from .setting import Setting

if TYPE_CHECKING:
    from monai.data import MetaTensor

CLASSES = tuple(range(1, 33))
OVERLAP = 0.5
UNIVERSAL = ModelSpec(
    id="universal",
    classes=CLASSES,
    offered=CLASSES,
    spacing_mm=(1.5, 1.5, 1.5),
    window_hu=(-175.0, 250.0),
    window=(96, 96, 96),
)


def published_head(features: Tensor, numbers: Tensor) -> Tensor:
    """The head as published (Liu et al., ICCV 2023): (1, 8, X, Y, Z), (1, n, 153) -> logits (1, n, X, Y, Z).

    The features are copied for every class, then come three grouped 1x1x1 convolutions.
    """
    n = numbers.shape[1]
    w1, w2, w3, b1, b2, b3 = numbers[0].split(HEAD_SPLIT, dim=1)
    x = features.repeat(1, n, 1, 1, 1)
    for weight, bias in ((w1, b1), (w2, b2)):
        square = weight.reshape(n * HEAD_WIDTH, HEAD_WIDTH, 1, 1, 1)
        x = F.relu(F.conv3d(x, square, bias.reshape(-1), groups=n))
    return F.conv3d(x, w3.reshape(n, HEAD_WIDTH, 1, 1, 1), b3.reshape(-1), groups=n)


class StandIn(nn.Module):
    """A network that costs next to nothing: every channel is the window, scaled and shifted by the window's mean."""

    def forward(self, image: Tensor, channels: tuple[int, ...]) -> Tensor:
        """(1, 1, X, Y, Z) -> logits (1, n, X, Y, Z)."""
        index = torch.tensor(channels, dtype=torch.float32).reshape(1, -1, 1, 1, 1)
        return (image - image.mean() * (0.6 + 0.03 * index)) * (1 + index)


def aggregate_image(setting: Setting) -> np.ndarray:
    """Noise float32 (X, Y, Z) to slide windows over."""
    return np.random.default_rng(0).random(setting.aggregate_shape, dtype=np.float32)


def aggregate_by_monai(image: np.ndarray, setting: Setting) -> np.ndarray:
    """Bits uint32 (X, Y, Z) as the release makes masks: all logits, then all probabilities, then all masks."""
    from monai.inferers import sliding_window_inference

    network, window = StandIn(), (setting.aggregate_window,) * 3
    channels = tuple(range(len(CLASSES)))
    logits = sliding_window_inference(
        torch.from_numpy(image)[None, None],
        window,
        1,
        lambda piece: network(piece, channels),
        overlap=OVERLAP,
        mode="gaussian",
        sigma_scale=0.125,
    )[0]
    hard = torch.sigmoid(logits) > 0.5
    return pack(zip(CLASSES, hard.numpy(), strict=True), setting.aggregate_shape)


def aggregate_by_ring(image: np.ndarray, setting: Setting) -> np.ndarray:
    """Bits uint32 (X, Y, Z) from the ring of planes."""
    window = (setting.aggregate_window,) * 3
    classes = CLASSES[: setting.classes]
    sink = BitSink(setting.aggregate_shape, classes)
    runtime: Runtime = TorchRuntime(StandIn(), "cpu", Job())
    slide(image, runtime, UNIVERSAL.channels(classes), window, OVERLAP, sink, lambda share: None)
    return sink.bits


def equal_share(one: np.ndarray, other: np.ndarray) -> float:
    """The share of class bits that are equal in two bit volumes."""
    differing = one ^ other
    wrong = sum(np.count_nonzero(differing & BITS(1 << (c - 1))) for c in CLASSES)
    return 1.0 - wrong / (one.size * len(CLASSES))


def a_ct(setting: Setting, phantom_mm: float) -> Volume:
    """The CT of the setting, or a phantom."""
    return read_volume(setting.ct) if setting.ct else phantom_ct(phantom_mm)


def input_by_monai(volume: Volume) -> MetaTensor:
    """The input of the universal model as published."""
    return published_input(volume, UNIVERSAL)[0]


def input_by_ours(volume: Volume) -> ModelInput:
    """The input of the universal model."""
    return model_input(volume, UNIVERSAL)


def window_counts(volume: Volume) -> tuple[int, int, int]:
    """How many windows the universal model takes as published, by the fast recipe with that overlap, and by default."""
    window = UNIVERSAL.window
    assert window is not None
    published = window_total(input_by_monai(volume).shape[1:], window, OVERLAP)
    prepared = input_by_ours(volume)
    same, ours = (Lattice(prepared, window, o, o == OVERLAP).everywhere().windows for o in (OVERLAP, FAST_OVERLAP))
    return published, same, ours


def equal_input_share(published: MetaTensor, ours: ModelInput) -> float:
    """The share of voxels, where both crops overlap, that differ by at most 1 HU."""
    affine = published.affine.numpy()
    start = np.round(np.linalg.solve(affine, np.append(ours.geometry.origin, 1.0))[:3]).astype(int)
    theirs, mine = published[0].numpy(), ours.image[ours.valid]
    low = np.maximum(start, 0)
    high = np.minimum(start + mine.shape, theirs.shape)
    one = theirs[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    other = mine[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))]
    span = UNIVERSAL.window_hu[1] - UNIVERSAL.window_hu[0]
    return float((np.abs(one - other) <= 1.0 / span).mean())
