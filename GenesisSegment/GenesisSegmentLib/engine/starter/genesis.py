"""The first part of the starter's recipe: its backbone learns to restore CTs before anybody tells it of organs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from pathlib import Path

from ...core.jobs import Job
from ..images.reading import find_inputs, locate
from ..pretraining.levels import preparation
from ..pretraining.material import Scan, cut_crops, load_material
from ..pretraining.recipe import QUICK_STARTER, PretrainRecipe
from ..pretraining.trainer import Pretraining, make_fabric
from .cases import is_trained_on, rows

WEIGHTS = "genesis.pt"


def pretrained_backbone(
    data: Path,
    work: Path,
    budget_s: float,
    device: str,
    report: Callable[[str], None],
    kept_out: Set[str] = frozenset(),
    recipe: PretrainRecipe = QUICK_STARTER,
) -> Path:
    """Weights of the backbone after Models Genesis on the training CTs, in ``work``; made where they are not there yet.

    A run that was stopped goes on. ``kept_out``: patient groups that it must not see either.

    Raises:
        InputError: there is nothing to learn from.
    """
    target = work / WEIGHTS
    if target.is_file():
        return target
    folder = work / "genesis"
    folder.mkdir(parents=True, exist_ok=True)
    recipe = replace(recipe, budget_s=budget_s)
    job = Job()
    job.plan({"reading": 0.1, "training": 0.9})
    scans = list(training_scans(data, kept_out))
    cut_crops(scans, preparation(recipe.network), recipe.network, recipe.crops, recipe.seed, folder, job)
    fabric = make_fabric(device, recipe.precision)
    training = Pretraining(
        load_material(folder, recipe.seed),
        recipe,
        folder,
        fabric,
        job,
        report=lambda record: report(f"pre-training, step {record.step}: squared error {record.train_loss:.4f}"),
    )
    done = training.run(target)
    assert done is not None  # one process alone
    return done.path


def training_scans(data: Path, kept_out: Set[str] = frozenset()) -> Iterator[Scan]:
    """Every openly licensed CT of ``data``, labelled or not, of patients who are not held out."""
    for row in rows(data / "CASES.csv"):
        if is_trained_on(row, kept_out):
            for found in find_inputs(data / row["path"] / "ct.nii.gz"):
                yield Scan(locate(found), row["case"], row["patient_group"])
