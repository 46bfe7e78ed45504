"""How well a prediction agrees with reference labels: Dice, normalised surface Dice and the 95% Hausdorff distance.

Dice is 2 |P and R| / (|P| + |R|). The normalised surface Dice (NSD) is the share of both surfaces that lies within a
tolerance of the other one (Nikolov et al., arXiv 1809.04430). HD95 is the distance within which 95% of a surface lies
from the other one, the larger of both directions. Each piece of surface counts with its area. Counting border voxels
instead, as MONAI does by default, weighs the faces of scans with thick slices wrongly: 0.54 where 0.85 is right, for a
box of 24 x 24 x 70 mm on a grid of 0.8 x 0.8 x 5 mm, moved by one slice.
"""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from ..core.classes import structures
from ..core.files import atomic_file
from ..core.geometry import Box
from ..core.segmentation import Segmentation, class_boxes
from .alignment import aligned, cropped
from .hosts import organs_with_lesions

TOLERANCE_MM = 2.0

Status = Literal["scored", "missed", "false positive", "absent in both", "not annotated", "not predicted"]


@dataclass(frozen=True)
class ClassScore:
    """Agreement on one class. A number that is not defined is None and takes no part in a mean.

    ``status``:

    * "scored": in both.
    * "missed": in the reference, not found. Dice and NSD are 0; HD95 is not defined.
    * "false positive": annotated as absent, but found. No number (Dice would be 0 for one voxel as for a litre);
      ``predicted_ml`` says how much.
    * "absent in both": annotated as absent and not found. No number: it would reward what is easy.
    * "not annotated": the reference does not know; nothing is compared.
    * "not predicted": the prediction did not look for it; nothing is compared.
    """

    index: int
    name: str
    status: Status
    dice: float | None = None
    nsd: float | None = None
    hd95_mm: float | None = None
    predicted_ml: float | None = None
    reference_ml: float | None = None


def evaluate(
    prediction: Segmentation,
    reference: Segmentation,
    classes: Iterable[int] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
) -> tuple[ClassScore, ...]:
    """Scores the given classes (default: all that either side knows), ascending.

    Organs include their lesions on both sides (:mod:`GenesisSegmentLib.engine.hosts`), so that the scores of an organ
    do not depend on whether a file can hold both in one voxel. The reference may be stored along other axes (any of
    the 48 orientations) as long as its voxels lie in the same places.

    Raises:
        GeometryError: the two lie on different grids.
    """
    reference, _ = organs_with_lesions(aligned(reference, prediction.geometry))
    prediction, _ = organs_with_lesions(prediction)
    boxes = class_boxes(prediction.bits | reference.bits)
    asked = set(classes) if classes is not None else {*prediction.classes, *reference.classes}
    return tuple(_score(c, prediction, reference, boxes.get(c), tolerance_mm) for c in sorted(asked))


def _score(
    index: int,
    prediction: Segmentation,
    reference: Segmentation,
    box: Box | None,
    tolerance_mm: float,
) -> ClassScore:
    name = structures(reference.own)[index].slug
    if index not in reference.classes:
        return ClassScore(index, name, "not annotated")
    if index not in prediction.classes:
        return ClassScore(index, name, "not predicted")
    if box is None:
        return ClassScore(index, name, "absent in both", predicted_ml=0.0, reference_ml=0.0)
    predicted, true = (cropped(s, box).mask(index) for s in (prediction, reference))
    ml = prediction.geometry.voxel_ml
    volumes = {"predicted_ml": float(predicted.sum() * ml), "reference_ml": float(true.sum() * ml)}
    if not true.any():
        return ClassScore(index, name, "false positive", **volumes)
    if not predicted.any():
        return ClassScore(index, name, "missed", dice=0.0, nsd=0.0, **volumes)
    dice = 2 * np.count_nonzero(predicted & true) / (np.count_nonzero(predicted) + np.count_nonzero(true))
    nsd, hd95 = surface_scores(predicted, true, prediction.geometry.spacing, tolerance_mm)
    return ClassScore(index, name, "scored", float(dice), nsd, hd95, **volumes)


def surface_scores(
    predicted: np.ndarray, true: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> tuple[float, float]:
    """NSD at the tolerance and HD95 in millimetres of two non-empty masks (i, j, k)."""
    import torch
    from monai.metrics.utils import get_edge_surface_distance

    masks = torch.from_numpy(predicted), torch.from_numpy(true)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI 1.6 warns of an argument that it passes to itself
        edges, distances, areas = get_edge_surface_distance(
            *masks, spacing=tuple(spacing_mm), use_subvoxels=True, symmetric=True
        )
    sides = [
        (distance.numpy().astype(np.float64), area[edge].numpy().astype(np.float64))
        for edge, distance, area in zip(edges, distances, areas, strict=True)
    ]
    # Distances on a grid are exact multiples of the spacing up to rounding: one that equals the tolerance is within it.
    within = sum(area[distance <= tolerance_mm + 1e-5].sum() for distance, area in sides)
    nsd = within / sum(area.sum() for _, area in sides)
    return float(nsd), max(_reached_by(0.95, distance, area) for distance, area in sides)


def _reached_by(share: float, distance: np.ndarray, area: np.ndarray) -> float:
    """The smallest distance within which at least ``share`` of the area lies."""
    order = np.argsort(distance)
    total = np.cumsum(area[order])
    return float(distance[order][np.searchsorted(total, share * total[-1])])


def write_scores_csv(path: Path, scores: Sequence[ClassScore], tolerance_mm: float = TOLERANCE_MM) -> None:
    """Writes one row per class; undefined numbers stay empty, the tolerance stands in a column of its own.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    names = [field.name for field in fields(ClassScore)]
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["class", *names[1:], "nsd_tolerance_mm"])
        for score in scores:
            values = asdict(score).values()
            writer.writerow([*(f"{v:.4f}" if isinstance(v, float) else v for v in values), f"{tolerance_mm:g}"])
