"""A picture of scores: Dice and normalised surface Dice as bars per class, HD95 beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.classes import class_table
from ..core.files import atomic_file
from .evaluate import TOLERANCE_MM, ClassScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DICE_COLOR, NSD_COLOR, TEXT_COLOR, QUIET_COLOR = "#2f6f9f", "#e0a458", "#333333", "#8a8a8a"
_DROPPED = ("not annotated", "not predicted", "absent in both")


def plot_scores(path: Path, scores: Sequence[ClassScore], tolerance_mm: float = TOLERANCE_MM, title: str = "") -> None:
    """Writes a picture (.png, .svg or .pdf by the suffix).

    Classes that could not be compared are named below the bars, so that nobody takes their absence for a good score.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [s for s in scores if s.status not in _DROPPED]
    height = 1.6 + 0.46 * max(1, len(shown)) + 0.16 * len(_left_out(scores))
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _bars(axes, shown, tolerance_mm)
    axes.set_title(title or "Agreement with the reference", loc="left", color=TEXT_COLOR, fontsize=12, pad=26)
    figure.supxlabel("\n".join(_left_out(scores)), x=0.01, ha="left", fontsize=8, color=QUIET_COLOR)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _bars(axes: Axes, shown: Sequence[ClassScore], tolerance_mm: float) -> None:
    rows = np.arange(len(shown))
    for values, offset, color, label in (
        ([s.dice for s in shown], -0.19, DICE_COLOR, "Dice"),
        ([s.nsd for s in shown], 0.19, NSD_COLOR, f"NSD at {tolerance_mm:g} mm"),
    ):
        axes.barh(rows + offset, [v or 0.0 for v in values], height=0.36, color=color, label=label, zorder=2)
        for row, value in zip(rows.tolist(), values, strict=True):
            if value is not None:
                axes.text(value + 0.008, row + offset, f"{value:.2f}", va="center", fontsize=7.5, color=TEXT_COLOR)
    for row, score in zip(rows.tolist(), shown, strict=True):
        remark = f"{score.hd95_mm:.1f} mm" if score.hd95_mm is not None else _remark(score)
        axes.text(1.12, row, remark, va="center", ha="left", fontsize=8.5, color=TEXT_COLOR)
    above = axes.get_xaxis_transform()
    axes.text(1.12, 1.0, "HD95", transform=above, va="bottom", fontsize=8.5, color=QUIET_COLOR)
    axes.set_yticks(rows, [_title(s) for s in shown])
    axes.set_ylim(max(0.6, len(shown) - 0.4), -0.6)
    axes.set_xlim(0, 1.45)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="both", length=0, labelcolor=TEXT_COLOR, labelsize=9)
    axes.grid(axis="x", color="#e3e3e3", linewidth=0.8, zorder=0)
    axes.spines[:].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=8.5, borderaxespad=0.2)


def _title(score: ClassScore) -> str:
    known = class_table().get(score.index)
    return known.name if known else score.name


def _remark(score: ClassScore) -> str:
    if score.status == "missed":
        return f"missed ({score.reference_ml:.1f} ml)"
    return f"false positive ({score.predicted_ml:.1f} ml)"


def _left_out(scores: Sequence[ClassScore]) -> list[str]:
    lines: list[str] = []
    for status in _DROPPED:
        names = [_title(s) for s in scores if s.status == status]
        if names:
            lines += textwrap.wrap(f"{status.capitalize()}: {', '.join(names)}", width=125)
    return lines
