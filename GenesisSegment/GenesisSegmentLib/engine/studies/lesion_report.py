"""What the study of lesions says, as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.files import atomic_file

if TYPE_CHECKING:
    from .lesions import LesionRun

BANDS = ((0, 10), (10, 20), (20, 30), (30, 1000))
"""Diameters in mm."""
COLORS = {"synthetic": "#2f6f9f", "marked": "#c05621"}
NAMES = {"synthetic": "synthetic lesions only", "marked": "marked tumours only"}


def report(runs: Sequence[LesionRun]) -> str:
    """Markdown: marked tumours one by one, planted lesions by size, false findings; counts over all seeds."""
    ways = [way for way in NAMES if any(run.way == way for run in runs)]
    heads = [f"{NAMES[way]} ({len({r.seed for r in runs if r.way == way})} seeds)" for way in ways]
    lines = [_line(["lesions that were looked for", *heads]), _line(["---"] * (len(heads) + 1))]
    for name, mm in sorted({(e["scan"], e["mm"]) for run in runs for e in run.lesions}):
        cells = [_hits([e for run in runs if run.way == way for e in run.lesions if e["scan"] == name]) for way in ways]
        lines.append(_line([f"marked by a person: {name}, {mm:.0f} mm", *cells]))
    for band in BANDS:
        cells = [_hits([e for run in runs if run.way == way for e in _in_band(run, band)]) for way in ways]
        lines.append(_line([f"planted into a CT kept apart, {_words(band)}", *cells]))
    lines += ["", _line(["false findings per scan", *heads]), _line(["---"] * (len(heads) + 1))]
    for scan in sorted({scan for run in runs for scan in run.false_findings}):
        counts = [[r.false_findings[scan] for r in runs if r.way == way and scan in r.false_findings] for way in ways]
        lines.append(_line([scan, *(f"{np.mean(c):.1f} ({min(c)} to {max(c)})" if c else "" for c in counts)]))
    return "\n".join(lines) + "\n"


def draw(path: Path, runs: Sequence[LesionRun]) -> None:
    """Sensitivity by size, planted and marked lesions side by side.

    Raises:
        OutputError: it could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for n, (way, color) in enumerate(COLORS.items()):
        mine = [run for run in runs if run.way == way]
        shares = [_share([e for run in mine for e in _in_band(run, band)]) for band in BANDS]
        left.bar(np.arange(len(BANDS)) + 0.4 * n - 0.2, shares, 0.36, color=color, label=NAMES[way])
        tumours = sorted({(e["mm"], e["scan"]) for run in runs for e in run.lesions})
        shares = [_share([e for run in mine for e in run.lesions if e["scan"] == name]) for _mm, name in tumours]
        right.bar(np.arange(len(tumours)) + 0.4 * n - 0.2, shares, 0.36, color=color)
        right.set_xticks(range(len(tumours)), [f"{mm:.0f} mm" for mm, _name in tumours])
    left.set_xticks(range(len(BANDS)), [_words(band) for band in BANDS], fontsize=8)
    left.set_title("Planted, CT kept apart", loc="left", fontsize=10)
    right.set_title("Marked by a person, patient kept apart", loc="left", fontsize=10)
    left.set_ylabel("share found")
    left.legend(fontsize=8, loc="lower right")
    for axes in (left, right):
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _in_band(run: LesionRun, band: tuple[int, int]) -> list[dict]:
    return [each for each in run.planted if band[0] <= each["mm"] < band[1]]


def _hits(lesions: Sequence[dict]) -> str:
    if not lesions:
        return ""
    dice = np.mean([each["dice"] for each in lesions])
    return f"{sum(each['is_found'] for each in lesions)} of {len(lesions)}, Dice {dice:.2f}"


def _share(lesions: Sequence[dict]) -> float:
    return float(np.mean([each["is_found"] for each in lesions])) if lesions else 0.0


def _words(band: tuple[int, int]) -> str:
    low, high = band
    return f"under {high} mm" if not low else f"{low} mm and more" if high > 500 else f"{low} to {high} mm"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
