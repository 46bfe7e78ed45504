"""One row of the table of figures, and the files that hold all of them."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.files import atomic_file

OURS_COLOR, EQUAL_COLOR, TEXT_COLOR = "#2f6f9f", "#8a8a8a", "#333333"


@dataclass(frozen=True)
class Figure:
    """What something takes (or reaches) in the plain, published form and in ours, measured in one run.

    ``ratio`` is how many times better ours is. ``agreement`` of the results is a share or a Dice in 0..1, and must be
    at least ``least_agreement``; None where there is nothing to compare. ``target`` is the ratio that is aimed at.
    Without ``plain`` and ``ours`` the case was not measured, and ``note`` says why.
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
