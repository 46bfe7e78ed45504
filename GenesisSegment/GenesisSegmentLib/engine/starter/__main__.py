"""``python -m GenesisSegmentLib.engine.starter DATA``: the recipe of the starter from data to model card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...core.durations import in_seconds
from ...core.resources import resource
from .cases import TrainingCase, training_cases
from .failures import draw_failures
from .genesis import pretrained_backbone
from .model_card import write_model_card
from .release import measure_starter, offered_classes, open_starter, ship, write_facts
from .train import StarterTraining, TrainingRecipe


def main(
    data: Annotated[Path, typer.Argument(help="Folder with CASES.csv and labelmaps/.")],
    work: Annotated[Path, typer.Option(help="Checkpoint and log; a run that was stopped goes on from here.")] = Path(
        "starter-training"
    ),
    budget: Annotated[str, typer.Option(help="Wall time with labels over all runs, such as 90m or 2h.")] = "2h",
    pretraining: Annotated[
        str, typer.Option(help="Wall time of Models Genesis before that; 0m begins with fresh weights.")
    ] = "30m",
    device: Annotated[str, typer.Option(help="cpu or cuda:0.")] = "cpu",
    without: Annotated[
        str,
        typer.Option(help="Patient groups that are kept out as well, to be measured on: for trials."),
    ] = "",
    models: Annotated[Path | None, typer.Option(help="Where the result goes; by default Resources/Models.")] = None,
    measure_only: Annotated[bool, typer.Option("--measure-only", help="Measure what is shipped; no training.")] = False,
) -> None:
    """Train the starter model on openly licensed cases, ship it, measure it, write its model card."""
    folder = models or resource("Models")
    try:
        recipe = TrainingRecipe(budget_s=in_seconds(budget))
        before_s = in_seconds(pretraining)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    kept_out = {group.strip() for group in without.split(",") if group.strip()}
    if kept_out and models is None:
        raise typer.BadParameter("A model made without some patients is a trial: name a folder for --models.")
    folder.mkdir(parents=True, exist_ok=True)
    cases = list(training_cases(data, kept_out))
    if measure_only:
        known = json.loads((folder / "genesis_starter.figures.json").read_text(encoding="utf-8"))
        trained, taught = known["trained"], tuple(known["recipe"]["classes"])
    else:
        genesis = pretrained_backbone(data, work, before_s, device, typer.echo, kept_out) if before_s else None
        training = StarterTraining(cases, work, recipe, device=device, report=typer.echo, genesis=genesis)
        training.run()
        trained, taught = training.facts(), recipe.classes
        ship(training.checkpoint, folder, taught)
    _measure_and_describe(folder, data, cases, recipe, trained, taught)


def _measure_and_describe(
    folder: Path, data: Path, cases: list[TrainingCase], recipe: TrainingRecipe, trained: dict, taught: tuple[int, ...]
) -> None:
    """What is taught is measured, what is good enough is offered, and the figures are those of the file as it ships."""
    write_facts(folder, taught)
    found = measure_starter(folder, data, cases, taught)
    write_facts(folder, offered_classes(found))
    figures = measure_starter(folder, data, cases, offered_classes(found))
    failures = draw_failures(data, figures, offered_classes(found), open_starter(folder)[0], folder)
    write_model_card(folder, cases, figures, found, recipe, trained, failures)
    for figure in found:
        for score in figure.scores:
            typer.echo(f"{figure.case} {score.name}: Dice {score.dice}")


if __name__ == "__main__":
    typer.run(main)
