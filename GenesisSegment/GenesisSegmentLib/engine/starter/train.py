"""Trains the starter: partial labels, a learning rate that follows the budget, checkpoints that survive a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.files import atomic_file
from ..checkpoints import initialise_from_genesis, load
from ..learning.loss import partial_label_loss
from ..networks.starter import SegResNetBackbone
from ..networks.universal import UniversalModel, apply_head
from ..pace import follow, share_of_rate
from .augment import Sample, SampleMaker, SampleRecipe
from .cases import TrainingCase

NETWORK_OPTIONS: dict = {"filters": 16, "blocks_down": (1, 2, 2, 4)}
HALF_VOXELS = 500.0
"""So many voxels of a class that is absent cost half as much as no end of them."""


@dataclass(frozen=True)
class TrainingRecipe:
    """What to teach, how long and how fast. The budget is wall time in seconds, over all runs that are resumed.

    ``classes`` are taught. The other channels, of lesions and cysts, stay untrained.
    """

    budget_s: float
    classes: tuple[int, ...] = tuple(range(1, 26))
    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-4
    average_decay: float = 0.997
    absent_classes: int = 3
    checkpoint_every_s: float = 120.0
    seed: int = 7


class StarterTraining:
    """The training loop. ``folder`` keeps the checkpoint and the log; a second run goes on where the first stopped."""

    def __init__(
        self,
        cases: list[TrainingCase],
        folder: Path,
        recipe: TrainingRecipe,
        samples: SampleRecipe | None = None,
        device: str = "cpu",
        report: Callable[[str], None] = print,
        genesis: Path | None = None,
    ) -> None:
        """Args:
            cases: to learn from.
            folder: of the checkpoint and the log.
            recipe: how long and how fast.
            samples: how samples are drawn.
            device: "cpu" or "cuda:0".
            report: is told a line now and then.
            genesis: pre-trained weights of the backbone (``genesis-segment pretrain --network starter``) to begin with.

        Raises:
            ModelError: the pre-trained weights are of another network.
        """
        self._cases, self._folder, self._recipe, self._report = cases, folder, recipe, report
        self._samples = samples or SampleRecipe()
        self._device = torch.device(device)
        torch.manual_seed(recipe.seed)
        self.model = starter_network().to(self._device)
        if genesis is not None:
            initialise_from_genesis(self.model, load(genesis))
        self.model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = starter_network().to(self._device)
        self.average.load_state_dict(self.model.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._began_with = genesis.name if genesis else ""
        self.step, self.elapsed_s, self.last_loss = 0, 0.0, float("nan")
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that holds everything needed to go on."""
        return self._folder / "starter.pt"

    def run(self) -> UniversalModel:
        """Trains until the budget is used; returns the averaged weights in evaluation mode."""
        maker = SampleMaker(self._cases, self._samples, np.random.default_rng([self._recipe.seed, self.step]))
        losses: list[float] = []
        saved = time.monotonic()
        while self.elapsed_s < self._recipe.budget_s:
            started = time.monotonic()
            losses.append(self._learn(maker.draw()))
            self.step += 1
            self.elapsed_s += time.monotonic() - started
            if time.monotonic() - saved > self._recipe.checkpoint_every_s:
                self._save(float(np.mean(losses)))
                losses, saved = [], time.monotonic()
        self._save(float(np.mean(losses)) if losses else float("nan"))
        return self.average.eval()

    def facts(self) -> dict[str, Any]:
        """What the model card tells of the run."""
        return {"step": self.step, "elapsed_s": self.elapsed_s, "loss": self.last_loss, "genesis": self._began_with}

    def _learn(self, sample: Sample) -> float:
        share = share_of_rate(self.step, self.elapsed_s / self._recipe.budget_s)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * share
        channels = self._channels(sample)
        image = sample.image.to(self._device, memory_format=torch.channels_last_3d)
        with torch.autocast(self._device.type, torch.bfloat16):
            features, numbers = self.model.features(image)
        logits = apply_head(features.float(), numbers[:, channels].float())[0]
        labels = torch.from_numpy(sample.labels).to(self._device)
        truth = torch.stack([labels == channel + 1 for channel in channels]).float()
        loss = partial_label_loss(logits, truth) + 0.5 * false_volume_loss(logits, truth)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        follow(self.average, self.model, self.step, self._recipe.average_decay)
        return float(loss.detach())

    def _channels(self, sample: Sample) -> list[int]:
        """Channels with a known answer in this sample: all that are present, and a few that are known to be absent."""
        known = set(sample.annotated) & set(self._recipe.classes)
        present = set(np.unique(sample.labels).tolist()) & known
        absent = sorted(known - present)
        count = min(len(absent), self._recipe.absent_classes)
        chosen = torch.randperm(len(absent))[:count].tolist()
        return sorted(c - 1 for c in present | {absent[n] for n in chosen})

    def _save(self, loss: float) -> None:
        with atomic_file(self.checkpoint) as path:
            torch.save(
                {
                    "net": self.average.state_dict(),
                    "model": self.model.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "step": self.step,
                    "elapsed_s": self.elapsed_s,
                },
                path,
            )
        self.last_loss = loss
        line = {"step": self.step, "elapsed_s": round(self.elapsed_s), "loss": round(loss, 4)}
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._report(f"step {self.step}: loss {loss:.3f}, {self.elapsed_s / 60:.0f} min")

    def _resume(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.checkpoint.is_file():
            (self._folder / "recipe.json").write_text(
                json.dumps({"training": asdict(self._recipe), "samples": asdict(self._samples)}, indent=1)
            )
            return
        state = torch.load(self.checkpoint, map_location=self._device, weights_only=True)
        self.average.load_state_dict(state["net"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self._report(f"Going on at step {self.step} after {self.elapsed_s / 60:.0f} min.")


def false_volume_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Volume, 0 to 1, of what is found of the classes that are absent; ``logits`` and ``truth`` (n, X, Y, Z).

    The Dice term is silent there, and the cross-entropy, a mean over the sample, hardly feels a false organ.
    """
    is_absent = (~truth.flatten(1).any(1)).float()
    found = logits.flatten(1).sigmoid().sum(1)
    return (is_absent * found / (found + HALF_VOXELS)).sum() / is_absent.sum().clamp(min=1)


def starter_network() -> UniversalModel:
    """The network of the starter with fresh weights."""
    return UniversalModel(SegResNetBackbone(**NETWORK_OPTIONS), 32, "random")
