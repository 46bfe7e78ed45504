"""``python -m GenesisSegmentLib.engine.studies``: the two studies, their tables and their pictures."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import GenesisError
from ...core.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Data = Annotated[Path, typer.Argument(help="Folder with the labelled CTs.")]
Out = Annotated[Path, typer.Option("--output", "-o", help="Results; what lies there is not run again.")]
Seeds = Annotated[int, typer.Option(min=1, help="How often everything is done.")]
Steps = Annotated[int, typer.Option(min=1, help="Of each training.")]
ReportOnly = Annotated[bool, typer.Option("--report-only", help="Tables and pictures of what was run already.")]
_OUT = Path("studies-shown")
STEPS = 2000


@app.command()
def annotation(
    data: Data,
    out: Out = _OUT,
    seeds: Seeds = 3,
    steps: Steps = STEPS,
    pretraining_steps: Annotated[int, typer.Option(min=1, help="Of the pre-training.")] = 800,
    is_reported_only: ReportOnly = False,
) -> None:
    """Scratch against Genesis-style pre-training, with all labels and with parts of them."""
    from .pretraining import pretrained
    from .report import draw_starts, starts_report
    from .starts import start_runs
    from .trainer import StudyRecipe

    with _errors_told():
        genesis = None if is_reported_only else pretrained(data, out / "genesis", pretraining_steps, typer.echo)
        runs = start_runs(data, out, genesis, seeds, StudyRecipe(steps), typer.echo, is_reported_only)
        if runs:
            _tell(out / "annotation.md", starts_report(runs))
            draw_starts(out / "annotation.png", runs)


@app.command()
def depths(
    data: Data,
    out: Out = _OUT,
    seeds: Seeds = 3,
    steps: Steps = STEPS,
    is_reported_only: ReportOnly = False,
) -> None:
    """UNet++ with deep supervision, pruned to each of its levels, beside a U-Net of the same widths."""
    from ..benchmark.setting import QUICK
    from .depths import depth_costs, depth_runs
    from .report import depths_report, draw_depths
    from .trainer import StudyRecipe

    with _errors_told():
        runs = depth_runs(data, out, seeds, StudyRecipe(steps), typer.echo, is_reported_only)
        costs = depth_costs(out, QUICK, is_reported_only)
        _tell(out / "depths.md", depths_report(runs, costs))
        if costs and runs:
            draw_depths(out / "depths.png", runs, costs)


@contextmanager
def _errors_told() -> Iterator[None]:
    try:
        yield
    except GenesisError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error


def _tell(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    typer.echo(text)


if __name__ == "__main__":
    app()
