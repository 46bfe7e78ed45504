"""Genesis-style pre-training for the studies: of the network that they train, on the grid that they use.

It is what ``genesis-segment pretrain --network starter --quick`` does, with a narrower network on a coarser grid, and
sees no label and no CT of the patient who judges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from ...core.files import atomic_file
from ..pretraining.crops import draw_crops
from ..pretraining.levels import LEVELS
from ..pretraining.material import CropSet, Material
from ..pretraining.recipe import QUICK_STARTER, EpochRecord, PretrainRecipe
from ..pretraining.trainer import Pretraining, make_fabric
from ..starter.cases import GRID_MM, TrainingCase
from .crops import SPACING_MM, intensities, smoothed
from .judging import open_cts
from .trainer import repeatable

FILTERS = 8
"""Width of the backbone: half the starter's."""
RECIPE = replace(QUICK_STARTER, filters=FILTERS)


def pretrained(
    data: Path, folder: Path, steps: int, report: Callable[[str], None], recipe: PretrainRecipe = RECIPE
) -> Path:
    """The file with the weights, in ``folder``; made if it is not there, from where an earlier run was stopped.

    Raises:
        InputError: ``data`` has no CTs.
        OutputError: a file could not be written.
        ResourceError: Lightning Fabric is not installed.
    """
    path = folder / "genesis.pt"
    if path.is_file():
        return path

    def told(record: EpochRecord) -> None:
        report(f"  pre-training, step {record.step}: squared error {record.train_loss:.4f}")

    with repeatable(recipe.seed):
        material = _material(open_cts(data), folder / "genesis.work", recipe)
        fabric = make_fabric("cpu", recipe.precision)
        Pretraining(material, replace(recipe, steps=steps), folder / "genesis.work", fabric, report=told).run(path)
    return path


def _material(cases: list[TrainingCase], folder: Path, recipe: PretrainRecipe) -> Material:
    """All crops to learn from: with so few CTs none is spared to choose between epochs."""
    files: list[Path] = []
    names: list[str] = []
    digest = hashlib.sha256()
    for case in cases:
        levels = np.rint(intensities(coarse(case)) * LEVELS).astype(np.uint16)
        if any(n < w for n, w in zip(levels.shape, recipe.crops.window, strict=True)):
            continue
        crops = draw_crops(levels, 0.0, recipe.crops, np.random.default_rng([recipe.seed, len(files)]))
        file = folder / f"{case.name}.npy"
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, crops)
        digest.update(crops.tobytes())
        files.append(file)
        names.append(case.name)
    return Material(
        CropSet(files), CropSet([]), {"train": tuple(names), "validation": ()}, fingerprint=digest.hexdigest()
    )


def coarse(case: TrainingCase) -> np.ndarray:
    """The CT on the grid of the studies, float32 HU (i, j, k)."""
    return ndimage.zoom(smoothed(case), GRID_MM / SPACING_MM, order=1)
