"""A structure that no model knows, learned from Genesis-style weights and from scratch: soft-tissue sarcoma.

There are two cases. Each is learned from alone and judged on the other, and both are learned from together, which shows
how fast the same number of steps fits them, but proves nothing, since nobody is left to judge.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ...core.files import atomic_file
from ...core.jobs import Job
from ..inference.spec import ModelSpec
from ..learning.base import Base, genesis_base
from ..learning.channels import Channels, widened
from ..learning.material import LearningCase, learning_case
from ..learning.recipe import LearningRecipe
from ..learning.sampling import cut
from ..learning.trainer import Learner
from ..store import CaseStore
from .clinic import Clinic, Patient

LABEL = "soft_tissue_sarcoma_GTV"
CASES = ("ibsi_sts/sts_036", "ibsi_sts/sts_044")
_MULTIPLE = 16
_PLANS: tuple[tuple[tuple[int, ...], int], ...] = (((0,), 1), ((1,), 0), ((0, 1), 0), ((0, 1), 1))
"""Who is learned from, and who is judged."""


@dataclass(frozen=True)
class StructureRun:
    """``start`` is "genesis" or "scratch"; ``dice`` of the judge, by steps of learning: (steps, Dice)."""

    name: str
    seed: int
    start: str
    learned: tuple[str, ...]
    judge: str
    dice: tuple[tuple[int, float], ...]


def structure_runs(
    data: Path, out: Path, weights: Path | None, seeds: int, steps: Sequence[int], report: Callable[[str], None]
) -> list[StructureRun]:
    """All runs of all seeds; those whose result lies in ``out`` already are not run again, none without ``weights``."""
    runs = []
    for seed in range(seeds):
        for start in ("genesis", "scratch"):
            for chosen, judged in _PLANS:
                learned = "+".join(Path(CASES[n]).name for n in chosen)
                name = f"structure-{start}-{learned}-on-{Path(CASES[judged]).name}-{seed}"
                file = out / "runs" / f"{name}.json"
                if weights is not None and not file.is_file():
                    report(name)
                    run = _run(data, weights, name, seed, start, chosen, judged, steps)
                    report(f"  Dice by steps: {run.dice}")
                    with atomic_file(file) as temporary:
                        temporary.write_text(json.dumps(asdict(run)) + "\n", encoding="utf-8")
                if file.is_file():
                    runs.append(_read(file))
    return runs


def _read(file: Path) -> StructureRun:
    found = json.loads(file.read_text(encoding="utf-8"))
    found["learned"] = tuple(found["learned"])
    found["dice"] = tuple((int(step), float(dice)) for step, dice in found["dice"])
    return StructureRun(**found)


def _run(
    data: Path,
    weights: Path,
    name: str,
    seed: int,
    start: str,
    chosen: tuple[int, ...],
    judged: int,
    steps: Sequence[int],
) -> StructureRun:
    with tempfile.TemporaryDirectory() as folder:
        clinic = Clinic(Path(folder))
        base = genesis_base(clinic.models, weights, seed)
        if start == "scratch":
            _forget(base, seed)
        cases = _material(data, Path(folder), clinic, base)
        channels = base.channels.extended([LABEL])
        network = widened(base.network, len(channels), seed)
        measured = []
        for count in steps:  # the trainer's schedule belongs to a number of steps, so each begins anew
            recipe = LearningRecipe(
                steps=count, budget_s=0, seed=seed, learning_rate=1e-3, device="cpu", pseudo=False, crop=None
            )
            room = Path(folder) / f"learning-{count}"
            learned = Learner(network, channels, [cases[n] for n in chosen], recipe, room, Job()).run()
            measured.append((count, _dice(learned.network, channels, cases[judged])))
    names = tuple(Path(CASES[n]).name for n in chosen)
    return StructureRun(name, seed, start, names, Path(CASES[judged]).name, tuple(measured))


def _forget(base: Base, seed: int) -> None:
    """Gives every layer of the backbone fresh weights, as they were before anything was learned."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in base.network.backbone.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()


def _material(data: Path, folder: Path, clinic: Clinic, base: Base) -> list[LearningCase]:
    for case in CASES:
        clinic.accept(Patient(data / case, (LABEL,)))
    spec = ModelSpec.of(base.name, base.facts)
    with CaseStore.open(folder / "cases") as store:
        return [learning_case(record, store, spec) for record in store.training()]


def _dice(network: torch.nn.Module, channels: Channels, case: LearningCase) -> float:
    """On the model's grid, without any post-processing."""
    i, j, k = (-(-n // _MULTIPLE) * _MULTIPLE for n in case.image.shape)
    image = torch.from_numpy(cut(case.image, (0, 0, 0), (i, j, k)))
    with torch.no_grad():
        logits = network(image[None, None], [channels.channel(LABEL)])[0, 0]
    found, truth = cut((logits > 0).numpy(), (0, 0, 0), case.masks[LABEL].shape), case.masks[LABEL]
    both = int(np.count_nonzero(found)) + int(np.count_nonzero(truth))
    return 2 * int(np.count_nonzero(found & truth)) / max(1, both)
