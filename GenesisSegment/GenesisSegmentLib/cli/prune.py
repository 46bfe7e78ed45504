"""``genesis-segment models prune``: a smaller network out of one checkpoint of a UNet++."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import print_json, say, short


def prune(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a UNet++ that was trained with deep supervision.")],
    level: Annotated[int, typer.Option(help="1 is the smallest; each level adds one pooling.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the weights (.pt).")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Keep the part of a UNet++ that one of its heads needs: the same answer as that head's, for less work."""
    from ..engine.pruned_file import prune_file

    done = prune_file(checkpoint, level, output)
    if as_json:
        print_json(vars(done) | {"path": str(done.path)})
    share = done.parameters / done.parameters_before
    say(f"Level {done.level}: {done.parameters:,} of {done.parameters_before:,} weights ({share:.0%}).")
    say(f"Weights: {short(done.path)}")


def register(app: typer.Typer) -> None:
    """Adds the command to ``genesis-segment models``."""
    app.command("prune")(prune)
