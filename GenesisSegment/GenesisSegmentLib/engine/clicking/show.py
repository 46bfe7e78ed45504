"""``python -m GenesisSegmentLib.engine.clicking.show DATA``: what prompts bring, beside classical methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...core.errors import GenesisError, ModelError
from ...core.files import atomic_file
from ...core.volume import Volume
from ..refine.clicks import OnnxClicks, shipped_file
from ..refine.seeded import SeededClicks
from .classical import grow_cut, random_walker
from .figure import draw, tables
from .release import export_checkpoint
from .trials import TARGETS, Answering, Method, Previewing, SphereBrush, Target, run_trials
from .user import EXACT

NETWORK = "click network"
METHODS = (NETWORK, "geodesic", "sphere brush", "grow-cut", "random walker")


def main(
    data: Annotated[Path, typer.Argument(help="Folder with the labelled CTs.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Results; what lies there is not run again.")] = Path(
        "refining-shown"
    ),
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of a training (click.pt), instead of the network that comes with the program.")
    ] = None,
    methods: Annotated[str, typer.Option(help="Which to run.")] = ", ".join(METHODS),
    structures: Annotated[str, typer.Option(help="Only these, such as liver,lung_tumor.")] = "",
    starts: Annotated[str, typer.Option(help="Only these, such as cut,empty.")] = "",
) -> None:
    """Let a simulated user correct structures of CTs that the network never saw, by the network and by others."""
    names = [name.strip() for name in methods.split(",")]
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        raise typer.BadParameter(f"There is no method {unknown[0]}: there are {', '.join(METHODS)}.")
    try:
        makers = _makers(names, out, checkpoint)
        targets = [t for t in TARGETS if not structures or t.name in _list(structures)]
        if starts:
            targets = [_only(target, _list(starts)) for target in targets]
        trials = run_trials(data, out, makers, EXACT, typer.echo, targets)
    except GenesisError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    text = tables(trials)
    with atomic_file(out / "refining.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw(out / "refining.png", trials)
    typer.echo(text)


def _makers(names: list[str], out: Path, checkpoint: Path | None) -> dict[str, Callable[[Volume], Method]]:
    makers: dict[str, Callable[[Volume], Method]] = {
        "geodesic": Previewing,
        "sphere brush": lambda volume: SphereBrush(volume.geometry),
        "grow-cut": lambda volume: Answering(volume, SeededClicks(grow_cut)),
        "random walker": lambda volume: Answering(volume, SeededClicks(random_walker)),
    }
    if NETWORK in names:
        clicks = OnnxClicks(_network_file(out, checkpoint))
        makers[NETWORK] = lambda volume: Answering(volume, clicks)
    return {name: makers[name] for name in names}


def _network_file(out: Path, checkpoint: Path | None) -> Path:
    if checkpoint is not None:
        out.mkdir(parents=True, exist_ok=True)
        export_checkpoint(checkpoint, out / "click.onnx")
        return out / "click.onnx"
    path = shipped_file()
    if path is None:
        raise ModelError("This GenesisSegment comes without a click network.", "Name a training with --checkpoint.")
    return path


def _only(target: Target, starts: list[str]) -> Target:
    return replace(target, starts=tuple(start for start in target.starts if start in starts))


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


if __name__ == "__main__":
    typer.run(main)
