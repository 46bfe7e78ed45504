"""Pruning a checkpoint of a UNet++: a strict subset of its weights, which says what the head there said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from GenesisSegmentLib.core.errors import ModelError, OutputError
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.networks.starter import GenesisStarter
from GenesisSegmentLib.engine.networks.unetpp import UNetPlusPlus, UNetPlusPlusBackbone
from GenesisSegmentLib.engine.networks.unetpp_nnunet import UNetPlusPlusNNUNet
from GenesisSegmentLib.engine.networks.universal import UniversalModel
from GenesisSegmentLib.engine.pruned_file import prune_file

FEATURES = (4, 6, 8, 10, 12, 5)
"""All differ, so that mixing them up shows."""


def saved(network: nn.Module, path: Path, prefix: str = "", **more: object) -> Path:
    torch.save({"state_dict": {prefix + k: v for k, v in network.state_dict().items()}, **more}, path)
    return path


def unetpp(heads: tuple[int, ...] | None = None) -> UNetPlusPlus:
    torch.manual_seed(3)
    return UNetPlusPlus(3, deep_supervision=True, features=FEATURES, heads=heads).eval()


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pruned_file_says_exactly_what_the_head_said(level: int, tmp_path: Path) -> None:
    whole = unetpp()
    source = saved(whole, tmp_path / "whole.pt", "module.", epoch=7)
    done = prune_file(source, level, tmp_path / "pruned.pt")
    pruned = load(done.path)
    assert (pruned.architecture, pruned.options["level"], pruned.epoch) == ("unetpp", level, 7)
    image = torch.rand(1, 1, 32, 16, 16)
    with torch.no_grad():
        assert torch.equal(pruned.network()(image), whole(image)[level - 1])


@pytest.mark.parametrize("level", [1, 3, 5])
def test_the_form_of_nnunet_is_pruned_too(level: int, tmp_path: Path) -> None:
    torch.manual_seed(4)
    whole = UNetPlusPlusNNUNet(2, deep_supervision=True, base=4).eval()
    done = prune_file(saved(whole, tmp_path / "whole.model"), level, tmp_path / "pruned.pt")
    image = torch.rand(1, 1, 64, 32, 32)
    with torch.no_grad():
        assert torch.equal(load(done.path).network()(image), whole(image)[5 - level])


def test_weights_are_a_strict_subset_unchanged(tmp_path: Path) -> None:
    whole = unetpp().state_dict()
    done = prune_file(saved(unetpp(), tmp_path / "whole.pt"), 2, tmp_path / "pruned.pt")
    weights = torch.load(done.path, weights_only=True)["state_dict"]
    assert set(weights) < set(whole)
    assert all(torch.equal(value, whole[key]) for key, value in weights.items())
    assert done.parameters == sum(value.numel() for value in weights.values())
    assert done.parameters_before == sum(value.numel() for value in whole.values())


def test_a_pruned_file_cannot_be_pruned_to_a_head_that_is_gone(tmp_path: Path) -> None:
    pruned = prune_file(saved(unetpp(), tmp_path / "whole.pt"), 3, tmp_path / "pruned.pt").path
    with pytest.raises(ModelError, match="cannot be pruned to level 2"):
        prune_file(pruned, 2, tmp_path / "smaller.pt")
    assert not (tmp_path / "smaller.pt").exists()


@pytest.mark.parametrize("level", [0, 5, -1])
def test_a_level_that_does_not_exist_is_refused(level: int, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"level {level}: it has no head there") as refused:
        prune_file(saved(unetpp(), tmp_path / "whole.pt"), level, tmp_path / "pruned.pt")
    assert "1, 2, 3, 4" in str(refused.value)


def test_networks_without_levels_are_refused(tmp_path: Path) -> None:
    others = {"genesis_starter": GenesisStarter(), "universal_unetpp": UniversalModel(UNetPlusPlusBackbone(), 2)}
    for name, network in others.items():
        with pytest.raises(ModelError, match=rf"\({name}\) has no levels"):
            prune_file(saved(network, tmp_path / f"{name}.pt"), 2, tmp_path / "pruned.pt")


def test_the_checkpoint_itself_is_never_overwritten(tmp_path: Path) -> None:
    source = saved(unetpp(), tmp_path / "whole.pt")
    before = source.read_bytes()
    with pytest.raises(OutputError, match="its own part"):
        prune_file(source, 2, tmp_path / "." / "whole.pt")
    assert source.read_bytes() == before


def test_a_file_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.pt"):
        prune_file(tmp_path / "nothing.pt", 2, tmp_path / "pruned.pt")
