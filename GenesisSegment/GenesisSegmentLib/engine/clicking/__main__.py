"""``python -m GenesisSegmentLib.engine.clicking DATA``: trains the click network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...core.durations import in_seconds
from ...core.resources import resource
from .material import training_scans
from .release import ship
from .train import BATCHES, CHECKPOINT, ClickTraining, TrainingRecipe


def main(
    data: Annotated[Path, typer.Argument(help="Folder with CASES.csv and labelmaps/.")],
    work: Annotated[
        Path, typer.Option("--output", "-o", help="Checkpoint and log; a run that was stopped goes on from here.")
    ] = Path("click-training"),
    budget: Annotated[str, typer.Option(help="Wall time over all runs, such as 90m or 2h.")] = "2h",
    device: Annotated[str, typer.Option(help="cpu or cuda:0.")] = "cpu",
    larger: Annotated[int, typer.Option(help="Batches so many times as large; for a GPU.")] = 1,
    workers: Annotated[
        int, typer.Option(help="Threads that play the user; with a GPU, as many as there are cores.")
    ] = 1,
    is_shipped: Annotated[
        bool, typer.Option("--ship", help="No training: put what was trained into Resources/Models, with its card.")
    ] = False,
    figures: Annotated[Path | None, typer.Option(help="Table for the card: refining.md of show_refining.")] = None,
) -> None:
    """Train the click network on openly licensed cases, or ship what was trained."""
    if is_shipped:
        table = figures.read_text(encoding="utf-8") if figures else ""
        typer.echo(f"Written: {ship(work / CHECKPOINT, resource('Models'), data, table)}")
        return
    try:
        recipe = TrainingRecipe(in_seconds(budget), tuple(replace(b, games=larger * b.games) for b in BATCHES))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    ClickTraining(list(training_scans(data)), work, recipe, device, workers, typer.echo).run()


if __name__ == "__main__":
    typer.run(main)
