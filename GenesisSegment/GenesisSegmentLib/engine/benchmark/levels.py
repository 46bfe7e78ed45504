"""What a UNet++ costs at each of its levels, beside a U-Net of the same widths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...core.jobs import Job
from .figures import Figure
from .measure import in_turn, memory_figure, peak_of, race
from .setting import Setting

if TYPE_CHECKING:
    import torch
    from torch import nn

NARROW = (8, 8, 16, 32, 64, 8)
"""Channels that a network can be trained with on a CPU."""
LEVELS = (1, 2, 3, 4)
NAMES = ("unet", *(f"L{level}" for level in LEVELS))
_ROUNDING = 1e-5
_LEAST_SIDE = 32
"""Four poolings leave two voxels of it."""


@dataclass(frozen=True)
class LevelCost:
    """Weights, seconds for one window and the most memory beyond the idle process, of "unet" or "L1" to "L4"."""

    name: str
    parameters: int
    cpu_s: float
    wall_s: float
    peak_mb: float


def level_network(name: str, is_narrow: bool) -> nn.Module:
    """The network "unet", or "L1" to "L4" pruned from one UNet++, with random weights, as it predicts.

    Both kinds are MONAI's, with the same features: those that are published, or :data:`NARROW`.
    """
    import torch
    from monai.networks.nets.basic_unet import BasicUNet

    from ..networks.unetpp import FEATURES, UNetPlusPlus

    features = NARROW if is_narrow else FEATURES
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name == "unet":
            return BasicUNet(out_channels=2, features=features).eval()
        return UNetPlusPlus(features=features).prune(int(name.removeprefix("L"))).eval()


def level_costs(setting: Setting, is_narrow: bool, check: Callable[[], None]) -> list[LevelCost]:
    """One window by each network in turn, in one process; the memory of each in a process of its own.

    Raises:
        GenesisError: a process failed.
    """
    networks = [level_network(name, is_narrow) for name in NAMES]
    window = _window(setting)
    costs = in_turn([_forward(network, window) for network in networks], setting.rounds, check)
    return [
        LevelCost(name, _size(network), cost.cpu, cost.wall, _peak(name, is_narrow, setting, check))
        for name, network, cost in zip(NAMES, networks, costs, strict=True)
    ]


def levels(setting: Setting, job: Job) -> list[Figure]:
    """A window by UNet++ pruned to L1, L2 and L3, against the whole network, which says the same at that head."""
    import torch

    from ..networks.unetpp import FEATURES, UNetPlusPlus

    heads, window = UNetPlusPlus(deep_supervision=True, features=FEATURES).eval(), _window(setting)
    whole = heads.prune(LEVELS[-1])
    figures = []
    for level in LEVELS[:-1]:
        with torch.no_grad():
            found = race(_forward(whole, window), _forward(heads.prune(level), window), setting.rounds, job.check)
            head = heads(window)[level - 1]
        same = float(((head - found.our_result).abs() <= _ROUNDING * head.abs().max()).double().mean())
        metric = f"UNet++ at level {level} of 4, one window {_side(setting)}^3"
        note = "plain: the whole network; agreement: of the pruned one with the head at its level"
        figures += found.figures(metric, same, 1.0, note)
        memory = memory_figure(metric, (task("L4", False), task(f"L{level}", False)), setting, job.check)
        figures.append(replace(memory, note=f"{memory.note}; plain: the whole network"))
    return figures


def task(name: str, is_narrow: bool) -> str:
    """The name of the task of :mod:`.child` that runs one window."""
    return f"level-{'narrow' if is_narrow else 'wide'}-{name}"


def prepare(name: str, is_narrow: bool, setting: Setting) -> Callable[[], object]:
    """One window, for a process of its own."""
    return _forward(level_network(name, is_narrow), _window(setting))


def _peak(name: str, is_narrow: bool, setting: Setting, check: Callable[[], None]) -> float:
    check()
    return peak_of(task(name, is_narrow), setting)


def _window(setting: Setting) -> torch.Tensor:
    import torch

    from ..inference.selftest import sample_window

    return torch.from_numpy(sample_window(_side(setting)))[None, None]


def _side(setting: Setting) -> int:
    return max(setting.window_side, _LEAST_SIDE)


def _forward(network: nn.Module, window: torch.Tensor) -> Callable[[], torch.Tensor]:
    import torch

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return network(window)

    return forward


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
