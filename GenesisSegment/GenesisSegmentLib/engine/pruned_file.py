"""A file with the weights of a UNet++ cut down to one of its levels: a subset of a checkpoint's, unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from ..core.errors import ModelError, OutputError
from ..core.files import atomic_file
from ..core.i18n import _
from .checkpoints import load
from .networks.unetpp import UNetPlusPlus
from .networks.unetpp_nnunet import UNetPlusPlusNNUNet

PRUNABLE = ("unetpp", "unetpp_nnunet")


@dataclass(frozen=True)
class PrunedFile:
    """What was written. ``parameters`` are those of the file, ``parameters_before`` those of the checkpoint."""

    path: Path
    architecture: str
    level: int
    parameters: int
    parameters_before: int


def prune_file(source: Path, level: int, target: Path) -> PrunedFile:
    """Writes the weights of ``source`` that level ``level`` needs; the network says exactly what the head there says.

    The file is one for :func:`.checkpoints.load`; ``genesis_segment`` in it says in JSON what it was made from.

    Raises:
        ModelError: the file is no checkpoint of a UNet++, or it has no head at this level.
        OutputError: the file cannot be written, or is the checkpoint itself; what was there is untouched.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise OutputError(
            _("{path} would be overwritten by its own part.").format(path=target), _("Give another file with -o.")
        )
    checkpoint = load(source)
    if checkpoint.architecture not in PRUNABLE:
        raise ModelError(
            _("{path} ({architecture}) has no levels to prune to.").format(
                path=source, architecture=checkpoint.architecture
            ),
            _("Give a checkpoint of a UNet++ with a head at every level (deep supervision)."),
        )
    whole = cast("UNetPlusPlus | UNetPlusPlusNNUNet", checkpoint.network())
    weights = {key: checkpoint.state[key].clone() for key in whole.prune(level).state_dict()}
    facts = {"network": checkpoint.architecture, "level": level, "pruned_from_sha256": checkpoint.sha256}
    document = {"state_dict": weights, "epoch": checkpoint.epoch, "genesis_segment": json.dumps(facts)}
    with atomic_file(target) as temporary:
        torch.save({key: value for key, value in document.items() if value is not None}, temporary)
    return PrunedFile(target, checkpoint.architecture, level, _count(weights), _count(checkpoint.state))


def _count(weights: Mapping[str, torch.Tensor]) -> int:
    return sum(weight.numel() for weight in weights.values())
