"""Ways to run a torch network faster. Which of them are used is decided by :mod:`.selftest`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ..networks.unet3d import UpStage

PATHS = ("folded", "channels_last", "bf16")
"""Two convolutions as one and another memory layout, both equal to rounding, and bfloat16 arithmetic, which is not."""
PLAIN: frozenset[str] = frozenset()


def arrange(network: torch.nn.Module, paths: frozenset[str]) -> None:
    """Brings the weights into the form and the memory layout of ``paths``."""
    import torch

    for stage in stages_to_fold(network):
        stage.fold("folded" in paths)
    is_last = "channels_last" in paths
    network.to(memory_format=torch.channels_last_3d if is_last else torch.contiguous_format)  # type: ignore[call-overload]


def stages_to_fold(network: torch.nn.Module) -> tuple[UpStage, ...]:
    """The stages of a network in which two convolutions can be computed as one."""
    from ..networks.unet3d import UpStage

    return tuple(module for module in network.modules() if isinstance(module, UpStage))


def forward(
    network: torch.nn.Module, image: torch.Tensor, channels: tuple[int, ...] | None, paths: frozenset[str]
) -> torch.Tensor:
    """(1, 1, X, Y, Z) -> float32 logits (1, n, X, Y, Z), by the paths that ``network`` was arranged for.

    Only the asked ``channels`` (None: all) are computed where the network can do that, as the universal model can.
    """
    import torch

    if "channels_last" in paths:
        image = image.contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad(), torch.autocast(image.device.type, torch.bfloat16, enabled="bf16" in paths):
        if channels is None:
            return network(image).float()
        if "channels" in inspect.signature(network.forward).parameters:
            return network(image, channels).float()
        return network(image)[:, list(channels)].float()
