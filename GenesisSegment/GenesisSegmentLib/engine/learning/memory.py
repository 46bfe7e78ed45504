"""Plans the memory of learning before it starts, and names the next smaller way when it does not fit."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from ...core.errors import ResourceError
from ...core.i18n import _
from ...core.memory_plan import GIB
from ..networks.universal import Backbone, UniversalModel
from .network import Pupil, freeze, multiple_of
from .recipe import LearningRecipe
from .sampling import Sides

RESERVE = 0.8
"""Share of the free memory that learning may plan with."""
_HALF_SHARE = 0.6
"""What activations take in bf16, with the parts of a network that stay in single precision."""
_SMALLEST_CROP = 32
_TEMPORARY = 4.0
"""Buffers of convolutions and of gradients on their way, in multiples of the largest tensor that is kept."""


def needed_bytes(network: UniversalModel, recipe: LearningRecipe, sides: Sides) -> int:
    """Bytes of one step with windows of ``sides``: weights, gradients, optimiser, and what is kept for the way back.

    The last are counted exactly, on tensors without content, so nothing is computed and nothing is allocated.
    """
    shadow = copy.deepcopy(network).to("meta")
    trained = sum(p.numel() for p in freeze(shadow, recipe.mode)) * 4
    weights = sum(p.numel() for p in network.parameters()) * 4
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # a storage that is freed would give its address to the next
    own = {p.untyped_storage()._cdata for p in shadow.parameters()}
    items = recipe.items_per_forward
    image = torch.empty(items, 1, *sides, device="meta")
    channels = tuple(range(min(network.classes, recipe.taught + recipe.kept)))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = Pupil(shadow)(image, [channels] * items)
    activations = sum(size for storage, size in kept.items() if storage not in own)
    voxels = image.numel()
    widest = max(cast(Backbone, network.backbone).feat_channels, 8 * len(channels)) * voxels * 4
    activations += int(_TEMPORARY * widest) + 4 * sum(t.numel() for t in logits) * 4
    if recipe.precision == "bf16":
        activations = int(activations * _HALF_SHARE)
    parent = weights if recipe.pseudo else 0
    return weights + parent + 3 * trained + activations


def plan_learning(
    network: UniversalModel, recipe: LearningRecipe, largest: Sides, free_bytes: int, may_halve: bool = True
) -> tuple[LearningRecipe, tuple[str, ...]]:
    """The recipe as it fits into ``free_bytes``, with sentences on what was given up.

    ``largest`` is the largest scan, which is the window where the recipe takes whole scans.

    Raises:
        ResourceError: not even the smallest way fits; says how much is needed.
    """
    notes: list[str] = []
    while (need := needed_bytes(network, recipe, recipe.crop or largest)) > free_bytes * RESERVE:
        lower = smaller(recipe, largest, multiple_of(network), may_halve)
        if lower is None:
            raise ResourceError(
                _("Learning needs about {need} GB of free memory on {device}; {free} GB are free.").format(
                    need=f"{need / RESERVE / GIB:.1f}", device=recipe.device, free=f"{free_bytes / GIB:.1f}"
                ),
                _("Close other programs, or learn on a machine with more memory."),
            )
        recipe, note = lower
        notes.append(note)
    return recipe, tuple(notes)


def smaller(
    recipe: LearningRecipe, largest: Sides, multiple: int, may_halve: bool = True
) -> tuple[LearningRecipe, str] | None:
    """The next rung of the ladder and a sentence on it; None below the last.

    One item per forward costs nothing but time, half precision next to nothing; a smaller crop shows less around an
    edit; head only learns less. None where it is the head already.
    """
    if recipe.items_per_forward > 1:
        lower = replace(recipe, items_per_forward=1)
        what = _("Little free memory on {device}: the crops of a step are worked through one by one.")
    elif recipe.precision == "fp32" and may_halve:
        lower = replace(recipe, precision="bf16")
        what = _("Little free memory on {device}: learning runs in half precision.")
    elif (crop := _shrunk(recipe.crop or largest, multiple)) is not None:
        lower = replace(recipe, crop=crop)
        what = _("Little free memory on {device}: crops of {sides} voxels are learned from.")
    elif recipe.mode != "head":
        lower = replace(recipe, mode="head")
        what = _("Little free memory on {device}: only the head of the network learns.")
    else:
        return None
    return lower, what.format(device=recipe.device, sides=" x ".join(map(str, lower.crop or largest)))


def _shrunk(crop: Sides, multiple: int) -> Sides | None:
    """Two thirds of a crop, in multiples of ``multiple``; None where it is small already."""
    least = max(_SMALLEST_CROP, 2 * multiple)
    sides = [max(min(least, side), side * 2 // 3 // multiple * multiple) for side in crop]
    i, j, k = sides
    return (i, j, k) if tuple(sides) != tuple(crop) else None
