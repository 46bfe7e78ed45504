"""The memory of learning is planned before it starts, and comes down step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from GenesisSegmentLib.core.errors import ResourceError
from GenesisSegmentLib.engine.learning.memory import RESERVE, needed_bytes, plan_learning, smaller
from GenesisSegmentLib.engine.learning.network import Pupil, freeze
from GenesisSegmentLib.engine.learning.recipe import LearningRecipe
from GenesisSegmentLib.engine.networks import build
from learning_builders import a_network

RECIPE = LearningRecipe(mode="all", steps=1, crop=(96, 96, 96), precision="fp32", items_per_forward=1)
LARGEST = (96, 96, 96)


def kept_for_the_way_back(network, mode, side) -> int:
    """What torch really keeps in a forward pass on this network, parameters not counted."""
    freeze(network, mode)
    kept, own = {}, {p.untyped_storage().data_ptr() for p in network.parameters()}
    alive = []

    def note(tensor):
        alive.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        Pupil(network)(torch.rand(1, 1, side, side, side), [tuple(range(4))])
    return sum(size for place, size in kept.items() if place not in own)


@pytest.mark.parametrize("backbone", ["segresnet", "unet"])
def test_the_plan_counts_at_least_what_torch_keeps_and_not_many_times_that(backbone):
    for mode in ("all", "decoder"):
        recipe = replace(RECIPE, mode=mode, pseudo=False)
        planned = needed_bytes(a_network(backbone), recipe, (16, 16, 16))
        held = kept_for_the_way_back(a_network(backbone), mode, 16)
        assert held < planned < 6 * held + 20e6


def test_what_takes_more_is_planned_as_more():
    network = build("universal_unet")
    sizes = [needed_bytes(network, replace(RECIPE, mode=mode), LARGEST) for mode in ("head", "decoder", "all")]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.6 * sizes[2]
    assert sizes[2] > 4e9  # one window of the universal U-Net takes 8 GB with 32 classes
    assert needed_bytes(network, RECIPE, (48, 48, 48)) < 0.3 * sizes[2]
    assert needed_bytes(network, replace(RECIPE, precision="bf16"), LARGEST) < 0.8 * sizes[2]
    assert needed_bytes(network, replace(RECIPE, items_per_forward=2), LARGEST) > 1.7 * sizes[2]
    assert next(network.parameters()).device.type == "cpu"  # planning moved nothing


def test_nothing_is_given_up_where_there_is_room():
    assert plan_learning(a_network(), RECIPE, LARGEST, 10**12) == (RECIPE, ())


def test_less_memory_means_less_of_what_matters_least_first():
    network = a_network()
    recipe = replace(RECIPE, items_per_forward=2)
    rungs, notes = [], []
    while (lower := smaller(recipe, LARGEST, network.backbone.multiple)) is not None:
        recipe, note = lower
        rungs.append((recipe.items_per_forward, recipe.precision, recipe.crop, recipe.mode))
        notes.append(note)
    assert rungs[0] == (1, "fp32", (96, 96, 96), "all")
    assert rungs[1] == (1, "bf16", (96, 96, 96), "all")
    assert rungs[2] == (1, "bf16", (64, 64, 64), "all")
    assert rungs[-1] == (1, "bf16", (32, 32, 32), "head")
    assert all(note.startswith("Little free memory on cpu") for note in notes)
    needs = [
        needed_bytes(network, replace(RECIPE, items_per_forward=i, precision=p, crop=c, mode=m), c)
        for i, p, c, m in rungs
    ]
    assert needs == sorted(needs, reverse=True)
    for need, rung in zip(needs, rungs, strict=True):
        planned, _ = plan_learning(network, replace(RECIPE, items_per_forward=2), LARGEST, int(need / RESERVE) + 1)
        assert (planned.items_per_forward, planned.precision, planned.crop, planned.mode) == rung


def test_a_whole_scan_becomes_a_large_crop_whose_sides_fit():
    lower, note = smaller(replace(RECIPE, crop=None, precision="bf16"), (96, 72, 80), 8)
    assert lower.crop == (64, 48, 48)
    assert "64 x 48 x 48" in note


def test_half_precision_is_left_out_where_the_device_has_none():
    lower, _ = smaller(RECIPE, LARGEST, 8, may_halve=False)
    assert lower.precision == "fp32"
    assert lower.crop == (64, 64, 64)


def test_too_little_for_the_smallest_way_is_said_with_a_figure():
    with pytest.raises(ResourceError, match="GB of free memory on cpu"):
        plan_learning(a_network(), RECIPE, LARGEST, 1000)
