"""``genesis-segment models prune``."""

from __future__ import annotations

import torch

from cli_builders import run
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.networks.unetpp import UNetPlusPlus


def test_prune_writes_the_part_and_says_how_small_it_is(tmp_path):
    source, target = tmp_path / "whole.pt", tmp_path / "new" / "part.pt"
    torch.save({"state_dict": UNetPlusPlus(features=(2,) * 6).state_dict()}, source)
    ended = run("models", "prune", source, "--level", 2, "-o", target, "--json")
    assert ended.code == 0, ended.err
    assert ended.document["level"] == 2
    assert ended.document["path"] == str(target)
    assert 0 < ended.document["parameters"] < ended.document["parameters_before"]
    assert load(target).options["heads"] == (2,)
    assert "Level 2" in ended.err


def test_prune_without_a_head_at_the_level_ends_as_a_fault_of_the_model(tmp_path):
    source, target = tmp_path / "whole.pt", tmp_path / "part.pt"
    torch.save({"state_dict": UNetPlusPlus(features=(2,) * 6, heads=(4,)).state_dict()}, source)
    ended = run("models", "prune", source, "--level", 2, "-o", target)
    assert ended.code == 4
    assert "cannot be pruned to level 2" in ended.err
    assert not target.exists()
