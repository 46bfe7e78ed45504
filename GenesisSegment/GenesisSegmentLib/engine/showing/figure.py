"""What the runs say, as tables for people and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic_file
from ...core.rounds import GateRule
from .clinic import MISTAKES
from .corrections import LUNGS, ORGANS, RULE, Run
from .structure import StructureRun

_START_COLORS = {"genesis": "#1b6ca8", "scratch": "#c05621"}


def tables(runs: Sequence[Run], structures: Sequence[StructureRun]) -> str:
    """Markdown: gain and forgetting, gain per minute, mistakes, the new structure. Means over seeds, with the range."""
    parts = []
    if runs:
        parts += [_gain_table(runs), _pace_table(runs), _mistake_table(runs)]
    if structures:
        parts.append(_structure_table(structures))
    return "\n\n".join(filter(None, parts)) + "\n"


def draw(path: Path, runs: Sequence[Run], structures: Sequence[StructureRun]) -> None:
    """A picture of what there is: change of Dice per class with and without protection, and the new structure by steps.

    Raises:
        OutputError: it could not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts: list[Callable[[Any], None]] = []
    if runs:
        parts.append(lambda axes: _draw_changes(axes, runs))
    if structures:
        parts.append(lambda axes: _draw_structure(axes, structures))
    figure = Figure(figsize=(5.5 * max(1, len(parts)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for n, part in enumerate(parts, 1):
        part(figure.add_subplot(1, len(parts), n))
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _changes(runs: Sequence[Run], kind: str) -> dict[str, list[tuple[float, float]]]:
    """(before, after) by class over the seeds: lungs of the judge, other organs of the other patient."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in (r for r in runs if _kind(r) == kind):
        for score in run.scores:
            is_wanted = score.label in (LUNGS if score.split == "holdout" else ORGANS)
            if is_wanted:
                found.setdefault(score.label, []).append((score.dice_before, score.dice_after))
    return found


def _gain_table(runs: Sequence[Run]) -> str:
    kept, bare = _changes(runs, "protected"), _changes(runs, "unprotected")
    lines = [
        "| class | corrected | before | after, protected | change | after, unprotected | change |",
        "|---|---|---|---|---|---|---|",
    ]
    for label in (*LUNGS, *ORGANS):
        if label in kept:
            with_, without = kept[label], bare.get(label, [])
            cells = (label, "yes" if label in LUNGS else "no", _spread([b for b, _ in with_]), *_after(with_))
            lines.append(f"| {' | '.join((*cells, *_after(without)))} |")
    return "\n".join(lines)


def _pace_table(runs: Sequence[Run]) -> str:
    """What a minute of learning brings: all weights beside the head alone, on the same cases."""
    rows = []
    for kind, what in (("protected", "all weights"), ("head", "the head, on cached features")):
        gains = [(run, gain) for run in runs if _kind(run) == kind and (gain := _gain(run)) is not None]
        if gains:
            cells = (
                ", ".join(str(n) for n in sorted({run.steps for run, _ in gains})),
                _spread([run.learning_s for run, _ in gains], ".0f"),
                _spread([gain for _, gain in gains], "+.3f"),
                _spread([60 * gain / run.learning_s for run, gain in gains], "+.3f"),
            )
            rows.append(f"| {' | '.join((what, *cells))} |")
    head = ["| learned | steps | seconds of learning | Dice gained | Dice gained per minute |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows]) if rows else ""


def _gain(run: Run) -> float | None:
    """Mean Dice that the corrected classes gained on the judge; None where it, or the time it took, is not known."""
    gains = [s.dice_after - s.dice_before for s in run.scores if s.split == "holdout" and s.label in LUNGS]
    return float(np.mean(gains)) if gains and run.learning_s else None


def _kind(run: Run) -> str:
    return run.name.rpartition("-")[0]


def _mistake_table(runs: Sequence[Run]) -> str:
    lines = [
        "| corrections | rounds | cases left out as implausible | one patient is enough | usual rule |",
        "|---|---|---|---|---|",
    ]
    names = {
        "protected": "right",
        "head": "right, the head alone",
        "unprotected": "right, without pseudo-labels and replay",
    }
    for kind in (*names, *MISTAKES):
        some = [run for run in runs if _kind(run) == kind]
        if some:
            said = (_counted([run.judged_by(rule) for run in some]) for rule in (RULE, GateRule()))
            left_out = sum(run.left_out for run in some)
            lines.append(f"| {names.get(kind, kind)} | {len(some)} | {left_out} | {' | '.join(said)} |")
    return "\n".join(lines)


def _structure_table(runs: Sequence[StructureRun]) -> str:
    counts = [step for step, _ in runs[0].dice]
    lines = [
        f"| learned from | judged on | start | {' | '.join(f'{n} steps' for n in counts)} |",
        f"|---|---|---|{'---|' * len(counts)}",
    ]
    groups: dict[tuple[str, str, str], list[StructureRun]] = {}
    for run in runs:
        groups.setdefault((" and ".join(run.learned), run.judge, run.start), []).append(run)
    for (learned, judge, start), some in sorted(groups.items()):
        values = " | ".join(_spread([dict(run.dice)[n] for run in some]) for n in counts)
        lines.append(f"| {learned} | {judge} | {start} | {values} |")
    return "\n".join(lines)


def _after(pairs: Sequence[tuple[float, float]]) -> tuple[str, str]:
    if not pairs:
        return "", ""
    return _spread([after for _, after in pairs]), _spread([after - before for before, after in pairs], "+.3f")


def _spread(values: Sequence[float], form: str = ".3f") -> str:
    mean = f"{float(np.mean(values)):{form}}"
    return mean if len(values) < 2 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


def _counted(states: Sequence[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))


def _draw_changes(axes: Any, runs: Sequence[Run]) -> None:
    labels = [label for label in (*LUNGS, *ORGANS) if label in _changes(runs, "protected")]
    for shift, kind, color in ((-0.18, "protected", "#1b6ca8"), (0.18, "unprotected", "#c05621")):
        found = _changes(runs, kind)
        for n, label in enumerate(labels):
            changes = [after - before for before, after in found.get(label, [])]
            name = f"{'with' if kind == 'protected' else 'without'} pseudo-labels and replay" if not n else None
            if changes:
                axes.bar(n + shift, float(np.mean(changes)), 0.34, color=color, alpha=0.75, label=name)
                axes.plot([n + shift] * len(changes), changes, "k.", markersize=4)
    axes.axhline(0, color="0.3", linewidth=0.8)
    axes.axhline(-0.01, color="0.3", linewidth=0.8, linestyle=":")
    axes.set_xticks(range(len(labels)), [label.replace("_", " ") for label in labels], rotation=30, ha="right")
    axes.set_ylabel("change of Dice on CTs never trained on")
    axes.set_title("After correcting the lungs of two patients")
    if labels:
        axes.legend(fontsize=8)


def _draw_structure(axes: Any, runs: Sequence[StructureRun]) -> None:
    for start, color in _START_COLORS.items():
        alone = [run for run in runs if run.start == start and run.judge not in run.learned]
        if not alone:
            continue
        steps = [step for step, _ in alone[0].dice]
        values = np.array([[dice for _, dice in run.dice] for run in alone])
        axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15)
        axes.plot(steps, values.mean(0), "o-", color=color, label=f"from {start}")
    axes.set_xlabel("steps")
    axes.set_ylabel("Dice on the other patient")
    axes.set_ylim(0, 1)
    axes.set_title("Soft-tissue sarcoma, learned from one patient")
    axes.legend(fontsize=8)
