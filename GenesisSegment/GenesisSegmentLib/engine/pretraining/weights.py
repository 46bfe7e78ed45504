"""The file that a run leaves: weights in the layout in which Models Genesis was published.

``torch.save`` of ``{epoch, state_dict, optimizer_state_dict, genesis_segment}``. Keys of ``state_dict`` begin with
``module.``: for ``genesis_unet3d`` they are the 106 published ones, for the starter's backbone ``module.net.*`` and
``module.out_tr.final_conv.*`` (network ``genesis_starter``). ``genesis_segment`` is JSON: the recipe and the losses.
Both are read by :func:`..checkpoints.load` and copied into a model by :func:`..checkpoints.initialise_from_genesis`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.files import atomic_file
from .recipe import ARCHITECTURES, PretrainRecipe


def write_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    epoch: int,
    optimizer: Mapping[str, Any],
    recipe: PretrainRecipe,
    facts: Mapping[str, Any],
) -> None:
    """Writes the file whole or not at all.

    Raises:
        OutputError: it could not be written; a previous one is untouched.
    """
    document = {
        "epoch": epoch,
        "state_dict": {f"module.{key}": value.cpu() for key, value in weights.items()},
        "optimizer_state_dict": optimizer,
        "genesis_segment": json.dumps(
            {"architecture": ARCHITECTURES[recipe.network], "recipe": asdict(recipe), **facts}
        ),
    }
    with atomic_file(path) as temporary:
        torch.save(document, temporary)


def facts_of(path: Path) -> dict[str, Any]:
    """What a file of ours says of how it was made; empty for another's."""
    document = torch.load(path, map_location="cpu", weights_only=True)
    return json.loads(document.get("genesis_segment", "{}"))
