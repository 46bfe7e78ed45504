"""The CLIP-Driven Universal Model: a backbone, and a head whose weights are made per class.

Literature: Liu et al., "CLIP-Driven Universal Model for Organ Segmentation and Tumor Detection", ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TEXT_FEATURES = 512
CONTEXT_FEATURES = 256
HEAD_WIDTH = 8
HEAD_SPLIT = (64, 64, 8, 8, 8, 1)
"""How the 153 numbers of a class divide: w1, w2, w3, b1, b2, b3."""
HEAD_NUMBERS = sum(HEAD_SPLIT)
_CHUNK_VOXELS, _GPU_CHUNK_VOXELS = 1024, 1 << 20

Embedding = Literal["word", "random"]


class Backbone(Protocol):
    """What the universal head needs of a backbone."""

    deep_channels: int
    feat_channels: int

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 1, X, Y, Z) -> bottleneck (B, deep_channels, x, y, z), features (B, feat_channels, X, Y, Z)."""


class UniversalModel(nn.Module):
    """Backbone, text embedding and the per-class head (Liu et al., ICCV 2023).

    ``embedding="word"`` keeps the text features in the buffer ``organ_embedding`` (classes, 512), not normalised;
    ``"random"`` learns them in an ``Embedding`` (classes, 256). State-dict keys and their order are the published ones.
    """

    def __init__(self, backbone: nn.Module, classes: int = 32, embedding: Embedding = "word") -> None:
        super().__init__()
        sizes = cast(Backbone, backbone)
        deep, feat = sizes.deep_channels, sizes.feat_channels
        if embedding == "word":
            self.register_buffer("organ_embedding", torch.zeros(classes, TEXT_FEATURES))
        self.backbone = backbone
        self.precls_conv = nn.Sequential(nn.GroupNorm(16, feat), nn.ReLU(), nn.Conv3d(feat, HEAD_WIDTH, 1))
        self.GAP = nn.Sequential(
            nn.GroupNorm(16, deep), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Conv3d(deep, CONTEXT_FEATURES, 1)
        )
        self.controller = nn.Conv3d(2 * CONTEXT_FEATURES, HEAD_NUMBERS, 1)
        if embedding == "word":
            self.text_to_vision = nn.Linear(TEXT_FEATURES, CONTEXT_FEATURES)
        else:
            self.organ_embedding = nn.Embedding(classes, CONTEXT_FEATURES)
        self.embedding = embedding
        self.classes = classes

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Everything before the head: (B, 1, X, Y, Z) -> features (B, 8, X, Y, Z), class numbers (B, classes, 153).

        The class numbers hold for this window only: they depend on the window's mean bottleneck features.
        """
        deep, feat = self.backbone(image)
        return self.precls_conv(feat), self.class_numbers(deep)

    def class_numbers(self, deep: Tensor) -> Tensor:
        """Bottleneck (B, C, x, y, z) -> the 153 numbers of every class (B, classes, 153)."""
        context = self.GAP(deep).flatten(1)
        text = self.class_embedding()
        pairs = torch.cat(
            [
                context[:, None].expand(-1, self.classes, -1),
                text[None].to(context.dtype).expand(len(context), -1, -1),
            ],
            dim=2,
        )
        return F.linear(pairs, self.controller.weight.flatten(1), self.controller.bias)

    def class_embedding(self) -> Tensor:
        """One row of 256 features per class."""
        if self.embedding == "random":
            return self.organ_embedding.weight
        return F.relu(self.text_to_vision(self.organ_embedding))

    def forward(self, image: Tensor, channels: Sequence[int] | None = None) -> Tensor:
        """(B, 1, X, Y, Z) in 0..1 -> logits (B, n, X, Y, Z) of the asked 0-based ``channels``, all by default."""
        features, numbers = self.features(image)
        return apply_head(features, numbers if channels is None else numbers[:, list(channels)])


def apply_head(features: Tensor, numbers: Tensor) -> Tensor:
    """Three 1x1x1 convolutions per class: (B, 8, X, Y, Z), (B, n, 153) -> logits (B, n, X, Y, Z).

    Equal to the published grouped convolution over ``n`` copies of the features, without the copies. Without gradients
    voxels are worked through in pieces: on the CPU so small that they stay in its cache, by threads that each keep to
    one core, as such products cost less than splitting them; on a GPU as large as spares its memory.
    """
    is_cut = not torch.is_grad_enabled()
    if is_cut and features.device.type == "cpu":  # layers so narrow gain nothing from bfloat16
        kind = torch.promote_types(features.dtype, torch.float32)
        features, numbers = features.to(kind), numbers.to(kind)
    logits = []
    for of_item, voxels in zip(numbers, features.flatten(2), strict=True):
        head = _Head(of_item)
        logits.append(head.in_pieces(voxels) if is_cut else head.logits(voxels))
    whole = torch.stack(logits) if len(logits) > 1 else logits[0]
    return whole.reshape(*numbers.shape[:2], *features.shape[2:])


class _Head:
    """The three layers of some classes; ``numbers`` are (n, 153)."""

    def __init__(self, numbers: Tensor) -> None:
        n = self._classes = len(numbers)
        w1, w2, w3, b1, b2, b3 = numbers.split(HEAD_SPLIT, dim=1)
        self._w1, self._b1 = w1.reshape(n * HEAD_WIDTH, HEAD_WIDTH), b1.reshape(n * HEAD_WIDTH, 1)
        self._w2, self._b2 = w2.reshape(n, HEAD_WIDTH, HEAD_WIDTH), b2.reshape(n, HEAD_WIDTH, 1)
        self._w3, self._b3 = w3.reshape(n, 1, HEAD_WIDTH), b3.reshape(n, 1, 1)

    def logits(self, voxels: Tensor) -> Tensor:
        """(8, voxels) -> (n, voxels)."""
        hidden = F.relu(torch.addmm(self._b1, self._w1, voxels), inplace=True)
        hidden = F.relu(torch.baddbmm(self._b2, self._w2, hidden.reshape(self._classes, HEAD_WIDTH, -1)), inplace=True)
        return torch.baddbmm(self._b3, self._w3, hidden)[:, 0]

    def in_pieces(self, voxels: Tensor) -> Tensor:
        """The same, without gradients."""
        is_on_cpu, count = voxels.device.type == "cpu", voxels.shape[1]
        out, size = voxels.new_empty(self._classes, count), _CHUNK_VOXELS if is_on_cpu else _GPU_CHUNK_VOXELS
        starts = range(0, count, size)
        if not is_on_cpu:
            self._fill(out, voxels, starts, size)
            return out
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
                parts = [pool.submit(self._fill, out, voxels, starts[n::threads], size) for n in range(threads)]
        finally:
            torch.set_num_threads(threads)  # what is set in a thread holds for those that begin after it
        for part in parts:
            part.result()
        return out

    def _fill(self, out: Tensor, voxels: Tensor, starts: Iterable[int], size: int) -> None:
        with torch.inference_mode() if out.is_inference() else torch.no_grad():  # these hold for one thread
            for start in starts:
                piece = slice(start, start + size)
                out[:, piece] = self.logits(voxels[:, piece])
