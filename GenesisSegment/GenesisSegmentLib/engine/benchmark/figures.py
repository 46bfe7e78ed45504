"""One row of the table of figures, and the files that hold all of them."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.files import atomic_file

OURS_COLOR, EQUAL_COLOR, TEXT_COLOR = "#2f6f9f", "#8a8a8a", "#333333"


@dataclass(frozen=True)
class Curve:
    """How ``ys`` grow with ``xs``: what these are, with their units, in words."""

    x: str
    y: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]

    @property
    def power(self) -> float:
        """The exponent of growth, from the first point to the last: 1 is linear, 0 none."""
        return math.log(self.ys[-1] / self.ys[0]) / math.log(self.xs[-1] / self.xs[0])


@dataclass(frozen=True)
class Figure:
    """What something takes (or reaches) in the plain, published form and in ours, measured in one run.

    ``ratio`` is how many times better ours is. ``agreement`` of the results is a share or a Dice in 0..1, and must be
    at least ``least_agreement``; None where there is nothing to compare. ``target`` is the ratio that is aimed at,
    ``limit`` the most that ours may be. ``floor``, in the unit of ours, is what the arithmetic alone would take at the
    machine's own convolution rate. ``curve`` is what a figure about growth was read from. Without ``ours`` the case was
    not measured, and ``note`` says why.
    """

    metric: str
    plain: float | None
    ours: float | None
    unit: str
    ratio: float | None
    agreement: float | None
    note: str = ""
    least_agreement: float = 0.0
    target: float | None = None
    limit: float | None = None
    floor: float | None = None
    curve: Curve | None = None

    @property
    def times_floor(self) -> float | None:
        """How many times the floor ours is."""
        return None if self.floor is None or self.ours is None else self.ours / self.floor

    @property
    def agrees(self) -> bool:
        """Whether the results are equal enough."""
        return self.agreement is None or self.agreement >= self.least_agreement

    @classmethod
    def not_measured(cls, metric: str, why: str) -> Figure:
        """A case that could not run here."""
        return cls(metric, None, None, "", None, None, why)


def all_agree(figures: Sequence[Figure]) -> bool:
    """Whether every result of ours is the plain one's."""
    return all(figure.agrees for figure in figures)


def document(figures: Sequence[Figure]) -> dict[str, Any]:
    """The figures and the machine they hold for, in plain types."""
    import torch

    return {
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
        "agrees": all_agree(figures),
        "figures": [asdict(figure) for figure in figures],
    }


def write_json(path: Path, figures: Sequence[Figure]) -> None:
    """Writes the figures for machines.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(document(figures), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def plot_figures(path: Path, figures: Sequence[Figure]) -> None:
    """Writes the ratios as bars on a logarithmic scale (.png, .svg or .pdf by the suffix).

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    shown = [(f, f.ratio) for f in figures if f.ratio is not None][::-1]
    plot = Plot(figsize=(8, 1.2 + 0.34 * max(1, len(shown))), layout="constrained")
    FigureCanvasAgg(plot)
    axes = plot.subplots()
    ratios = [ratio for _, ratio in shown]
    axes.barh(range(len(shown)), [r - 1 for r in ratios], left=1, color=OURS_COLOR, height=0.6)
    for row, ratio in enumerate(ratios):
        axes.text(max(ratio, 1.0) * 1.05, row, f"{ratio:.3g}", va="center", fontsize=8, color=TEXT_COLOR)
    axes.axvline(1, color=EQUAL_COLOR, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(min([0.8, *(0.8 * r for r in ratios)]), max([2.0, *(2.0 * r for r in ratios)]))
    axes.set_yticks(range(len(shown)), [f"{f.metric} ({f.unit})" for f, _ in shown], fontsize=8)
    axes.set_title("Times better than the plain form, same run", loc="left", fontsize=11, color=TEXT_COLOR)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_file(path) as temporary:
        plot.savefig(temporary, dpi=150)


def plot_curves(path: Path, figures: Sequence[Figure]) -> bool:
    """Draws what was measured of growth, both axes logarithmic, with a straight line of power 1 for comparison.

    Returns whether there was anything to draw.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Plot

    curves = [(figure.metric, figure.curve) for figure in figures if figure.curve is not None]
    if not curves:
        return False
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    plot = Plot(figsize=(3.6 * columns, 3.0 * rows), layout="constrained")
    FigureCanvasAgg(plot)
    for axes, (metric, curve) in zip(plot.subplots(rows, columns, squeeze=False).flat, curves, strict=False):
        axes.plot(curve.xs, [curve.ys[0] * x / curve.xs[0] for x in curve.xs], color=EQUAL_COLOR, linewidth=1)
        axes.plot(curve.xs, curve.ys, color=OURS_COLOR, marker="o", markersize=4)
        for x, y in zip(curve.xs, curve.ys, strict=True):
            axes.annotate(f"{y:.3g}", (x, y), (-4, 6), textcoords="offset points", fontsize=8, color=TEXT_COLOR)
        axes.set(xscale="log", yscale="log", xlabel=curve.x, ylabel=curve.y)
        axes.set_xticks(curve.xs, [f"{x:.3g}" for x in curve.xs])
        axes.set_yticks([])
        axes.minorticks_off()
        axes.set_title(f"{metric}: power {curve.power:.2f}\n(grey: linear)", loc="left", fontsize=8, color=TEXT_COLOR)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in plot.axes[len(curves) :]:
        axes.remove()
    with atomic_file(path) as temporary:
        plot.savefig(temporary, dpi=150)
    return True
