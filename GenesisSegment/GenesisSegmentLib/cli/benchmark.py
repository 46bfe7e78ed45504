"""``genesis-segment benchmark``: the figures of the README, as ratios measured in one run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from .consent import job_with_bar
from .console import err, out, print_json, run_cancellable

if TYPE_CHECKING:
    from ..engine.benchmark import Figure


def benchmark(
    full: Annotated[bool, typer.Option("--full", help="Full sizes: takes half an hour or more.")] = False,
    ct: Annotated[Path | None, typer.Option(help="A CT to use in place of the synthetic phantom.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the figures as files.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Measure this case alone; can be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    module: Annotated[
        bool,
        typer.Option("--module", help="Measure the Slicer module against its targets; needs slicer-core."),
    ] = False,
    learning: Annotated[
        bool, typer.Option("--learning", help="Measure a step of learning, in every mode, against the plain loop.")
    ] = False,
) -> None:
    """Measure how much faster and smaller this is than the published way, on this machine, in a few minutes.

    Both ways run in turn, so trust the ratios, not the seconds. "Of floor" is how many times what the arithmetic takes
    at the machine's own convolution rate. Exit code 1 if any result differs from the published, whatever the speed.
    """
    # Threads that spin while they wait for a core that other programs use would be counted as work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if module:
        from .module_benchmark import module_benchmark

        raise typer.Exit(0 if module_benchmark(full, output, as_json) else 1)
    from ..engine.benchmark import FULL, QUICK, all_agree, plot_curves, plot_figures, run, write_json
    from ..engine.benchmark.figures import document

    setting = replace(FULL if full else QUICK, ct=ct)
    with job_with_bar("Measuring") as job:

        def tell(figures: Sequence[Figure]) -> None:
            """A long run leaves what it has, also when it is stopped."""
            if output:
                write_json(output / "benchmark.json", figures)
            if full:
                err.print(_line(figures[-1]), soft_wrap=True, highlight=False)

        figures = run_cancellable(job, lambda: run(setting, job, learning, only or (), tell))
    if output:
        files = [output / "benchmark.json", output / "benchmark.png"]
        plot_figures(files[1], figures)
        if plot_curves(output / "growth.png", figures):
            files.append(output / "growth.png")
        err.print(f"Figures: {', '.join(map(str, files))}", soft_wrap=True, highlight=False)
    if as_json:
        print_json(document(figures))
    else:
        out.print(figure_table(figures))
        for metric, note in dict.fromkeys((figure.metric, figure.note) for figure in figures if figure.note):
            out.print(f"[dim]{escape(metric)}: {escape(note)}[/]", highlight=False)
    if not all_agree(figures):
        wrong = ", ".join(dict.fromkeys(figure.metric for figure in figures if not figure.agrees))
        err.print(f"[bold red]Results differ from the published ones:[/] {escape(wrong)}", soft_wrap=True)
        raise typer.Exit(1)


def figure_table(figures: Sequence[Figure]) -> Table:
    """One row per figure; the name of what is measured stands in the first of its rows."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("What", overflow="fold")
    for heading in ("Published", "Ours"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Unit", no_wrap=True)
    for heading in ("Ratio", "Target", "Agreement", "Of floor"):
        table.add_column(heading, justify="right", no_wrap=True)
    previous = ""
    for figure in figures:
        agreement = "" if figure.agreement is None else f"{figure.agreement:.6f}"
        table.add_row(
            "" if figure.metric == previous else escape(figure.metric),
            _number(figure.plain),
            _number(figure.ours),
            figure.unit or "not measured",
            _times(figure.ratio),
            _aim(figure),
            agreement if figure.agrees else f"[bold red]{agreement}[/]",
            _times(figure.times_floor),
        )
        previous = figure.metric
    return table


def _line(figure: Figure) -> str:
    """A figure that is just there."""
    values = [f"{_number(figure.plain)} ->" if figure.plain is not None else "", _number(figure.ours), figure.unit]
    return " ".join(filter(None, (f"{escape(figure.metric)}:", *values, _times(figure.ratio))))


def _aim(figure: Figure) -> str:
    return _times(figure.target) if figure.limit is None else f"at most {figure.limit:g}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}x"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
