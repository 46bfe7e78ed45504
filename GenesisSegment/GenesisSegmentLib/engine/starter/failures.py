"""Pictures of where the starter is most wrong, for its model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.corrections import BoxedMask
from ..images.reading import read_volume
from ..inference.spec import RunOptions
from ..labels import read_labels
from ..learning.pictures import Names, draw_change
from .cases import is_open, rows
from .release import CaseFigures, Segments

FILE = "genesis_starter_{class_name}.png"
_MOST = 2
_NAMES = Names("found", "reference", "reference")


@dataclass(frozen=True)
class Failure:
    """What was found worst: the ``file`` of the picture, and what it shows."""

    file: str
    case: str
    class_name: str
    dice: float


def draw_failures(
    data: Path, figures: Sequence[CaseFigures], offered: Sequence[int], segmenter: Segments, target: Path
) -> tuple[Failure, ...]:
    """Writes a picture of each of the two offered classes with the lowest Dice, of openly licensed CTs alone.

    Each shows the slice with most voxels that are wrong: what was found at the left, the reference at the right.

    Raises:
        OutputError: a picture cannot be written.
    """
    known = [(s.dice, s, f) for f in figures if is_open(f.licence) for s in f.scores if s.index in offered and s.dice]
    places = {row["case"]: data / row["path"] for row in rows(data / "CASES.csv")}
    drawn = []
    for dice, score, figure in sorted(known, key=lambda item: item[0])[:_MOST]:
        folder = places[figure.case]
        volume = read_volume(folder / "ct.nii.gz")
        truth = read_labels(folder).segmentation.mask(score.index).astype(bool)
        found = segmenter.segment(volume, RunOptions()).segmentation.mask(score.index).astype(bool)
        file = FILE.format(class_name=score.name)
        masks = BoxedMask.of(found), BoxedMask.of(truth), BoxedMask.of(truth)
        title = f"{score.name} of {figure.case}, Dice {dice:.2f}"
        if draw_change(target / file, volume, *masks, score.name, title, _NAMES):
            drawn.append(Failure(file, figure.case, score.name, dice))
    return tuple(drawn)
