"""Two convolutions computed as one give what the two give, at the border too, and leave the weights as they are."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from GenesisSegmentLib.engine.inference.paths import PLAIN, arrange, forward, stages_to_fold  # noqa: E402
from GenesisSegmentLib.engine.networks import build  # noqa: E402
from GenesisSegmentLib.engine.networks.folding import FoldedJoin  # noqa: E402
from GenesisSegmentLib.engine.networks.unet3d import UNet3dBackbone, UpStage  # noqa: E402


def a_join(has_bias: bool = True, seed: int = 0):
    torch.manual_seed(seed)
    up, join = nn.ConvTranspose3d(6, 5, 2, stride=2, bias=has_bias), nn.Conv3d(5 + 3, 4, 3, padding=1, bias=has_bias)
    if has_bias:
        nn.init.normal_(up.bias, std=3.0)  # large, so that a wrong border shows
    return up, join


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("sides", [(4, 6, 3), (1, 1, 1), (1, 5, 2)])
@torch.no_grad()
def test_folded_convolutions_are_the_two_in_turn(sides, has_bias):
    up, join = a_join(has_bias)
    x, skip = torch.randn(2, 6, *sides), torch.randn(2, 3, *(2 * n for n in sides))
    expected = join(torch.cat([up(x), skip], dim=1))
    found = FoldedJoin(up, join)(x, skip)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_fold_takes_the_weights_as_they_are_then():
    stage = UpStage(6, 4, 5, "relu").eval()
    x, skip = torch.randn(1, 6, 3, 3, 3), torch.randn(1, 4, 6, 6, 6)
    stage.fold(True)
    before = stage(x, skip)
    stage.up_conv.weight.mul_(-0.5)
    assert torch.equal(stage(x, skip), before)
    stage.fold(True)
    again = stage(x, skip)
    stage.fold(False)
    torch.testing.assert_close(again, stage(x, skip), atol=2e-5, rtol=1e-5)
    assert not torch.allclose(again, before, atol=1e-2)


def test_fold_leaves_the_state_dict_as_published():
    network = UNet3dBackbone()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    arrange(network, frozenset({"folded", "channels_last"}))
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.parametrize("paths", [{"folded"}, {"folded", "channels_last"}])
def test_folded_universal_model_gives_the_plain_logits(paths):
    torch.manual_seed(1)
    network = build("universal_unet").eval()
    nn.init.normal_(network.organ_embedding)
    image = torch.rand(1, 1, 16, 24, 16)
    plain = forward(network, image, (0, 5), PLAIN)
    arrange(network, frozenset(paths))
    found = forward(network, image, (0, 5), frozenset(paths))
    assert len(stages_to_fold(network)) == 3
    assert all(stage.folded is not None for stage in stages_to_fold(network))
    assert (found - plain).abs().max() < 1e-4 * plain.abs().max()
    arrange(network, PLAIN)
    assert torch.equal(forward(network, image, (0, 5), PLAIN), plain)


def test_network_without_such_convolutions_has_nothing_to_fold():
    assert stages_to_fold(build("starter")) == ()
