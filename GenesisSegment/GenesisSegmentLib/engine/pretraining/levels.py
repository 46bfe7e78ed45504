"""CTs as pre-training sees them: whole numbers that stand for 0..1.

The published range of -1000..1000 HU has 2001 whole values. Crops keep them as they are, in half the memory of floats,
and a change of all intensities is a table with one entry per level.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...core.errors import ModelError
from ...core.volume import Volume
from ..inference.preprocess import model_input
from ..inference.spec import ModelSpec
from ..models.catalogue import load_catalogue

LEVELS = 2000
"""The highest level; level / LEVELS is the value in 0..1."""
GENESIS_HU = (-1000, 1000)


@dataclass(frozen=True)
class Preparation:
    """How a network wants its CTs: ``levels`` makes uint16 (i, j, k) in 0..:data:`LEVELS` on RAS axes.

    ``level_of`` gives the level of a value in HU. ``grid`` says for people which grid it is, ``spacing_mm`` is None
    for that of the scan.
    """

    levels: Callable[[Volume], np.ndarray]
    level_of: Callable[[float], float]
    grid: str
    spacing_mm: tuple[float, float, float] | None = None


def preparation(network: str) -> Preparation:
    """The preparation for ``genesis_unet3d`` (the scan's own grid, as published) or ``starter`` (the starter's grid).

    Raises:
        ModelError: there is none for this network.
    """
    if network == "genesis_unet3d":
        return Preparation(genesis_levels, _genesis_level, "the scan's own grid")
    if network != "starter":
        raise ModelError(f'"{network}" cannot be pre-trained.', "Choose from: genesis_unet3d, starter.")
    spec = ModelSpec.of("starter", load_catalogue()["starter"].facts)
    grid = f"{' x '.join(f'{mm:g}' for mm in spec.spacing_mm)} mm"
    return Preparation(
        lambda volume: spec_levels(volume, spec),
        lambda hu: float(np.interp(hu, spec.window_hu, spec.window_values)) * LEVELS,
        grid,
        spec.spacing_mm,
    )


def genesis_levels(volume: Volume) -> np.ndarray:
    """The CT on its own grid, -1000..1000 HU as levels 0..2000: exact (Models Genesis)."""
    voxels = volume.geometry.to_ras.apply(volume.voxels)
    low, high = GENESIS_HU
    return (np.clip(voxels, low, high) - low).astype(np.uint16)


def spec_levels(volume: Volume, spec: ModelSpec) -> np.ndarray:
    """The CT on the grid of a model and with its intensity window; the body's box, without padding."""
    prepared = model_input(volume, spec)
    return np.rint(prepared.image[prepared.valid] * LEVELS).astype(np.uint16)


def values(levels: np.ndarray) -> np.ndarray:
    """Levels as float32 in 0..1."""
    return levels.astype(np.float32) / np.float32(LEVELS)


def _genesis_level(hu: float) -> float:
    low, high = GENESIS_HU
    return (hu - low) / (high - low) * LEVELS
