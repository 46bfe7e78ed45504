"""``python -m GenesisSegmentLib.engine.showing DATA``: what learning from corrections brings, on real CTs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import GenesisError
from ...core.files import atomic_file
from .corrections import correction_runs
from .figure import draw, tables
from .misplaced import checked_masks, misplaced_table
from .structure import structure_runs


def main(
    data: Annotated[Path, typer.Argument(help="Folder with the labelled CTs.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Results; what lies there is not run again.")] = Path(
        "learning-shown"
    ),
    seeds: Annotated[int, typer.Option(help="How often everything is done.")] = 3,
    steps: Annotated[int, typer.Option(help="Of each round.")] = 40,
    head_steps: Annotated[int, typer.Option(help="Of the rounds that learn the head alone.")] = 200,
    genesis: Annotated[
        Path | None, typer.Option(help="Genesis-style weights of the starter's network, for the new structure.")
    ] = None,
    structure_steps: Annotated[str, typer.Option(help="Numbers of steps for the new structure.")] = "10,20,40",
    is_reported_only: Annotated[
        bool, typer.Option("--report-only", help="Tables and picture of what was run already.")
    ] = False,
) -> None:
    """Correct classes of real CTs as a clinician would, learn, and show what was gained, forgotten and kept out."""
    counts = [int(n) for n in structure_steps.split(",")]
    weights = None if is_reported_only else genesis
    try:
        structures = structure_runs(data, out, weights, seeds, counts, typer.echo)
        masks = checked_masks(data, out, typer.echo, is_reported_only)
        runs = correction_runs(data, out, seeds, steps, head_steps, typer.echo, is_reported_only)
    except GenesisError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    text = tables(runs, structures)
    if masks:
        text = f"{text}\n{misplaced_table(masks)}\n"
    with atomic_file(out / "learning.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw(out / "learning.png", runs, structures)
    typer.echo(text)


if __name__ == "__main__":
    typer.run(main)
