"""UNet++ in both forms, its pruning, and the nnU-Net form of Models Genesis, against second implementations."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from monai.networks.nets import BasicUNetPlusPlus
from torch import Tensor, nn
from torch.nn import functional as F

from GenesisSegmentLib.core.errors import InputError, ModelError
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.networks.genesis_nnunet import GenesisNNUNet
from GenesisSegmentLib.engine.networks.unetpp import UNetPlusPlus, UNetPlusPlusBackbone
from GenesisSegmentLib.engine.networks.unetpp_nnunet import UNetPlusPlusNNUNet

FEATURES = (4, 4, 8, 16, 32, 8)
"""The last differs from the first, so that mixing up X(0,4) with its neighbours shows."""


def lively(network: nn.Module) -> nn.Module:
    torch.manual_seed(6)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double().eval()


@pytest.fixture
def window() -> Tensor:
    return torch.rand(1, 1, 32, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.fixture
def large_window() -> Tensor:
    return torch.rand(1, 1, 32, 32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(8))


# MONAI's form


def monai_form(deep_supervision: bool) -> tuple[UNetPlusPlus, BasicUNetPlusPlus]:
    ours = lively(UNetPlusPlus(3, deep_supervision, features=FEATURES))
    theirs = BasicUNetPlusPlus(out_channels=3, features=FEATURES, deep_supervision=deep_supervision).double().eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def test_monai_form_equals_monai_with_and_without_deep_supervision(window: Tensor) -> None:
    ours, theirs = monai_form(deep_supervision=True)
    with torch.no_grad():
        heads, expected = ours(window), theirs(window)
        ours.deep_supervision = False
        last = ours(window)
    assert len(heads) == 4
    for head, value in zip(heads, expected, strict=True):
        torch.testing.assert_close(head, value, rtol=1e-9, atol=1e-9)
    assert torch.equal(last, heads[-1])


def test_backbone_gives_the_bottleneck_and_the_last_node(window: Tensor) -> None:
    whole, theirs = monai_form(deep_supervision=False)
    backbone = UNetPlusPlusBackbone(FEATURES).double().eval()
    backbone.load_state_dict({k: v for k, v in whole.state_dict().items() if not k.startswith("final_conv")})
    seen: dict[str, Tensor] = {}
    for name in ("conv_4_0", "upcat_0_4"):
        getattr(theirs, name).register_forward_hook(lambda m, args, out, name=name: seen.update({name: out}))
    with torch.no_grad():
        deep, feat = backbone(window)
        theirs(window)
    assert (deep.shape[1], feat.shape[1]) == (backbone.deep_channels, backbone.feat_channels) == (32, 8)
    torch.testing.assert_close(deep, seen["conv_4_0"], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(feat, seen["upcat_0_4"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pruned_monai_form_equals_the_head_at_its_level(level: int, window: Tensor) -> None:
    whole, _ = monai_form(deep_supervision=True)
    small = whole.prune(level)
    with torch.no_grad():
        torch.testing.assert_close(small(window), whole(window)[level - 1], rtol=1e-12, atol=1e-12)
    assert not small.training
    assert set(small.state_dict()) <= set(whole.state_dict())
    assert [int(k.split("_")[-1].split(".")[0]) for k in small.state_dict() if "final" in k] == [level, level]


def test_pruned_networks_grow_with_the_level_and_take_finer_windows() -> None:
    whole = build("unetpp", deep_supervision=True)
    sizes = [sum(p.numel() for p in whole.prune(level).parameters()) for level in (1, 2, 3, 4)]
    assert sizes == sorted(set(sizes))
    assert sizes[0] < sizes[3] / 20
    assert whole.prune(2).eval()(torch.rand(1, 1, 4, 4, 12)).shape == (1, 2, 4, 4, 12)


def test_a_pruned_network_is_a_copy_of_its_own() -> None:
    whole = UNetPlusPlus(features=FEATURES).train()
    small = whole.prune(1)
    assert small.training
    before = whole.conv_0_0.conv_0.conv.weight.clone()
    with torch.no_grad():
        small.conv_0_0.conv_0.conv.weight.zero_()
    assert torch.equal(whole.conv_0_0.conv_0.conv.weight, before)


@pytest.mark.parametrize("kind", [UNetPlusPlus, UNetPlusPlusNNUNet])
def test_pruning_to_a_level_without_a_head_is_refused(kind: type[nn.Module]) -> None:
    network = kind(level=3, heads=(1, 3))
    with pytest.raises(ModelError, match="It has heads at: 1, 3"):
        network.prune(2)


# nnU-Net's form


def unit(state: dict[str, Tensor], x: Tensor, name: str, stride: int | tuple[int, ...] = 1) -> Tensor:
    x = F.conv3d(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], stride=stride, padding=1)
    x = F.instance_norm(x, weight=state[f"{name}.instnorm.weight"], bias=state[f"{name}.instnorm.bias"])
    return F.leaky_relu(x, 0.01)


def encoder(state: dict[str, Tensor], image: Tensor, strides: list) -> list[Tensor]:
    """The five stages and the bottleneck, written out."""
    outputs = []
    x = image
    for i, stride in enumerate([1, *strides]):
        first, second = ("0.blocks.0", "1.blocks.0") if i == 5 else ("blocks.0", "blocks.1")
        x = unit(state, x, f"conv_blocks_context.{i}.{first}", stride)
        x = unit(state, x, f"conv_blocks_context.{i}.{second}")
        outputs.append(x)
    return outputs


def reference_unetpp(state: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    """Logits of the heads on X(0,1) .. X(0,5), by the recursion of the paper."""
    column = encoder(state, image, [2] * 5)

    @cache
    def node(i: int, j: int) -> Tensor:
        if j == 0:
            return column[i]
        n, k = 5 - (i + j), j - 1
        raised = F.conv_transpose3d(node(i + 1, j - 1), state[f"up{n}.{k}.weight"], stride=2)
        x = torch.cat([node(i, earlier) for earlier in range(j)] + [raised], dim=1)
        return unit(state, unit(state, x, f"loc{n}.{k}.0.blocks.0"), f"loc{n}.{k}.1.blocks.0")

    return [F.conv3d(node(0, j), state[f"seg_outputs.{5 - j}.weight"]) for j in range(1, 6)]


def test_nnunet_form_equals_the_recursion_of_the_paper_deepest_head_first(large_window: Tensor) -> None:
    network = lively(UNetPlusPlusNNUNet(deep_supervision=True, base=2))
    with torch.no_grad():
        heads = network(large_window)
        expected = reference_unetpp(network.state_dict(), large_window)
        network.deep_supervision = False
        assert torch.equal(network(large_window), heads[0])
    assert len(heads) == 5
    for head, value in zip(heads, reversed(expected), strict=True):
        torch.testing.assert_close(head, value, rtol=1e-9, atol=1e-9)


def test_pruned_nnunet_form_equals_the_head_at_its_level(large_window: Tensor) -> None:
    whole = lively(UNetPlusPlusNNUNet(deep_supervision=True, base=2))
    with torch.no_grad():
        heads = whole(large_window)
    for level in (1, 2, 3, 4, 5):
        small = whole.prune(level)
        with torch.no_grad():
            torch.testing.assert_close(small(large_window), heads[5 - level], rtol=1e-12, atol=1e-12)
        assert set(small.state_dict()) <= set(whole.state_dict())
        assert [k for k in small.state_dict() if "seg" in k] == [f"seg_outputs.{5 - level}.weight"]


def test_genesis_nnunet_equals_the_network_written_out() -> None:
    network = lively(GenesisNNUNet(base=2))
    image = torch.rand(1, 1, 16, 32, 64, dtype=torch.float64)
    state = network.state_dict()
    strides = [(2, 2, 2)] * 4 + [(1, 2, 2)]
    with torch.no_grad():
        out = network(image)
        skips = encoder(state, image, strides)
        x = skips[5]
        for n in range(5):
            raised = F.conv_transpose3d(x, state[f"tu.{n}.weight"], stride=strides[4 - n])
            x = torch.cat([raised, skips[4 - n]], dim=1)
            for part in (0, 1):
                x = unit(state, x, f"conv_blocks_localization.{n}.{part}.blocks.0")
        expected = F.conv3d(x, state["seg_outputs.4.weight"])
    assert out.shape == (1, 2, 16, 32, 64)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "options", "shape", "said"),
    [
        ("unetpp", {}, (32, 16, 24), "multiples of 16"),
        ("unetpp", {"level": 2}, (8, 4, 6), "multiples of 4"),
        ("unetpp_nnunet", {"base": 2}, (32, 32, 32), "larger than 32 x 32 x 32"),
        ("genesis_nnunet", {"base": 2}, (32, 32, 16), "multiples of 16, 32 and 32"),
        ("suprem_segresnet", {}, (16, 16, 12), "multiples of 8"),
    ],
)
def test_sides_that_do_not_fit_are_refused(name: str, options: dict, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        build(name, **options)(torch.zeros(1, 1, *shape))


def test_suprem_segresnet_gives_one_channel_per_class() -> None:
    with torch.no_grad():
        assert build("suprem_segresnet", classes=9).eval()(torch.rand(1, 1, 16, 8, 8)).shape == (1, 9, 16, 8, 8)
