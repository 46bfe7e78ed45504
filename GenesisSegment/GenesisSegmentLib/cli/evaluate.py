"""``genesis-segment evaluate``: how well a segmentation agrees with reference labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.jobs import Job
from .console import UsageError, print_json, print_note, print_out, run_cancellable, say, short
from .tables import plain_table

if TYPE_CHECKING:
    from ..engine.evaluate import ClassScore

_NOT_COMPARED = ("absent in both", "not annotated", "not predicted")
_PICTURES = (".png", ".svg", ".pdf")


def evaluate(
    prediction: Annotated[
        Path,
        typer.Argument(
            metavar="PREDICTION", help="Segmentation: .seg.nrrd, a label map with its .json, or a folder of masks."
        ),
    ],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Reference labels in one of the same forms.")],
    classes: Annotated[str, typer.Option(help="Only these, such as liver,kidneys.")] = "",
    tolerance: Annotated[float, typer.Option(min=0.0, max=100.0, help="Tolerance of the surface Dice in mm.")] = 2.0,
    csv: Annotated[Path | None, typer.Option(help="Write the table as CSV.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a plot: .png, .svg or .pdf.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Compare a segmentation with reference labels: Dice, normalised surface Dice, 95% Hausdorff distance.

    A class that the reference did not annotate is skipped, not counted as zero. Organs include their lesions.
    """
    if plot and plot.suffix.lower() not in _PICTURES:
        raise UsageError(f"{plot} is not a picture that can be written.", f"Use one of {', '.join(_PICTURES)}.")
    scores, notes = run_cancellable(Job(), lambda: _scores(prediction, reference, classes, tolerance))
    for note in notes:
        print_note(note)
    if csv:
        from ..engine.evaluate import write_scores_csv

        write_scores_csv(csv, scores, tolerance)
        say(f"Table: {short(csv)}")
    if plot:
        from ..engine.score_plot import plot_scores

        plot_scores(plot, scores, tolerance)
        say(f"Plot: {short(plot)}")
    if as_json:
        print_json({"tolerance_mm": tolerance, "scores": [asdict(s) for s in scores]})
    else:
        score_table(scores, tolerance)


def _scores(
    prediction: Path, reference: Path, classes: str, tolerance: float
) -> tuple[tuple[ClassScore, ...], tuple[str, ...]]:
    from ..core.classes import find_classes
    from ..core.segmentation import MAX_CLASSES, MOST_CLASSES
    from ..engine.alignment import brought_together
    from ..engine.evaluate import evaluate as score
    from ..engine.labels import read_labels

    names = [name for name in classes.split(",") if name.strip()]
    predicted, truth = read_labels(prediction), read_labels(reference)
    # What both name alike is compared, too, though the class table lacks it.
    own = tuple(name for name in predicted.others if name in truth.others)[: MOST_CLASSES - MAX_CLASSES]
    if own:
        predicted, truth = read_labels(prediction, own), read_labels(reference, own)
    wanted = find_classes(names, own=own) if names else None
    notes = tuple(dict.fromkeys((*predicted.notes, *truth.notes)))
    return score(*brought_together(predicted, truth), wanted, tolerance), notes


def score_table(scores: Sequence[ClassScore], tolerance: float) -> None:
    """One row per class that was compared, then the names of those that were not; undefined numbers stay empty."""
    table = plain_table("Class", "Dice", f"NSD {tolerance:g} mm", "HD95 mm", "Found ml", "True ml")
    table.add_column("", no_wrap=True)
    compared = [s for s in scores if s.status not in _NOT_COMPARED]
    for s in compared:
        numbers = (s.dice, s.nsd, s.hd95_mm, s.predicted_ml, s.reference_ml)
        digits = (3, 3, 1, 1, 1)
        cells = ("" if n is None else f"{n:.{d}f}" for n, d in zip(numbers, digits, strict=True))
        table.add_row(s.name, *cells, "" if s.status == "scored" else s.status)
    if compared:
        print_out(table)
    for status in _NOT_COMPARED:
        names = [s.name for s in scores if s.status == status]
        if names:
            print_out(f"{status.capitalize()}: {', '.join(names)}")
