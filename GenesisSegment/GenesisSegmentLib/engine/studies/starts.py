"""Scratch against Genesis-style pre-training, with all labels and with parts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from ..checkpoints import Checkpoint, initialise_from_genesis, load
from ..networks.starter import SegResNetBackbone
from ..networks.unet3d import OutputLayer
from .annotation import annotated_share, annotated_slices
from .crops import ORGANS, CropMaker
from .judging import StudyCases, dice_by_organ, mean_dice
from .pretraining import FILTERS
from .records import check_steps, kept
from .trainer import StudyRecipe, repeatable, train

Start = Literal["scratch", "genesis"]
STARTS: tuple[Start, ...] = ("scratch", "genesis")
SHARES = (1.0, 0.5, 0.25, 0.1)


class OrganNetwork(nn.Module):
    """The starter's backbone, narrower, with an output layer as Models Genesis gets one for a task (models.md 4.3)."""

    def __init__(self, classes: int = len(ORGANS)) -> None:
        super().__init__()
        self.backbone = SegResNetBackbone(FILTERS)
        self.out_tr = OutputLayer(self.backbone.feat_channels, classes)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) in 0..1 -> logits (B, classes, X, Y, Z)."""
        return self.out_tr(self.backbone(image)[1])


@dataclass(frozen=True)
class StartRun:
    """One training: ``share`` was asked for, ``annotated`` is the share of the slices that it came to."""

    start: Start
    share: float
    seed: int
    steps: int
    annotated: float
    losses: list[float]
    dice: dict[str, float]

    @property
    def mean(self) -> float:
        """Dice, the mean over the organs."""
        return mean_dice(self.dice)


def start_runs(
    data: Path,
    out: Path,
    weights: Path | None,
    seeds: int,
    recipe: StudyRecipe,
    report: Callable[[str], None],
    is_reported_only: bool = False,
    shares: Sequence[float] = SHARES,
) -> list[StartRun]:
    """All trainings of all seeds; those whose result lies in ``out`` are not run again.

    Without ``weights``, nothing is learned from them; with ``is_reported_only``, nothing at all.

    Raises:
        InputError: a CT is missing in ``data``, or what lies in ``out`` is of another number of steps.
        ModelError: the weights are not those of the starter's backbone.
    """
    study = _Study(data, recipe, load(weights, "genesis_starter") if weights is not None else None)
    runs = []
    for start, share, seed in _plans(seeds, shares):
        file = out / "starts" / f"{start}-{round(100 * share)}-{seed}.json"
        if not file.is_file():
            if is_reported_only or (start == "genesis" and study.genesis is None):
                continue
            report(file.stem)
        runs.append(kept(file, StartRun, partial(study.run, start, share, seed, report)))
        if not is_reported_only:
            check_steps(file, runs[-1].steps, recipe.steps)
            report(f"  {file.stem}: Dice {runs[-1].mean:.3f}")
    return runs


def _plans(seeds: int, shares: Sequence[float]) -> Iterator[tuple[Start, float, int]]:
    """Seed by seed, so that a study that was stopped early can be read."""
    for seed in range(seeds):
        for share in shares:
            for start in STARTS:
                yield start, share, seed


class _Study:
    """The cases, and one training."""

    def __init__(self, data: Path, recipe: StudyRecipe, genesis: Checkpoint | None) -> None:
        self._cases, self._recipe, self.genesis = StudyCases(data), recipe, genesis

    def run(self, start: Start, share: float, seed: int, report: Callable[[str], None]) -> StartRun:
        """Both starts see the same crops in the same order, and have the same output layer."""
        cases = self._cases.labelled
        slices = annotated_slices(cases, share, seed)
        with repeatable(seed):
            network = OrganNetwork()
            if start == "genesis":
                assert self.genesis is not None
                initialise_from_genesis(network, self.genesis)
            losses = train(network, CropMaker(cases, slices, self._recipe.sides, seed), self._recipe, report)
            dice = dice_by_organ(network, self._cases.judge, self._recipe.sides)
        annotated = annotated_share(cases, slices)
        return StartRun(start, share, seed, self._recipe.steps, annotated, losses, dice)
