"""Teaches a network to restore distorted crops; a run that was killed goes on as if nothing had happened."""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from ...core.errors import InputError, ResourceError
from ...core.files import atomic_file
from ...core.jobs import Job
from ..networks import build
from .batches import Share, TrainingBatches, ValidationBatches
from .material import Material
from .recipe import ARCHITECTURES, Ended, EpochRecord, Pretrained, PretrainRecipe, Report
from .weights import write_weights

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_LONGEST_WAIT = timedelta(days=2)
"""Of one process for another, which may be cutting crops of many CTs."""


@dataclass
class _State:
    """Where a run stands, beside the weights. ``loss_sum`` is over the steps of the epoch that is under way."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0
    train_loss: float = math.nan
    best: dict[str, Tensor] = field(default_factory=dict)


def make_fabric(device: str, precision: str = "32-true") -> Fabric:
    """Lightning Fabric on a device, or on as many processes as torchrun started.

    Raises:
        ResourceError: it is not installed.
    """
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise ResourceError(
            "Learning needs Lightning Fabric, which is not installed.", 'Run: pip install "genesis-segment[learn]".'
        ) from error
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    accelerator = "cpu" if device == "cpu" else "cuda"
    if TorchElasticEnvironment.detect():
        environment = TorchElasticEnvironment()
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = environment.world_size() // local
        strategy = DDPStrategy(timeout=_LONGEST_WAIT)
        fabric = Fabric(
            accelerator=accelerator,
            devices=local,
            num_nodes=nodes,
            strategy=strategy,
            precision=precision,  # type: ignore[arg-type]
        )
    else:
        devices: Any = 1 if device == "cpu" else [torch.device(device).index or 0]
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    return fabric


class Pretraining:
    """The training loop. ``folder`` keeps the state and the log; a second run goes on where the first stopped.

    ``gate`` is called before every step and may wait; ``job`` needs a stage "training".

    Several processes divide every batch, and each normalises its own part. So with the batch norm of ``genesis_unet3d``
    they learn slightly other weights than one process, as any data-parallel training does; the starter's backbone has
    no such norm.
    """

    def __init__(
        self,
        material: Material,
        recipe: PretrainRecipe,
        folder: Path,
        fabric: Fabric,
        job: Job | None = None,
        report: Report = lambda record: None,
        gate: Callable[[], None] = lambda: None,
    ) -> None:
        self._material, self._recipe, self._folder, self._fabric = material, recipe, folder, fabric
        if job is None:
            job = Job()
            job.plan({"training": 1.0})
        self._job, self._report, self._gate = job, report, gate
        share = Share(fabric.global_rank, fabric.world_size)
        self._batches = TrainingBatches(material.train, recipe.batch, recipe.seed, recipe.distortions, share)
        self._judged = ValidationBatches(material.validation, recipe.batch, recipe.seed, recipe.distortions)
        self._check_shares(min(recipe.batch, len(material.train)))
        torch.manual_seed(recipe.seed)
        options = {"filters": recipe.filters} if recipe.network == "starter" else {}
        self.network = build(ARCHITECTURES[recipe.network], **options)
        if recipe.precision == "bf16-mixed":
            self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self._model, self._optimizer = fabric.setup(self.network, _optimizer(self.network, recipe))
        self._state = _State()
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """The file that holds everything needed to go on."""
        return self._folder / "state.pt"

    def run(self, path: Path) -> Pretrained:
        """Trains to the end of the recipe; writes the best weights to ``path`` in the published layout.

        Raises:
            Cancelled: the state of the last checkpoint stays.
            OutputError: the state or the weights could not be written.
        """
        state, fabric = self._state, self._fabric
        ended = self._learn()
        last = self._validate()
        epoch = state.step // self._batches.steps_per_epoch
        if last is None or last < state.best_loss or not state.best:
            weights, loss = self._weights(), last
        else:
            weights, loss, epoch = state.best, state.best_loss, state.best_epoch
        train_loss = self._mean_loss() if math.isnan(state.train_loss) else state.train_loss
        untouched = self._untouched()
        if fabric.global_rank == 0:
            self._save()
            # How many, not which: names of files can name patients, and weights are passed on.
            scans = {part: len(names) for part, names in self._material.scans.items()}
            facts = {
                "validation_loss": loss,
                "steps": state.step,
                "seconds": state.seconds,
                "scans": scans,
            }
            write_weights(path, weights, epoch, self._optimizer.state_dict(), self._recipe, facts)
        fabric.barrier()
        self.network.load_state_dict(weights)
        return Pretrained(path, state.step, epoch, state.seconds, train_loss, loss, untouched, ended)

    @torch.no_grad()
    def restored(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Original, distorted and restored (X, Y, Z) of the first crops to judge by, else of those to learn from."""
        self.network.eval()
        source = self._judged if len(self._judged) else self._batches
        images, targets = source[0]
        restored = self.network(images.to(self._fabric.device)).float().cpu()
        for n in range(min(count, len(images))):
            yield targets[n, 0].numpy(), images[n, 0].numpy(), restored[n, 0].numpy()

    def _learn(self) -> Ended:
        recipe, state = self._recipe, self._state
        per_epoch = self._batches.steps_per_epoch
        last = min(recipe.epochs * per_epoch, recipe.steps if recipe.steps is not None else recipe.epochs * per_epoch)
        saved = time.monotonic()
        steps = range(state.step, max(last, state.step))
        loader = DataLoader(self._batches, None, sampler=steps, num_workers=recipe.loader_workers)
        batches = iter(loader)
        while state.step < last:
            if ended := self._is_over():
                return ended
            self._gate()
            started = time.monotonic()
            self._step(*next(batches))
            if state.step % per_epoch == 0:
                self._end_epoch()
            state.seconds += time.monotonic() - started
            is_due = time.monotonic() - saved > recipe.checkpoint_every_s
            if is_due and self._fabric.global_rank == 0:
                self._save()
                saved = time.monotonic()
        return "epochs" if recipe.steps is None or last < recipe.steps else "steps"

    def _step(self, images: Tensor, targets: Tensor) -> None:
        state = self._state
        self._model.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        device = self._fabric.device
        loss = F.mse_loss(self._model(images.to(device)).float(), targets.to(device))
        self._optimizer.zero_grad(set_to_none=True)
        self._fabric.backward(loss)
        self._optimizer.step()
        state.loss_sum += float(self._fabric.all_reduce(loss.detach(), reduce_op="mean"))  # type: ignore[arg-type]
        state.step += 1

    def _learning_rate(self) -> float:
        recipe, state = self._recipe, self._state
        rate = recipe.learning_rate * recipe.decay ** (
            state.step // self._batches.steps_per_epoch // recipe.decay_every
        )
        done = self._done()
        return rate * (recipe.final_lr_share + (1 - recipe.final_lr_share) * 0.5 * (1 + math.cos(math.pi * done)))

    def _done(self) -> float:
        """Share of the steps or of the budget, whichever ends first, that is used up."""
        recipe, state = self._recipe, self._state
        shares = [state.step / recipe.steps if recipe.steps else 0.0]
        shares.append(state.seconds / recipe.budget_s if recipe.budget_s else 0.0)
        return min(1.0, max(shares))

    def _end_epoch(self) -> None:
        state, per_epoch = self._state, self._batches.steps_per_epoch
        epoch = state.step // per_epoch
        state.train_loss, state.loss_sum = state.loss_sum / per_epoch, 0.0
        loss = self._validate()
        if loss is not None and loss < state.best_loss:
            state.best_loss, state.best_epoch, state.best = loss, epoch, self._weights()
        rate = self._optimizer.param_groups[0]["lr"]
        record = EpochRecord(epoch, state.step, state.train_loss, loss, rate, round(state.seconds, 1))
        if self._fabric.global_rank == 0:
            with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(record)) + "\n")
            self._report(record)

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean squared error over the crops to judge by; batches are divided among the processes."""
        self.network.eval()  # not the wrapper, which would wait for processes that have fewer batches
        total = torch.zeros((), dtype=torch.float64)
        for number in Share(self._fabric.global_rank, self._fabric.world_size).part(range(len(self._judged))):
            images, targets = (side.to(self._fabric.device) for side in self._judged[number])
            total += F.mse_loss(self.network(images).float(), targets).double().cpu() * len(images)
        return self._mean_over_crops(total)

    def _untouched(self) -> float | None:
        total = torch.zeros((), dtype=torch.float64)
        for number in Share(self._fabric.global_rank, self._fabric.world_size).part(range(len(self._judged))):
            images, targets = self._judged[number]
            total += F.mse_loss(images, targets).double() * len(images)
        return self._mean_over_crops(total)

    def _mean_over_crops(self, total: Tensor) -> float | None:
        count = len(self._material.validation)
        if not count:
            return None
        return float(self._fabric.all_reduce(total.to(self._fabric.device), reduce_op="sum")) / count  # type: ignore[arg-type]

    def _mean_loss(self) -> float:
        done = self._state.step % self._batches.steps_per_epoch
        return self._state.loss_sum / done if done else math.nan

    def _is_over(self) -> Ended | None:
        """Why to stop here; several processes must agree, and their clocks do not."""
        recipe, state = self._recipe, self._state
        self._job.advance("training", self._done())
        epoch = state.step // self._batches.steps_per_epoch
        ended: Ended | None = None
        if state.best and epoch - state.best_epoch >= recipe.patience:
            ended = "no longer better"
        elif recipe.budget_s is not None and state.seconds >= recipe.budget_s:
            ended = "budget"
        if self._fabric.world_size > 1:
            ended, state.seconds = self._fabric.broadcast((ended, state.seconds))
        return ended

    def _weights(self) -> dict[str, Tensor]:
        plain = torch.contiguous_format
        return {key: value.cpu().clone(memory_format=plain) for key, value in self.network.state_dict().items()}

    def _check_shares(self, batch: int) -> None:
        if batch % self._fabric.world_size:
            raise ResourceError(
                f"A batch of {batch} crops cannot be divided among {self._fabric.world_size} processes.",
                "Start as many processes as divide the batch.",
            )

    def _save(self) -> None:
        state = self._state
        with atomic_file(self.checkpoint) as path:
            torch.save(
                {
                    "identity": json.dumps([self._recipe.identity(), self._material.fingerprint]),
                    "model": self.network.state_dict(),
                    "optimizer": self._optimizer.state_dict(),
                    **vars(state),
                },
                path,
            )

    def _resume(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.checkpoint.is_file():
            return
        try:
            saved = torch.load(self.checkpoint, map_location=self._fabric.device, weights_only=True)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(f"{self.checkpoint} is damaged.", "Start afresh with --restart.") from error
        if saved.pop("identity") != json.dumps([self._recipe.identity(), self._material.fingerprint]):
            raise InputError(
                f"{self._folder} holds a run with other CTs or settings.",
                "Repeat the command that began it, give another output file, or start afresh with --restart.",
            )
        self.network.load_state_dict(saved.pop("model"))
        self._optimizer.load_state_dict(saved.pop("optimizer"))
        saved["best"] = {key: value.cpu() for key, value in saved["best"].items()}
        self._state = _State(**saved)


def _optimizer(network: torch.nn.Module, recipe: PretrainRecipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
    return torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)


def forget(folder: Path) -> None:
    """Deletes the state of a run, so that the next one starts afresh; crops stay."""
    for name in ("state.pt", "log.jsonl"):
        (folder / name).unlink(missing_ok=True)
