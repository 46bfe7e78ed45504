"""How long and how fast to pre-train, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from .crops import CropRule
from .distortions import DistortionRecipe

Network = Literal["genesis_unet3d", "starter"]
Ended = Literal["steps", "budget", "no longer better", "epochs"]

ARCHITECTURES: Mapping[str, str] = {"genesis_unet3d": "genesis_unet3d", "starter": "genesis_starter"}
"""What is trained to restore crops, by the name of the network that it will initialise."""


@dataclass(frozen=True)
class PretrainRecipe:
    """The published recipe by default (Models Genesis; models.md 4.2): SGD with momentum and without decay.

    The learning rate is multiplied by ``decay`` every ``decay_every`` epochs; training ends after ``patience`` epochs
    without a better validation loss, after ``epochs``, after ``steps``, or when ``budget_s`` seconds of training are
    used up, over all runs that went on from one another. In several processes a batch is divided among them.

    With ``final_lr_share`` below 1, the learning rate also falls as a cosine to that share at the end of ``steps`` or
    of the budget: for short runs, which never see a decay. The optimizer
    "adam" is for such runs, too, and has no use for ``momentum``.
    ``filters`` is the width of the starter's backbone; 16 fits the starter.
    """

    network: Network = "genesis_unet3d"
    filters: int = 16
    crops: CropRule = field(default_factory=CropRule)
    distortions: DistortionRecipe = field(default_factory=DistortionRecipe)
    batch: int = 6
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = 1.0
    momentum: float = 0.9
    decay: float = 0.5
    decay_every: int = 40
    patience: int = 50
    epochs: int = 10_000
    steps: int | None = None
    budget_s: float | None = None
    final_lr_share: float = 1.0
    seed: int = 7
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    checkpoint_every_s: float = 120.0
    loader_workers: int = 0

    def identity(self) -> dict[str, Any]:
        """What must not change when a run goes on; how long it lasts and on what it runs may."""
        facts = asdict(self)
        for free in ("steps", "budget_s", "epochs", "checkpoint_every_s", "loader_workers", "precision"):
            del facts[free]
        return facts


QUICK_STARTER = PretrainRecipe(
    network="starter",
    crops=CropRule(size=(32, 32, 32), per_scan=64, margins=(0, 0, 0), most_soft=1.0),
    distortions=DistortionRecipe(inverted=0.0),
    batch=4,
    optimizer="adam",
    learning_rate=1e-3,
    final_lr_share=0.02,
    precision="bf16-mixed",
)
"""For minutes on two cores: small crops of everything in a CT, on the starter's grid.

Two things differ from the published recipe because minutes are not days. Contrast is never inverted: with inversion the
answer is hardly better than an even grey after 700 steps, without it two fifths of that squared error are gone after
160. And Adam takes the place of SGD, by which 768 steps taught nothing either.
"""


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What came of a run. Losses are mean squared errors; ``untouched_loss`` is that of crops left distorted.

    ``validation_loss`` and ``epoch`` belong to the weights in ``path``; without a second patient they are None and the
    last epoch.
    """

    path: Path
    steps: int
    epoch: int
    seconds: float
    train_loss: float
    validation_loss: float | None
    untouched_loss: float | None
    ended: Ended


@dataclass(frozen=True)
class EpochRecord:
    """A line of the log: losses of an epoch."""

    epoch: int
    step: int
    train_loss: float
    validation_loss: float | None
    learning_rate: float
    seconds: float


Report = Callable[[EpochRecord], None]
