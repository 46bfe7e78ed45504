"""Checkpoints that fit a network by name and shape and are still refused: absurd sizes, weights that are no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.networks import build


@pytest.fixture
def file(tmp_path: Path):
    def save(document: Any) -> Path:
        path = tmp_path / "weights.pth"
        torch.save(document, path)
        return path

    return save


def stretched(name: str, **options: Any) -> dict[str, Tensor]:
    """Weights that fit a network of any size, and take a few bytes each in a file."""
    with torch.device("meta"):
        shapes = {key: (value.shape, value.dtype) for key, value in build(name, **options).state_dict().items()}
    return {key: torch.zeros((), dtype=dtype).expand(shape) for key, (shape, dtype) in shapes.items()}


@pytest.fixture
def scarce_memory(monkeypatch):
    """Fails where a parameter with real memory is made while a file is looked at."""
    make = nn.Parameter.__new__

    def guarded(cls, data=None, requires_grad=True):
        assert data is None or data.device.type == "meta" or data.numel() < 10**7
        return make(cls, data, requires_grad)

    monkeypatch.setattr(nn.Parameter, "__new__", guarded)


def test_a_small_file_that_asks_for_a_huge_network_is_refused_before_memory_is_taken(file, scarce_memory) -> None:
    path = file(stretched("starter", filters=2000))
    assert path.stat().st_size < 10**6
    with pytest.raises(ModelError, match="billion weights") as caught:
        load(path)
    assert caught.value.remedy


def test_one_stretched_weight_is_refused_before_memory_is_taken(file, scarce_memory) -> None:
    weights = stretched("starter") | {"backbone.net.convInit.conv.weight": torch.zeros(()).expand(2000, 1, 3, 3, 3)}
    with pytest.raises(ModelError, match="of wrong shape or type"):
        load(file(weights))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(file, value: float) -> None:
    weights = build("suprem_segresnet").state_dict()
    damaged = weights["conv_final.2.conv.bias"].clone()
    damaged[3] = value
    with pytest.raises(ModelError, match=r"not finite numbers: 1 damaged \(conv_final\.2\.conv\.bias\)") as caught:
        load(file(weights | {"conv_final.2.conv.bias": damaged}))
    assert caught.value.remedy


def test_statistics_that_no_network_uses_may_hold_anything(file) -> None:
    weights = stretched("universal_unet")
    key = next(key for key in weights if key.endswith("running_var"))
    assert load(file(weights | {key: torch.full_like(weights[key], float("inf"))})).architecture == "universal_unet"
