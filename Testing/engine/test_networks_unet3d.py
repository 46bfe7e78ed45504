"""The Genesis / Universal U-Net against a second implementation, and its batch norm that never uses what it stores."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.networks.unet3d import BatchStatisticsNorm, GenesisUNet3d, UNet3dBackbone

ACTIVATE = {"relu": lambda x, slope: F.relu(x), "elu": lambda x, slope: F.elu(x), "prelu": F.prelu}


def reference_unet(state: dict[str, Tensor], image: Tensor, activation: str = "relu") -> tuple[Tensor, Tensor]:
    """The U-Net written out, with batch statistics; bottleneck and full-resolution features."""

    def unit(x: Tensor, name: str) -> Tensor:
        x = F.conv3d(x, state[f"{name}.conv1.weight"], state[f"{name}.conv1.bias"], padding=1)
        mean, var = x.mean((0, 2, 3, 4), keepdim=True), x.var((0, 2, 3, 4), unbiased=False, keepdim=True)
        scale = state[f"{name}.bn1.weight"].reshape(1, -1, 1, 1, 1)
        x = (x - mean) / (var + 1e-5).sqrt() * scale + state[f"{name}.bn1.bias"].reshape(1, -1, 1, 1, 1)
        return ACTIVATE[activation](x, state.get(f"{name}.activation.weight"))

    def stage(x: Tensor, name: str) -> Tensor:
        return unit(unit(x, f"{name}.ops.0"), f"{name}.ops.1")

    def up(x: Tensor, skip: Tensor, name: str) -> Tensor:
        x = F.conv_transpose3d(x, state[f"{name}.up_conv.weight"], state[f"{name}.up_conv.bias"], stride=2)
        return stage(torch.cat([x, skip], 1), name)

    s64 = stage(image, "down_tr64")
    s128 = stage(F.max_pool3d(s64, 2), "down_tr128")
    s256 = stage(F.max_pool3d(s128, 2), "down_tr256")
    deep = stage(F.max_pool3d(s256, 2), "down_tr512")
    return deep, up(up(up(deep, s256, "up_tr256"), s128, "up_tr128"), s64, "up_tr64")


def lively(network: nn.Module) -> nn.Module:
    """Gives norms random weights and stored statistics, so that using or skipping any of them shows."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.0, 0.2)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network


def buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_buffers()}


@pytest.fixture(scope="module")
def genesis() -> GenesisUNet3d:
    return lively(build("genesis_unet3d")).double().eval()


@pytest.fixture
def window() -> Tensor:
    return torch.rand(1, 1, 16, 16, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("activation", ["relu", "prelu", "elu"])
def test_backbone_equals_the_network_written_out(activation: str, window: Tensor) -> None:
    network = lively(UNet3dBackbone(activation)).double().eval()
    with torch.no_grad():
        deep, feat = network(window)
        expected_deep, expected_feat = reference_unet(network.state_dict(), window, activation)
    assert deep.shape == (1, 512, 2, 2, 1)
    assert feat.shape == (1, 64, 16, 16, 8)
    torch.testing.assert_close(deep, expected_deep, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(feat, expected_feat, rtol=1e-9, atol=1e-9)


def test_genesis_form_ends_in_its_own_sigmoid(genesis: GenesisUNet3d, window: Tensor) -> None:
    state = genesis.state_dict()
    with torch.no_grad():
        out = genesis(window)
        _, feat = reference_unet(state, window)
    logits = F.conv3d(feat, state["out_tr.final_conv.weight"], state["out_tr.final_conv.bias"])
    torch.testing.assert_close(out, torch.sigmoid(logits), rtol=1e-9, atol=1e-9)


def test_norm_in_evaluation_uses_the_statistics_of_the_batch() -> None:
    norm = lively(BatchStatisticsNorm(3)).double().eval()
    x = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64) * 3 + 7
    mean, sd = x.mean((0, 2, 3, 4), keepdim=True), (x.var((0, 2, 3, 4), unbiased=False, keepdim=True) + 1e-5).sqrt()
    expected = (x - mean) / sd * norm.weight.reshape(1, 3, 1, 1, 1) + norm.bias.reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm.train()(x), expected, rtol=1e-12, atol=1e-12)


def test_evaluation_leaves_every_running_buffer_as_it_is(genesis: GenesisUNet3d, window: Tensor) -> None:
    before = buffers(genesis)
    with torch.inference_mode():
        genesis(window)
        genesis(window + 1)
    after = buffers(genesis)
    assert len(before) == 14 * 3
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_updates_the_running_buffers_as_batch_norm_does() -> None:
    ours = BatchStatisticsNorm(3).train()
    usual = nn.BatchNorm3d(3).train()
    x = torch.randn(2, 3, 4, 4, 4) + 2
    ours(x)
    usual(x)
    assert ours.num_batches_tracked == 1
    assert torch.equal(ours.running_mean, usual.running_mean)
    assert torch.equal(ours.running_var, usual.running_var)
    assert ours.running_mean.min() > 0.1


def test_stored_statistics_would_give_another_result(genesis: GenesisUNet3d, window: Tensor) -> None:
    stored = copy.deepcopy(genesis)
    for module in stored.modules():
        if isinstance(module, BatchStatisticsNorm):
            module.__class__ = nn.BatchNorm3d
    with torch.no_grad():
        _, ours = genesis.features(window)
        _, theirs = stored.eval().features(window)
    assert (ours - theirs).norm() > 0.5 * ours.norm()


def test_a_second_window_in_the_batch_changes_the_first(genesis: GenesisUNet3d, window: Tensor) -> None:
    with torch.no_grad():
        alone = genesis(window)
        together = genesis(torch.cat([window, window * 0.2]))[:1]
    assert (alone - together).abs().max() > 1e-3


def test_with_one_window_the_norm_is_an_instance_norm(genesis: GenesisUNet3d, window: Tensor) -> None:
    instance = copy.deepcopy(genesis)
    for stage in instance.children():
        for unit in getattr(stage, "ops", ()):
            norm = nn.InstanceNorm3d(unit.bn1.num_features, eps=1e-5, affine=True).double()
            norm.load_state_dict({"weight": unit.bn1.weight, "bias": unit.bn1.bias})
            unit.bn1 = norm
    with torch.no_grad():
        torch.testing.assert_close(instance.eval()(window), genesis(window), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(16, 16, 12), (8, 8, 8), (0, 8, 8), (16, 16)])
def test_sides_that_do_not_fit_are_refused(genesis: GenesisUNet3d, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        genesis(torch.zeros(1, 1, *shape, dtype=torch.float64))


@pytest.mark.parametrize("count", [1, 2])
def test_batch_statistics_are_exact_in_any_memory_layout(count) -> None:
    """PyTorch's own sums, voxel by voxel, are off by a multiple of this in channels-last memory, on one thread."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    image = torch.randn(count, 8, 64, 60, 62) + 2.0
    norm = BatchStatisticsNorm(8).eval()
    nn.init.uniform_(norm.weight, 0.5, 1.0)
    nn.init.normal_(norm.bias)
    exact = F.batch_norm(image.double(), None, None, norm.weight.double(), norm.bias.double(), True, 0, norm.eps)
    last = image.contiguous(memory_format=torch.channels_last_3d)
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            found = norm(last)
    finally:
        torch.set_num_threads(threads)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    assert (found - exact).abs().max() < 2e-5
    assert (found - exact).mean((0, 2, 3, 4)).abs().max() < 2e-6
    assert norm(last.requires_grad_()).requires_grad
    with torch.no_grad():
        half = norm(last.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().max() < 0.05
