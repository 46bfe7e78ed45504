"""UNet++ with deep supervision, pruned to each of its levels, beside a U-Net of the same widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from monai.networks.nets.basic_unet import BasicUNet
from torch import nn

from ...core.files import atomic_file
from ...core.jobs import Job
from ..benchmark.levels import LEVELS, NARROW, level_costs
from ..benchmark.setting import Setting
from ..networks.unetpp import UNetPlusPlus
from .annotation import annotated_slices
from .crops import ORGANS, CropMaker
from .judging import StudyCases, dice_by_organ
from .records import check_steps, kept
from .trainer import StudyRecipe, repeatable, train

UNET, UNETPP = "unet", "unetpp"


@dataclass(frozen=True)
class DepthRun:
    """One training of "unet" or "unetpp"; ``dice`` by name ("unet", or "L1" to "L4") and by organ."""

    network: str
    seed: int
    steps: int
    losses: list[float]
    dice: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Costs:
    """What a window costs, by :class:`..benchmark.levels.LevelCost`: in the widths of the study and as published."""

    window: int
    narrow: list[dict[str, float | str]]
    published: list[dict[str, float | str]]


def depth_runs(
    data: Path,
    out: Path,
    seeds: int,
    recipe: StudyRecipe,
    report: Callable[[str], None],
    is_reported_only: bool = False,
) -> list[DepthRun]:
    """Both networks of all seeds; those whose result lies in ``out`` are not trained again. Their weights lie beside.

    Raises:
        InputError: a CT is missing in ``data``, or what lies in ``out`` is of another number of steps.
    """
    study, runs = _Study(data, out / "depths", recipe), []
    for seed in range(seeds):
        for name in (UNETPP, UNET):
            file = out / "depths" / f"{name}-{seed}.json"
            if not file.is_file():
                if is_reported_only:
                    continue
                report(file.stem)
            runs.append(kept(file, DepthRun, partial(study.run, name, seed, report)))
            if not is_reported_only:
                check_steps(file, runs[-1].steps, recipe.steps)
    return runs


def depth_costs(out: Path, setting: Setting, is_reported_only: bool = False) -> Costs | None:
    """Time and memory of one window, measured once."""
    file = out / "depths" / "costs.json"
    if is_reported_only and not file.is_file():
        return None
    return kept(file, Costs, partial(_costs, setting))


def _costs(setting: Setting) -> Costs:
    check = Job().check
    with repeatable(0):
        narrow, published = (level_costs(setting, is_narrow, check) for is_narrow in (True, False))
    return Costs(setting.window_side, [asdict(cost) for cost in narrow], [asdict(cost) for cost in published])


class _Study:
    """The cases, and one training on all of their labels."""

    def __init__(self, data: Path, folder: Path, recipe: StudyRecipe) -> None:
        self._cases, self._folder, self._recipe = StudyCases(data), folder, recipe

    def run(self, name: str, seed: int, report: Callable[[str], None]) -> DepthRun:
        """Both networks see the same crops in the same order."""
        cases = self._cases.labelled
        crops = CropMaker(cases, annotated_slices(cases, 1.0, seed), self._recipe.sides, seed)
        with repeatable(seed):
            network = a_network(name)
            losses = train(network, crops, self._recipe, report)
            found = {
                part: dice_by_organ(judged, self._cases.judge, self._recipe.sides)
                for part, judged in parts(network).items()
            }
        with atomic_file(self._folder / f"{name}-{seed}.pt") as file:
            torch.save({"state_dict": network.state_dict()}, file)
        return DepthRun(name, seed, self._recipe.steps, losses, found)


def a_network(name: str) -> nn.Module:
    """ "unet" or "unetpp" with deep supervision, both with the same features and fresh weights."""
    if name == UNET:
        return BasicUNet(out_channels=len(ORGANS), features=NARROW)
    return UNetPlusPlus(len(ORGANS), deep_supervision=True, features=NARROW)


def parts(network: nn.Module) -> Mapping[str, nn.Module]:
    """What is measured of a network: itself, or it pruned to each level."""
    if isinstance(network, UNetPlusPlus):
        return {f"L{level}": network.prune(level) for level in LEVELS}
    return {UNET: network}
