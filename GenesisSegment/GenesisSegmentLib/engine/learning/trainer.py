"""Learns from corrections: one loop for the CPU, a GPU, or several processes started by torchrun."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...core.errors import Cancelled, LearningError, ResourceError
from ...core.i18n import _
from ...core.jobs import Job
from ..devices import ThisMachine
from ..inference.selftest import obstacle
from ..networks.universal import UniversalModel
from .cached import Cache
from .channels import Channels
from .gating import Gate, gated
from .loss import lesson_loss
from .material import LearningCase, check_split
from .memory import plan_learning, smaller
from .network import HeadPupil, Pupil, freeze, multiple_of, sees_its_batch
from .pseudo import Parent
from .recipe import Learned, LearningRecipe
from .sampling import Lesson, Sampler, Sides
from .state import LearningState, fingerprint, load_state, on_rung, rung_of, save_state

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STATE_FILE = "state.pt"
LOG_FOLDER = "tensorboard"
_WARM_UP_STEPS = 10
_LAST_RATE = 0.02
_WATCHED = 20
_DIVERGED = 3.0
"""Learning has diverged where the mean loss of the last steps is this many times that of the first."""


class Learner:
    """Teaches a copy of ``network`` what a person accepted; it is itself left as it is.

    ``channels`` name the network's channels. ``parent`` gives the pseudo-labels; ``kept`` are the channels that it has
    really learned, by default all of its own. ``folder`` holds ``state.pt``, from which a killed run goes on, and the
    logs for TensorBoard. ``gate`` is called before each piece of work and may wait there while a prediction needs the
    device; ``on_step`` is told the step and its loss. Progress goes to ``stage`` of the ``job``.
    """

    def __init__(
        self,
        network: UniversalModel,
        channels: Channels,
        cases: Sequence[LearningCase],
        recipe: LearningRecipe,
        folder: Path,
        job: Job | None = None,
        parent: UniversalModel | None = None,
        gate: Callable[[], None] = lambda: None,
        *,
        kept: Sequence[int] | None = None,
        stage: str = "work",
        on_step: Callable[[int, float], None] = lambda step, loss: None,
        free_bytes: Callable[[str], int] | None = None,
    ) -> None:
        for case in cases:
            check_split(case.case, case.split)
        if network.classes != len(channels):
            raise LearningError(
                _("A network of {count} channels does not have {names} names.").format(
                    count=network.classes, names=len(channels)
                )
            )
        if not recipe.steps and not recipe.budget_s:
            raise LearningError(
                _("There is neither a number of steps nor a time for learning."), _("Give one of them.")
            )
        self._network, self._channels, self._recipe = network, channels, recipe
        self._cases = [c for c in cases if recipe.replay or not c.is_replayed]
        self._folder, self._job, self._gate = folder, job or Job(), gate
        self._parent = parent if recipe.pseudo else None
        self._kept = tuple(range(parent.classes)) if kept is None and parent is not None else tuple(kept or ())
        self._stage, self._on_step = stage, on_step
        self._free_bytes = free_bytes or ThisMachine().free_device
        self._mark = fingerprint(recipe, channels, self._cases)

    @property
    def state_file(self) -> Path:
        """What a killed run goes on from."""
        return self._folder / STATE_FILE

    def run(self) -> Learned:
        """Learns to the end, or goes on with what was begun in the folder.

        Raises:
            Cancelled: by the job; what was learned so far can be gone on with.
            LearningError: the loss is no number, or grows and grows; no model comes out.
            ResourceError: there is not enough memory for the smallest way of learning.
            OutputError: the state could not be written.
        """
        state = load_state(self.state_file, self._mark)
        recipe = _for_network(self._recipe, self._network)
        notes = [] if state is None else list(state.notes)
        if state is not None:
            recipe = on_rung(recipe, state.rung)
        largest = _largest(self._cases, multiple_of(self._network))
        recipe, said = plan_learning(
            self._network, recipe, largest, self._free_bytes(recipe.device), has_bf16(recipe.device)
        )
        notes += said
        while True:
            try:
                return self._attempt(recipe, state, notes)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or _world() > 1:
                    raise
                lower = smaller(recipe, largest, multiple_of(self._network), has_bf16(recipe.device))
                if lower is None:
                    raise ResourceError(
                        _("The memory of {device} ran out while learning, also in the smallest way.").format(
                            device=recipe.device
                        ),
                        _("Close other programs, or learn on a machine with more memory."),
                    ) from error
            _release(recipe.device)
            recipe, note = lower
            notes.append(note)
            state = load_state(self.state_file, self._mark)

    def _attempt(self, recipe: LearningRecipe, state: LearningState | None, notes: list[str]) -> Learned:
        fabric = _fabric(recipe)
        network = copy.deepcopy(self._network)
        if state is not None:
            network.load_state_dict(state.net)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        trained = freeze(network, recipe.mode)
        optimizer = torch.optim.AdamW(trained, lr=recipe.rate, weight_decay=recipe.weight_decay)
        pupil = HeadPupil(network) if recipe.is_cached else Pupil(network)
        module, optimizer = fabric.setup(pupil, optimizer)
        if state is not None and state.optimizer and state.rung["mode"] == recipe.mode:
            optimizer.load_state_dict(state.optimizer)
        now = LearningState() if state is None else replace(state, losses=list(state.losses))
        now.rung, now.notes = rung_of(recipe), notes
        lessons = self._lessons(recipe, network)
        loop = _Loop(self, fabric, recipe, network, module, optimizer, trained, lessons, now)
        deterministic = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with deterministic, gated(loop.gate, network, self._parent):
            loop.run()
        network.cpu().eval()
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return Learned(network, now.step, tuple(now.losses), now.seconds, recipe, tuple(notes))

    def _lessons(self, recipe: LearningRecipe, network: UniversalModel) -> Callable[[int], Any]:
        """What item ``number`` is: a lesson, or one after the backbone."""
        multiple = multiple_of(network)
        sampler = Sampler(self._cases, self._channels, recipe.sampling(), multiple, recipe.seed)
        parent = None
        if self._parent is not None:
            elder = self._parent.to(next(network.parameters()).device)
            parent = Parent(elder, self._channels, self._kept, recipe.kept, recipe.seed, recipe.precision == "bf16")

        def lesson(number: int) -> Lesson:
            drawn = sampler.draw(number)
            return drawn if parent is None else parent.teach(drawn, number)

        if not recipe.is_cached:
            return lesson
        crop = recipe.cached_crop
        is_half = recipe.precision == "bf16"
        return Cache(
            network, lesson, crop, recipe.cached_lessons, recipe.seed, is_half=is_half, most_bytes=recipe.cache_bytes
        ).draw


class _Loop:
    """The steps of one attempt."""

    def __init__(
        self,
        learner: Learner,
        fabric: Fabric,
        recipe: LearningRecipe,
        network: UniversalModel,
        module: Any,
        optimizer: Any,
        trained: list[nn.Parameter],
        lessons: Callable[[int], Any],
        state: LearningState,
    ) -> None:
        self._learner, self._fabric, self._recipe, self._network = learner, fabric, recipe, network
        self._module, self._optimizer, self._trained = module, optimizer, trained
        self._lessons, self._state = lessons, state
        self.gate = Gate(learner._gate, learner._job.check)
        if recipe.items % fabric.world_size:
            raise LearningError(
                _("{crops} crops per step cannot be divided among {processes} processes.").format(
                    crops=recipe.items, processes=fabric.world_size
                ),
                _("Change batch or accumulate."),
            )
        self._saved = time.monotonic()

    def run(self) -> None:
        """Until the last step or the end of the budget."""
        state, recipe = self._state, self._recipe
        if not state.net:
            self._save()  # what an attempt that runs out of memory begins from again
        with _log(self._learner._folder, state.step, self._fabric.is_global_zero) as log:
            try:
                while not self._is_done():
                    loss = self._step()
                    state.step += 1
                    state.losses.append(loss)
                    self._check_losses()
                    if log is not None:
                        log.add_scalar("loss", loss, state.step)
                        log.add_scalar("learning_rate", self._rate(), state.step)
                    self._learner._on_step(state.step, loss)
                    if time.monotonic() - self._saved >= recipe.checkpoint_every_s:
                        self._save()
                    self._learner._job.advance(self._learner._stage, self._done())
            except Cancelled:
                self._save()
                raise
        self._save()

    def _done(self) -> float:
        """Share of the way, by steps where their number is given, else by time."""
        recipe, state = self._recipe, self._state
        return min(1.0, state.step / recipe.steps if recipe.steps else state.seconds / recipe.budget_s)

    def _is_done(self) -> bool:
        recipe, state = self._recipe, self._state
        is_done = bool(recipe.steps and state.step >= recipe.steps)
        is_late = bool(recipe.budget_s and state.seconds >= recipe.budget_s)
        # All processes must stop at the same step: the clock of the first one counts.
        return is_done or (self._fabric.broadcast(is_late) if self._fabric.world_size > 1 else is_late)

    def _rate(self) -> float:
        """The learning rate: a short rise, then a cosine to almost nothing."""
        warm = min(1.0, (self._state.step + 1) / _WARM_UP_STEPS)
        return self._recipe.rate * warm * max(_LAST_RATE, 0.5 * (1 + math.cos(math.pi * self._done())))

    def _step(self) -> float:
        """One step of the optimiser; returns its loss. This process takes every n-th crop of the step."""
        recipe, world, clock = self._recipe, self._fabric.world_size, self._learner._job.clock
        started = clock()
        waited = self.gate.waited_s
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate()
        first = self._state.step * recipe.items
        mine = list(range(first + self._fabric.global_rank, first + recipe.items, world))
        size = 1 if recipe.is_cached or recipe.crop is None else recipe.items_per_forward
        groups = [mine[n : n + size] for n in range(0, len(mine), size)]
        total = torch.zeros(())
        for n, numbers in enumerate(groups):
            self.gate()
            is_last = n == len(groups) - 1
            with self._fabric.no_backward_sync(self._module, enabled=not is_last):
                loss = self._loss([self._lessons(number) for number in numbers]) / len(mine)
                self._fabric.backward(loss)
            total += loss.detach().cpu()
        # Where a loss is no number, the gradient is none either, and that in all processes: they end together.
        length = nn.utils.clip_grad_norm_(self._trained, recipe.clip)
        if not torch.isfinite(length):
            raise _no_number(self._state.step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self._state.seconds += clock() - started - (self.gate.waited_s - waited)
        return float(cast(Tensor, self._fabric.all_reduce(total))) if world > 1 else float(total)

    def _loss(self, lessons: list[Any]) -> Tensor:
        """The sum of the losses of some items."""
        recipe, device = self._recipe, self._fabric.device
        channels = [lesson.channels for lesson in lessons]
        if recipe.is_cached:
            deep, normed = lessons[0].deep.float(), lessons[0].normed.float()
            logits = self._module(deep, normed, channels)
        else:
            images = torch.from_numpy(np.stack([lesson.image for lesson in lessons])[:, None]).to(
                device, memory_format=torch.channels_last_3d
            )
            logits = self._module(images, channels)
        losses = []
        for out, lesson in zip(logits, lessons, strict=True):
            truth = lesson.truth if torch.is_tensor(lesson.truth) else torch.from_numpy(lesson.truth)
            losses.append(lesson_loss(out.float(), truth.to(device), lesson.reviewed, recipe.pseudo_weight))
        return torch.stack(losses).sum()

    def _check_losses(self) -> None:
        losses = self._state.losses
        if len(losses) < 3 * _WATCHED:
            return
        first, last = (sum(part) / _WATCHED for part in (losses[:_WATCHED], losses[-_WATCHED:]))
        if last > _DIVERGED * first:
            raise LearningError(
                _("Learning diverged: the loss rose from {first} to {last}.").format(
                    first=f"{first:.2f}", last=f"{last:.2f}"
                ),
                _("Nothing was changed. Lower the learning rate, or look at the accepted masks."),
            )

    def _save(self) -> None:
        if self._fabric.is_global_zero:
            self._state.net = {name: value.detach().cpu() for name, value in self._network.state_dict().items()}
            self._state.optimizer = self._optimizer.state_dict()
            save_state(self._learner.state_file, self._state, self._learner._mark)
        self._saved = time.monotonic()


def has_bf16(device: str) -> bool:
    """Whether a device computes bf16 itself, with libraries that do it right."""
    return obstacle("bf16", device) is None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or Python says that memory ran out, on a GPU or in main memory."""
    text = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in text or "not enough memory" in text)
    )


def _for_network(recipe: LearningRecipe, network: UniversalModel) -> LearningRecipe:
    """The recipe with a precision, and one item per forward where the network looks at its batch."""
    if recipe.precision == "auto":
        recipe = replace(recipe, precision="bf16" if has_bf16(recipe.device) else "fp32")
    return replace(recipe, items_per_forward=1) if sees_its_batch(network) else recipe


def _largest(cases: Sequence[LearningCase], multiple: int) -> Sides:
    sides = [max((c.image.shape[axis] for c in cases), default=multiple) for axis in range(3)]
    i, j, k = (max(2 * multiple, -(-n // multiple) * multiple) for n in sides)
    return i, j, k


def _fabric(recipe: LearningRecipe) -> Fabric:
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells everybody about bf16
    world, is_cpu = _world(), recipe.device == "cpu"
    precision = "bf16-mixed" if recipe.precision == "bf16" else "32-true"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    devices: Any = local if is_cpu or world > 1 else [torch.device(recipe.device).index or 0]
    fabric = Fabric(
        accelerator="cpu" if is_cpu else "cuda",
        devices=devices,
        num_nodes=max(1, world // local),
        strategy="ddp" if world > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _world() -> int:
    """How many processes torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _release(device: str) -> None:
    if device != "cpu":
        torch.cuda.empty_cache()


def _no_number(step: int) -> LearningError:
    return LearningError(
        _("The loss was no number at step {step}: learning went wrong.").format(step=step + 1),
        _("Nothing was changed. Lower the learning rate, or look at the accepted masks."),
    )


def _log(folder: Path, step: int, is_first: bool) -> Any:
    """A writer for TensorBoard, or nothing where its package is not installed."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return nullcontext()
    if not is_first:
        return nullcontext()
    return SummaryWriter(str(folder / LOG_FOLDER), purge_step=step)
