"""``python -m GenesisSegmentLib.engine.starter DATA``: the recipe of the starter from data to model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...core.durations import in_seconds
from ...core.resources import resource
from .cases import training_cases
from .model_card import write_model_card
from .release import measure_starter, ship
from .train import StarterTraining, TrainingRecipe


def main(
    data: Annotated[Path, typer.Argument(help="Folder with CASES.csv and labelmaps/.")],
    work: Annotated[Path, typer.Option(help="Checkpoint and log; a run that was stopped goes on from here.")] = Path(
        "starter-training"
    ),
    budget: Annotated[str, typer.Option(help="Wall time over all runs, such as 90m or 2h.")] = "2h",
    device: Annotated[str, typer.Option(help="cpu or cuda:0.")] = "cpu",
    models: Annotated[Path | None, typer.Option(help="Where the result goes; by default Resources/Models.")] = None,
    measure_only: Annotated[bool, typer.Option("--measure-only", help="Measure what is shipped; no training.")] = False,
) -> None:
    """Train the starter model on openly licensed cases, ship it, measure it, write its model card."""
    folder = models or resource("Models")
    try:
        recipe = TrainingRecipe(budget_s=in_seconds(budget))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    cases = list(training_cases(data))
    if not measure_only:
        training = StarterTraining(cases, work, recipe, device=device, report=typer.echo)
        training.run()
        trained = {"step": training.step, "elapsed_s": training.elapsed_s, "loss": training.last_loss}
        ship(training.checkpoint, folder)
    else:
        trained = json.loads((folder / "genesis_starter.figures.json").read_text(encoding="utf-8"))["trained"]
    figures = measure_starter(data, cases)
    write_model_card(folder, cases, figures, recipe, trained)
    for figure in figures:
        for score in figure.scores:
            typer.echo(f"{figure.case} {score.name}: Dice {score.dice}")


if __name__ == "__main__":
    typer.run(main)
