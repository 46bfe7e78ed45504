"""What the runs say, as tables for people and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from .depths import UNET, Costs, DepthRun
from .judging import mean_dice
from .savings import saved_share, share_needed
from .starts import STARTS, Start, StartRun

_COLORS: Mapping[str, str] = {"genesis": "#1b6ca8", "scratch": "#c05621"}
_NAMES: Mapping[str, str] = {"genesis": "Genesis-style pre-training", "scratch": "from scratch"}
PUBLISHED_SAVING = 0.3
"""At least so much annotation is said to be saved (Zhou et al., "Models Genesis", Medical Image Analysis 2021)."""


def curves(runs: Sequence[StartRun], start: Start) -> dict[float, list[float]]:
    """Mean Dice of every seed, by share of the labels, largest share first."""
    found: dict[float, list[float]] = {}
    for run in sorted((r for r in runs if r.start == start), key=lambda r: (-r.share, r.seed)):
        found.setdefault(run.share, []).append(run.mean)
    return found


def starts_report(runs: Sequence[StartRun]) -> str:
    """Markdown: Dice by share and start with its spread over the seeds, by organ, and what is saved."""
    by_start = {start: curves(runs, start) for start in STARTS}
    lines = [
        "| labels | slices annotated | from scratch | Genesis-style | difference, same seed |",
        "|---|---|---|---|---|",
    ]
    for share in sorted({run.share for run in runs}, reverse=True):
        annotated = float(np.mean([run.annotated for run in runs if run.share == share]))
        cells = [_spread(by_start[start].get(share, [])) for start in ("scratch", "genesis")]
        lines.append(
            f"| {share:.0%} | {annotated:.0%} | {cells[0]} | {cells[1]} | {_spread(_gains(runs, share), '+.3f')} |"
        )
    return "\n".join([*lines, "", _organ_table(runs), "", saving_sentence(runs)]) + "\n"


def saving_sentence(runs: Sequence[StartRun]) -> str:
    """At which share of the labels the pre-trained start is as good as all labels from scratch: means, and by seed."""
    means = {start: {share: float(np.mean(found)) for share, found in curves(runs, start).items()} for start in STARTS}
    if 1.0 not in means["scratch"] or not means["genesis"]:
        return "Too little was run to say what is saved."
    seeds = []
    for seed in sorted({run.seed for run in runs}):
        scratch, genesis = ({r.share: r.mean for r in runs if r.seed == seed and r.start == s} for s in STARTS)
        if 1.0 in scratch and genesis:
            saved = saved_share(genesis, scratch)
            seeds.append("none" if saved is None else f"{saved:.0%}")
    needed = share_needed(means["genesis"], means["scratch"][1.0])
    if needed is None:
        told = "With pre-training, no share of the labels reaches what all of them bring from scratch"
    else:
        at_most = "at most " if needed == min(means["genesis"]) else ""
        told = f"With pre-training, {at_most}{needed:.0%} of the labels bring what all of them bring from scratch"
    alone = share_needed(means["scratch"], means["scratch"][1.0]) or 1.0
    return (
        f"{told} (saved, by seed: {', '.join(seeds)}; published: at least {PUBLISHED_SAVING:.0%}). "
        f"From scratch, {alone:.0%} of them bring as much: only what lies below that is saved by pre-training."
    )


def draw_starts(path: Path, runs: Sequence[StartRun]) -> None:
    """Dice against the share of the labels, for both starts: the mean, the range and every seed.

    Raises:
        OutputError: it could not be written.
    """
    figure, axes = _canvas((5.5, 4.0))
    for start in STARTS:
        found = curves(runs, start)
        if not found:
            continue
        shares, colour = list(found), _COLORS[start]
        axes.plot(shares, [np.mean(found[s]) for s in shares], color=colour, marker="o", label=_NAMES[start])
        axes.fill_between(
            shares, [min(found[s]) for s in shares], [max(found[s]) for s in shares], color=colour, alpha=0.15, lw=0
        )
        for share in shares:
            axes.plot([share] * len(found[share]), found[share], ".", color=colour, alpha=0.6, markersize=4)
        if start == "scratch" and 1.0 in found:
            axes.axhline(float(np.mean(found[1.0])), color=colour, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    marks = sorted({run.share for run in runs})
    axes.set_xticks(marks, [f"{share:.0%}" for share in marks])
    axes.minorticks_off()
    axes.set(xlabel="share of the labels", ylabel="Dice on the CT kept out, mean of the organs")
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path)


def depths_report(runs: Sequence[DepthRun], costs: Costs | None) -> str:
    """Markdown: weights, time and memory as multiples of the U-Net's, and Dice, by level."""
    scores = depth_scores(runs)
    lines = [
        "| network | Dice | weights | time of U-Net | memory of U-Net | weights | time of U-Net | memory of U-Net |",
        "|---|---|---|---|---|---|---|---|",
    ]
    narrow, published = (_cost_cells(part) for part in ((costs.narrow, costs.published) if costs else ([], [])))
    for name in dict.fromkeys([*narrow, *scores]):
        title = "U-Net" if name == UNET else f"UNet++ {name}"
        cells = [_spread(scores.get(name, [])), *narrow.get(name, ("", "", "")), *published.get(name, ("", "", ""))]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines) + "\n"


def depth_scores(runs: Sequence[DepthRun]) -> dict[str, list[float]]:
    """Mean Dice of every seed, by name of the network: the U-Net first, then the levels from the smallest."""
    found: dict[str, list[float]] = {}
    for run in sorted(runs, key=lambda r: (r.network != UNET, r.seed)):
        for name, by_organ in run.dice.items():
            found.setdefault(name, []).append(mean_dice(by_organ))
    return found


def draw_depths(path: Path, runs: Sequence[DepthRun], costs: Costs) -> None:
    """Dice against the time of a window, as a multiple of the U-Net's.

    Raises:
        OutputError: it could not be written.
    """
    figure, axes = _canvas((5.5, 4.0))
    scores, by_name = depth_scores(runs), {str(cost["name"]): cost for cost in costs.narrow}
    unit = float(by_name[UNET]["cpu_s"])
    for name, found in scores.items():
        x, colour = float(by_name[name]["cpu_s"]) / unit, _COLORS["scratch" if name == UNET else "genesis"]
        axes.plot([x] * len(found), found, ".", color=colour, alpha=0.6)
        axes.plot(x, np.mean(found), "o", color=colour)
        title = "U-Net" if name == UNET else name
        axes.annotate(title, (x, float(np.mean(found))), (6, 4), textcoords="offset points", fontsize=9)
    axes.set(xlabel="time of a window, as a multiple of the U-Net's", ylabel="Dice on the CT kept out")
    axes.set_xlim(left=0)
    _save(figure, path)


def _gains(runs: Sequence[StartRun], share: float) -> list[float]:
    """Genesis-style less scratch, for every seed that has both."""
    by_start = {start: {r.seed: r.mean for r in runs if r.start == start and r.share == share} for start in STARTS}
    return [by_start["genesis"][n] - by_start["scratch"][n] for n in by_start["scratch"] if n in by_start["genesis"]]


def _organ_table(runs: Sequence[StartRun]) -> str:
    shares = sorted({run.share for run in runs}, reverse=True)
    columns = [(start, share) for share in shares for start in STARTS]
    heads = [f"{share:.0%} {'Genesis' if start == 'genesis' else 'scratch'}" for start, share in columns]
    lines = [f"| organ | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    for label in dict.fromkeys(label for run in runs for label in run.dice):
        cells = []
        for start, share in columns:
            found = [run.dice[label] for run in runs if (run.start, run.share) == (start, share)]
            cells.append(f"{np.mean(found):.2f}" if found else "")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cost_cells(costs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """Weights in thousands, time and memory as multiples of the U-Net's, by name."""
    plain = next((cost for cost in costs if cost["name"] == UNET), None)
    if plain is None:
        return {}
    return {
        cost["name"]: (
            f"{cost['parameters'] / 1000:,.0f} k",
            f"{cost['cpu_s'] / plain['cpu_s']:.2f}",
            f"{cost['peak_mb'] / plain['peak_mb']:.2f}",
        )
        for cost in costs
    }


def _spread(values: Sequence[float], form: str = ".3f") -> str:
    """Mean and range."""
    if not values:
        return ""
    mean = format(float(np.mean(values)), form)
    if len(values) == 1:
        return mean
    return f"{mean} ({format(min(values), form)} to {format(max(values), form)})"


def _canvas(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)
