"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from .console import print_out
from .outcomes import Done, Outcome

if TYPE_CHECKING:
    from ..engine.measure import Measurement

_COLOURS = {"done": "green", "done before": "cyan", "skipped": "yellow", "failed": "red"}


def plain_table(*headings: str) -> Table:
    """A table without lines: the first column is text, which folds where it must; the others are numbers."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    first, *others = headings
    table.add_column(first, overflow="fold", min_width=12)
    for heading in others:
        table.add_column(heading, no_wrap=True, justify="right")
    return table


def measurement_table(measurements: Sequence[Measurement]) -> None:
    """Volume, HU and lesions of the classes that were found, then the names of the others."""
    found = [m for m in measurements if m.voxels]
    has_lesions = any(m.lesions for m in found)
    table = plain_table("Class", "Volume ml", "Mean HU", "SD HU", *(("Lesions", "Longest mm") if has_lesions else ()))
    table.add_column("", no_wrap=True)
    for m in found:
        lesions = ["", ""]
        if m.lesions:
            lesions = [str(len(m.lesions)), f"{max(lesion.longest_mm for lesion in m.lesions):.1f}"]
        cut = "cut by edge" if m.touches_border else ""
        cells = (f"{m.volume_ml:.1f}", f"{m.mean_hu:.0f}", f"{m.sd_hu:.0f}", *(lesions if has_lesions else ()), cut)
        table.add_row(m.name, *cells)
    if found:
        print_out(table)
    absent = [m.name for m in measurements if not m.voxels]
    if absent:
        print_out(f"Not found: {', '.join(absent)}")


def summary_table(outcomes: Sequence[Outcome]) -> None:
    """One row per case of a batch; full paths are in the summary file."""
    table = plain_table("Case", "Classes found", "Seconds")
    table.add_column("Status", no_wrap=True)
    table.add_column("")
    for outcome in outcomes:
        found = seconds = note = ""
        if isinstance(outcome, Done):
            note = "" if outcome.report.segmentation else "no DICOM SEG, as it cannot hold zero segments"
            found = str(len(outcome.report.classes_found))
            seconds = f"{sum(outcome.report.seconds.values()):.1f}" if outcome.status == "done" else ""
        status = f"[{_COLOURS[outcome.status]}]{outcome.status}[/]"
        table.add_row(escape(outcome.name), found, seconds, status, note)
    print_out(table)
