"""The Swin UNETR backbone: the trained order of patch merging, and the whole network against MONAI's."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import SwinUNETR
from monai.networks.nets.swin_unetr import PatchMerging as CurrentPatchMerging
from torch import Tensor, nn

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.networks.swin_unetr import PatchMerging, SwinUNETRBackbone

TRAINED = ["000", "100", "010", "001", "101", "010", "001", "111"]
CURRENT = ["000", "100", "010", "001", "110", "101", "011", "111"]
WIDTH = 12


class MergingWrittenOut(nn.Module):
    """MONAI 0.9.0's merging, slot by slot."""

    def __init__(self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3) -> None:
        super().__init__()
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        b, d, h, w, c = x.shape
        blocks = x.reshape(b, d // 2, 2, h // 2, 2, w // 2, 2, c)
        parts = [blocks[:, :, int(s[0]), :, int(s[1]), :, int(s[2])] for s in TRAINED]
        return self.reduction(self.norm(torch.cat(parts, -1)))


def sampled(merging: nn.Module) -> list[str]:
    """Which voxel of a 2x2x2 block each slot takes."""
    seen: list[Tensor] = []
    merging.norm.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    block = torch.tensor([[[100 * i + 10 * j + k for k in (0, 1)] for j in (0, 1)] for i in (0, 1)])
    merging(block.reshape(1, 2, 2, 2, 1).float())
    return [f"{int(v):03d}" for v in seen[0].flatten()]


@pytest.fixture(scope="module")
def ours() -> SwinUNETRBackbone:
    torch.manual_seed(2)
    network = SwinUNETRBackbone(WIDTH).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 1.0, 0.2)
    return network


@pytest.fixture(scope="module")
def window() -> Tensor:
    return torch.rand(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(4))


def monai_outputs(downsample: type[nn.Module], weights: dict[str, Tensor], window: Tensor) -> tuple[Tensor, Tensor]:
    network = SwinUNETR(1, 1, feature_size=WIDTH, downsample=downsample).eval()
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert (sorted(missing), unexpected) == (["out.conv.conv.bias", "out.conv.conv.weight"], [])
    seen: dict[str, Tensor] = {}
    for name in ("encoder10", "decoder1"):
        getattr(network, name).register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        network(window)
    return seen["encoder10"], seen["decoder1"]


def test_patch_merging_takes_the_trained_slots_and_monai_now_takes_others() -> None:
    assert sampled(PatchMerging(1)) == TRAINED
    assert sampled(CurrentPatchMerging(1)) == CURRENT


def test_all_four_stages_end_in_the_trained_merging(ours: SwinUNETRBackbone) -> None:
    stages = [ours.swinViT.layers1, ours.swinViT.layers2, ours.swinViT.layers3, ours.swinViT.layers4]
    assert [type(stage[0].downsample) for stage in stages] == [PatchMerging] * 4


def test_backbone_equals_monai_with_the_trained_merging(ours: SwinUNETRBackbone, window: Tensor) -> None:
    with torch.no_grad():
        deep, feat = ours(window)
    expected_deep, expected_feat = monai_outputs(MergingWrittenOut, ours.state_dict(), window)
    assert deep.shape == (1, 16 * WIDTH, 2, 1, 1)
    assert feat.shape == (1, WIDTH, 64, 32, 32)
    torch.testing.assert_close(deep, expected_deep, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(feat, expected_feat, rtol=1e-5, atol=1e-5)


def test_monai_as_it_is_takes_the_same_weights_and_gives_another_result(
    ours: SwinUNETRBackbone, window: Tensor
) -> None:
    with torch.no_grad():
        _, feat = ours(window)
    _, other = monai_outputs(CurrentPatchMerging, ours.state_dict(), window)
    assert (feat - other).norm() > 0.02 * feat.norm()


@pytest.mark.parametrize("shape", [(48, 32, 32), (32, 32, 32), (96, 96, 80)])
def test_sides_that_do_not_fit_are_refused(ours: SwinUNETRBackbone, shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 32, and larger than 32 x 32 x 32"):
        ours(torch.zeros(1, 1, *shape))
