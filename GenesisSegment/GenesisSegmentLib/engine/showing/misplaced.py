"""How often masks that lie elsewhere are found out before they teach, and right ones are doubted: all labelled CTs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ...core.classes import class_table
from ...core.errors import InputError
from ...core.files import atomic_file
from ..images.reading import read_volume
from ..inference.preprocess import model_input
from ..inference.spec import ModelSpec
from ..labels import read_labels
from ..learning.material import on_grid
from ..learning.plausibility import best_fit, has_place
from ..models.catalogue import load_catalogue

SHIFTS_MM = (15.0, 30.0)


@dataclass(frozen=True)
class Checked:
    """The reference mask of a class of one CT: whether it was doubted as it is, and of its ``moved`` copies how many
    were found out, by shift in mm: (mm, copies, found out)."""

    case: str
    label: str
    is_doubted: bool
    moved: tuple[tuple[float, int, int], ...]


def checked_masks(data: Path, out: Path, report: Callable[[str], None], is_reported_only: bool) -> list[Checked]:
    """Every mask that is large enough to tell, on the grid of the starter, moved to both sides along each axis.

    What lies in ``out`` already is not done again.
    """
    file = out / "runs" / "misplaced.json"
    if not file.is_file() and not is_reported_only:
        found: list[Checked] = []
        for folder in sorted(labels.parent for labels in data.rglob("labels.nii.gz")):
            with suppress(InputError):  # no CT beside it, or other structures than those of the table
                report(f"misplaced masks: {folder.name}")
                found += _of_case(folder)
        with atomic_file(file) as temporary:
            temporary.write_text(json.dumps([asdict(mask) for mask in found], indent=1) + "\n", encoding="utf-8")
    if not file.is_file():
        return []
    documents = json.loads(file.read_text(encoding="utf-8"))
    return [Checked(**{**each, "moved": tuple(tuple(m) for m in each["moved"])}) for each in documents]


def misplaced_table(masks: Sequence[Checked]) -> str:
    """Markdown, with the classes whose copies were missed most."""
    doubted = sum(mask.is_doubted for mask in masks)
    lines = ["| masks | checked | left out | missed most |", "|---|---|---|---|"]
    lines.append(f"| right | {len(masks)} | {doubted} | |")
    for n, shift in enumerate(SHIFTS_MM):
        copies, caught = (sum(mask.moved[n][k] for mask in masks) for k in (1, 2))
        missed: Counter[str] = Counter()
        for mask in masks:
            missed[mask.label] += mask.moved[n][1] - mask.moved[n][2]
        worst = ", ".join(f"{label} {count}" for label, count in missed.most_common(6) if count)
        lines.append(f"| moved by {shift:g} mm | {copies} | {caught} | {worst} |")
    return "\n".join(lines)


def _of_case(folder: Path) -> Iterator[Checked]:
    volume, labels = read_volume(folder / "ct.nii.gz"), read_labels(folder).segmentation
    prepared = model_input(volume, ModelSpec.of("starter", load_catalogue()["starter"].facts))
    image, grid = np.ascontiguousarray(prepared.image[prepared.valid]), prepared.geometry
    for c in (c for c in labels.classes if has_place(class_table()[c].slug)):
        mask = on_grid(labels.mask(c), volume.geometry, grid)
        fit = best_fit(image, mask, grid)
        if fit is None:
            continue
        moved = []
        for shift in SHIFTS_MM:
            copies = [best_fit(image, copy, grid) for copy in _moved(mask, shift, grid.spacing)]
            judged = [copy for copy in copies if copy is not None]
            moved.append((shift, len(judged), sum(copy.is_moved for copy in judged)))
        yield Checked(folder.name, class_table()[c].slug, fit.is_moved, tuple(moved))


def _moved(mask: np.ndarray, mm: float, spacing: Sequence[float]) -> Iterator[np.ndarray]:
    """To both sides along each axis; what leaves the CT is lost."""
    for axis, size in enumerate(spacing):
        voxels = round(mm / size)
        whole = np.moveaxis(mask, axis, 0)
        for kept, place in ((slice(None, -voxels), slice(voxels, None)), (slice(voxels, None), slice(None, -voxels))):
            copy = np.zeros_like(mask)
            np.moveaxis(copy, axis, 0)[place] = whole[kept]
            yield copy
