"""Trains the click network: games of correcting in which every answer is a lesson. Survives being killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.files import atomic_file
from ..pace import follow, share_of_rate
from .crops import CropMaker, CropRecipe
from .damage import dice
from .games import GameRecipe, Table
from .material import Scan
from .network import ClickNet
from .user import SimulatedUser, UserRecipe

CHECKPOINT = "click.pt"
LOG = "log.jsonl"


@dataclass(frozen=True)
class Batch:
    """So many games at a time on crops of a side; ``share`` of all steps."""

    side: int
    games: int
    share: float


BATCHES = (Batch(48, 4, 0.5), Batch(64, 4, 0.44), Batch(96, 1, 0.06))
"""The network is asked about regions of 64 and 96. Small ones cost less than half; the norm must know all of them."""


@dataclass(frozen=True)
class TrainingRecipe:
    """How long and how fast. The budget is wall time in seconds over all resumed runs.

    The learning rate falls as the budget is used up: to end early, go on with a budget that ends soon.
    """

    budget_s: float
    batches: tuple[Batch, ...] = BATCHES
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average_decay: float = 0.998
    checkpoint_every_s: float = 180.0
    seed: int = 11


class ClickTraining:
    """The training loop. ``folder`` keeps the checkpoint and the log; a second run goes on where the first stopped."""

    def __init__(
        self,
        scans: list[Scan],
        folder: Path,
        recipe: TrainingRecipe,
        device: str = "cpu",
        workers: int = 1,
        report: Callable[[str], None] = print,
        crops: CropRecipe | None = None,
        widths: tuple[int, ...] | None = None,
    ) -> None:
        self._scans, self._folder, self._recipe, self._report = scans, folder, recipe, report
        self._crops = crops or CropRecipe()
        self._device, self._workers = torch.device(device), workers
        torch.manual_seed(recipe.seed)
        self.model = (ClickNet(widths) if widths else ClickNet()).to(self._device)
        self.model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = (ClickNet(widths) if widths else ClickNet()).to(self._device)
        self.average.load_state_dict(self.model.state_dict())
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.step, self.elapsed_s, self.trained_on = 0, 0.0, sorted({scan.name for scan in scans})
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that holds everything needed to go on."""
        return self._folder / CHECKPOINT

    def run(self) -> ClickNet:
        """Trains until the budget is used; returns the averaged weights in evaluation mode."""
        rng = np.random.default_rng([self._recipe.seed, self.step])
        seats = count()
        tables = [[self._table(b.side, next(seats)) for _ in range(b.games)] for b in self._recipe.batches]
        shares = np.array([b.share for b in self._recipe.batches])
        figures: list[tuple[float, float, float]] = []
        saved = time.monotonic()
        with ThreadPoolExecutor(self._workers) as pool:
            while self.elapsed_s < self._recipe.budget_s:
                started = time.monotonic()
                chosen = tables[int(rng.choice(len(tables), p=shares / shares.sum()))]
                figures.append(self._learn(chosen, pool))
                self.step += 1
                self.elapsed_s += time.monotonic() - started
                if time.monotonic() - saved > self._recipe.checkpoint_every_s:
                    self._save(figures)
                    figures, saved = [], time.monotonic()
        self._save(figures)
        return self.average.eval()

    def _table(self, side: int, seat: int) -> Table:
        rng = np.random.default_rng([self._recipe.seed, self.step, seat])
        return Table(CropMaker(self._scans, self._crops, rng), SimulatedUser(UserRecipe(), rng), side, GameRecipe())

    def _learn(self, tables: list[Table], pool: ThreadPoolExecutor) -> tuple[float, float, float]:
        """One step on all tables: loss, Dice of the segments before, and of the answers."""
        share = share_of_rate(self.step, self.elapsed_s / self._recipe.budget_s)
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.learning_rate * share
        inputs, weights, truths = (self._stacked(list(pool.map(f, tables))) for f in (_channels, _weights, _truth))
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self._device.type, torch.bfloat16):
            logits = self.model(inputs)
        logits = logits.float()[:, 0]
        loss = click_loss(logits, truths, weights)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        follow(self.average, self.model, self.step, self._recipe.average_decay)
        before = np.mean([dice(table.game.mask, table.game.crop.truth) for table in tables])
        answers = logits.detach().cpu().numpy()
        after = np.mean(
            [
                dice((a > 0) & table.game.crop.known, table.game.crop.truth)
                for a, table in zip(answers, tables, strict=True)
            ]
        )
        list(pool.map(Table.turn, tables, answers))
        return float(loss.detach()), float(before), float(after)

    def _stacked(self, arrays: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._device)

    def _save(self, figures: list[tuple[float, float, float]]) -> None:
        with atomic_file(self.checkpoint) as path:
            torch.save(
                {
                    "net": self.average.state_dict(),
                    "model": self.model.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    "step": self.step,
                    "elapsed_s": self.elapsed_s,
                    "trained_on": self.trained_on,
                },
                path,
            )
        if not figures:
            return
        loss, before, after = np.mean(figures, axis=0)
        line = {"step": self.step, "elapsed_s": round(self.elapsed_s), "loss": round(float(loss), 4)}
        line |= {"dice_before": round(float(before), 4), "dice_after": round(float(after), 4)}
        with (self._folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        minutes = self.elapsed_s / 60
        self._report(f"step {self.step}: loss {loss:.3f}, Dice {before:.3f} to {after:.3f}, {minutes:.0f} min")

    def _resume(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.checkpoint.is_file():
            recipe = {"training": asdict(self._recipe), "crops": asdict(self._crops)}
            (self._folder / "recipe.json").write_text(json.dumps(recipe, indent=1), encoding="utf-8")
            return
        state = torch.load(self.checkpoint, map_location=self._device, weights_only=True)
        self.average.load_state_dict(state["net"])
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.trained_on = sorted({*self.trained_on, *state["trained_on"]})
        self._report(f"Going on at step {self.step} after {self.elapsed_s / 60:.0f} min.")


def click_loss(logits: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Soft Dice, of the voxels that count at all, and weighted cross-entropy; all (B, X, Y, Z)."""
    truth = truth.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, weight=weights) / weights.mean()
    found = (logits.sigmoid() * (weights > 0)).flatten(1)
    wanted = truth.flatten(1)
    overlap = (2 * (found * wanted).sum(1) + 1) / (found.sum(1) + wanted.sum(1) + 1)
    return entropy + (1 - overlap).mean()


def _channels(table: Table) -> np.ndarray:
    return table.game.channels()


def _weights(table: Table) -> np.ndarray:
    return table.game.weights()


def _truth(table: Table) -> np.ndarray:
    return table.game.crop.truth
