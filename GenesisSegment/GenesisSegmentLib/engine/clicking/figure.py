"""What the trials say, as tables for people and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from .trials import COUNTS, Trial

EMPTY = "empty"
_COLOURS = ("#1b6ca8", "#c05621", "#2f855a", "#805ad5", "#718096")


def tables(trials: Sequence[Trial]) -> str:
    """Markdown: per structure and method, from damaged proposals (means over them) and from nothing."""
    parts = []
    for title, group in _groups(trials):
        head = " | ".join(str(n) for n in COUNTS)
        lines = [
            f"**{title}**",
            "",
            f"| structure | method | {head} | area | prompts to the goal |",
            f"|---|---|{'---|' * (len(COUNTS) + 2)}",
        ]
        for target, method in _pairs(group):
            some = [t for t in group if (t.target, t.method) == (target, method)]
            curve = np.mean([t.dice for t in some], axis=0)
            values = " | ".join(f"{curve[n]:.2f}" for n in COUNTS if n < len(curve))
            area = np.mean([t.area for t in some])
            lines.append(f"| {target} | {method} | {values} | {area:.3f} | {_needed(some)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def draw(path: Path, trials: Sequence[Trial]) -> None:
    """Curves of mean Dice over prompts, a panel for each structure and kind of start.

    Raises:
        OutputError: it could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = [(title, group) for title, group in _groups(trials)]
    columns = max(len({t.target for t in group}) for _, group in groups)
    figure = Figure(figsize=(2.9 * columns, 2.9 * len(groups)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, (title, group) in enumerate(groups):
        for column, target in enumerate(dict.fromkeys(t.target for t in group)):
            axes = figure.add_subplot(len(groups), columns, row * columns + column + 1)
            _draw_panel(axes, [t for t in group if t.target == target], f"{target}, {title.lower()}")
            if row == column == 0:
                axes.legend(fontsize=7)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _draw_panel(axes: Any, trials: Sequence[Trial], title: str) -> None:
    for colour, method in zip(_COLOURS, dict.fromkeys(t.method for t in trials), strict=False):
        curve = np.mean([t.dice for t in trials if t.method == method], axis=0)
        axes.plot(range(len(curve)), curve, color=colour, label=method, linewidth=1.4)
    axes.axhline(trials[0].wanted, color="#a0aec0", linewidth=0.7, linestyle=":")
    axes.set(title=title, xlabel="prompts", ylabel="Dice", ylim=(0, 1))
    axes.title.set_fontsize(8)


def _groups(trials: Sequence[Trial]) -> list[tuple[str, list[Trial]]]:
    """From damaged proposals, and from nothing."""
    parts = {
        "From a damaged proposal": [t for t in trials if t.start != EMPTY],
        "From nothing": [t for t in trials if t.start == EMPTY],
    }
    return [(title, group) for title, group in parts.items() if group]


def _pairs(trials: Sequence[Trial]) -> list[tuple[str, str]]:
    targets = dict.fromkeys(t.target for t in trials)
    methods = dict.fromkeys(t.method for t in trials)
    there = {(t.target, t.method) for t in trials}
    return [(target, method) for target in targets for method in methods if (target, method) in there]


def _needed(trials: Sequence[Trial]) -> str:
    """The most prompts that any of them needed; how many never got there."""
    counts = [t.needed for t in trials]
    reached = [n for n in counts if n is not None]
    if not reached:
        return "never"
    missed = len(counts) - len(reached)
    return f"{max(reached)}" + (f" ({missed} of {len(counts)} never)" if missed else "")
