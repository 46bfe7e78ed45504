"""``genesis-segment pretrain``: Models Genesis on the person's own unlabelled CTs."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.durations import in_seconds
from ..core.errors import InputError
from ..core.identity import patient_text
from ..core.jobs import Job
from .consent import job_with_bar
from .console import UsageError, print_json, print_note, run_cancellable, say, short

if TYPE_CHECKING:
    from ..engine.pretraining.material import Scan
    from ..engine.pretraining.recipe import EpochRecord, Pretrained, PretrainRecipe

_PICTURED = 4
_MOST_WORKERS = 8


class NetworkName(str, Enum):
    """``--network``."""

    genesis_unet3d = "genesis_unet3d"
    starter = "starter"


def pretrain(
    cts: Annotated[
        list[Path], typer.Argument(help="CTs, or folders with CTs; labels are not needed.", metavar="CT...")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the weights (.pt).")] = Path("genesis.pt"),
    network: Annotated[
        NetworkName, typer.Option(help="The U-Net of Models Genesis, or the backbone of the starter at its grid.")
    ] = NetworkName.genesis_unet3d,
    budget: Annotated[str | None, typer.Option(help="Time to train over all runs, such as 30m or 2h.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps to train over all runs.")] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="For minutes: small crops, no inverted contrast, Adam, a rate that ends with the budget."
        ),
    ] = False,
    crop: Annotated[str | None, typer.Option(help="Sides of the crops in voxels, such as 64x64x32.")] = None,
    tissue_limit: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Windows with more soft tissue are refused; 0.15 as published, 1 takes all."),
    ] = None,
    patients: Annotated[
        Path | None, typer.Option(help="CSV with the columns ct and patient, for files that do not name the patient.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:0. With torchrun: auto or cpu.")] = "auto",
    seed: Annotated[int, typer.Option(help="The same seed and CTs give the same crops, distortions and weights.")] = 7,
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures: original, distorted, restored.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin afresh where an earlier run could go on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Teach a network anatomy from CTs without labels (Models Genesis): it learns to restore distorted crops.

    A run that was stopped goes on where it was. Beside the weights, a folder with the ending .work keeps the crops and
    the state; delete it when you are done. Several processes: torchrun --nproc-per-node N -m GenesisSegmentLib.cli
    pretrain ...
    """
    if budget is None and steps is None:
        print_note("Neither --budget nor --steps is given: it trains until it gets no better, which may take days.")
    recipe = _recipe(network.value, quick, crop, tissue_limit, seed, steps, _seconds(budget))
    with job_with_bar("Pre-training") as job:
        job.plan({"reading": 0.1, "training": 0.9})
        done = run_cancellable(job, lambda: _run(cts, output, recipe, patients, device, restart, pictures, job))
    if done is None:  # another process than the first tells nothing
        return
    if as_json:
        print_json(_document(done))
    say(_sentence(done))


def _run(
    cts: Sequence[Path],
    output: Path,
    recipe: PretrainRecipe,
    patients: Path | None,
    device: str,
    restart: bool,
    pictures: Path | None,
    job: Job,
) -> Pretrained | None:
    from ..engine.devices import choose_device
    from ..engine.pretraining.levels import preparation
    from ..engine.pretraining.material import cut_crops, load_material
    from ..engine.pretraining.pictures import picture_distortions, picture_restorations
    from ..engine.pretraining.trainer import Pretraining, forget, make_fabric

    folder = output.with_name(f"{output.stem}.work")
    fabric = make_fabric(choose_device(device, "torch"), recipe.precision)
    is_first = fabric.global_rank == 0
    if is_first:
        if restart:
            forget(folder)
        scans = find_scans(cts, patients)
        cut_crops(scans, preparation(recipe.network), recipe.network, recipe.crops, recipe.seed, folder, job)
    fabric.barrier()
    material = load_material(folder, recipe.seed)
    if is_first:
        for note in material.notes:
            print_note(note)
        say(_about(material.scans, len(material.train), len(material.validation)))
    if fabric.device.type == "cuda" and os.name == "posix":  # a GPU waits for no single core
        recipe = replace(recipe, loader_workers=min(_MOST_WORKERS, os.cpu_count() or 1))
    training = Pretraining(material, recipe, folder, fabric, job, report=lambda record: say(_line(record)))
    done = training.run(output)
    if not is_first:
        return None
    if pictures is not None:
        title = "Models Genesis: original, distorted, restored"
        picture_restorations(pictures / "restorations.png", training.restored(_PICTURED), title)
        crops = material.validation if len(material.validation) else material.train
        picture_distortions(pictures / "distortions.png", [crops[n] for n in range(min(_PICTURED, len(crops)))])
        say(f"Pictures: {short(pictures)}")
    return done


def find_scans(given: Sequence[Path], patients: Path | None) -> list[Scan]:
    """Every CT among the files and folders that the person named, with its patient.

    The patient is what the table says of the file, else what DICOM says; another file is a patient of its own.

    Raises:
        InputError: a path or the table cannot be read, or there is no CT.
    """
    from ..engine.images.reading import CtInput, find_inputs, locate
    from ..engine.pretraining.material import Scan

    table = _patients(patients)
    scans: dict[object, Scan] = {}
    for path in given:
        for found in find_inputs(path):
            if found.refusal:
                print_note(f"{found.path} is left out. {found.refusal.what}")
                continue
            ct: CtInput = locate(found)
            key = (ct.path.resolve(), ct.series.uid if ct.series else "")
            own = ct.series.uid if ct.series else str(ct.path.resolve())
            patient = table.get(ct.path.resolve()) or _dicom_patient(ct) or own
            scans.setdefault(key, Scan(ct, short(ct.path), patient))
    return list(scans.values())


def _dicom_patient(ct: Any) -> str:
    if ct.series is None:
        return ""
    import pydicom

    tags = ["PatientID", "StudyInstanceUID"]
    header = pydicom.dcmread(ct.files[0], stop_before_pixels=True, specific_tags=tags, force=True)
    return patient_text(*(str(header.get(tag) or "") for tag in tags))


def _patients(path: Path | None) -> dict[Path, str]:
    """The table of patients by file; paths are relative to the table."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
        return {(path.parent / row["ct"]).resolve(): row["patient"] for row in rows}
    except (OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} could not be read as a table of patients: {error}.",
            "Give a CSV file with the columns ct, patient.",
        ) from error


def _recipe(
    network: str,
    quick: bool,
    crop: str | None,
    tissue_limit: float | None,
    seed: int,
    steps: int | None,
    budget_s: float | None,
) -> PretrainRecipe:
    from ..engine.pretraining.recipe import QUICK_STARTER, PretrainRecipe

    if quick and network != "starter":
        raise UsageError("--quick is for the starter's backbone.", "Add --network starter.")
    base = QUICK_STARTER if quick else PretrainRecipe(network=network)  # type: ignore[arg-type]
    rule = base.crops
    if crop is not None:
        rule = replace(rule, size=_size(crop))
    if tissue_limit is not None:
        rule = replace(rule, most_soft=tissue_limit)
    return replace(base, crops=rule, seed=seed, steps=steps, budget_s=budget_s)


def _size(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})x(\d{1,4})", text.strip())
    if not match:
        raise UsageError(f'"{text}" is not the size of a crop.', "Give three sides, such as 64x64x32.")
    x, y, z = (int(n) for n in match.groups())
    return x, y, z


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return in_seconds(text)
    except ValueError as error:
        raise UsageError(str(error), "Give a number with s, m, h or d, such as 30m.") from error


def _about(scans: Any, train: int, validation: int) -> str:
    return (
        f"Learning from {train} crops of {len(scans['train'])} CTs, judging by {validation} crops of "
        f"{len(scans['validation'])} CTs of other patients."
    )


def _line(record: EpochRecord) -> str:
    judged = "" if record.validation_loss is None else f", {record.validation_loss:.4f} on other patients"
    return f"Epoch {record.epoch}, step {record.step}: squared error {record.train_loss:.4f}{judged}."


def _sentence(done: Pretrained) -> str:
    judged = ""
    if done.validation_loss is not None and done.untouched_loss is not None:
        judged = (
            f" Squared error on other patients: {done.validation_loss:.4f}; {done.untouched_loss:.4f} "
            "where nothing is restored."
        )
    return (
        f"{done.steps} steps in {done.seconds / 60:.1f} min; ended: {done.ended}.{judged}\nWeights: {short(done.path)}"
    )


def _document(done: Pretrained) -> dict[str, Any]:
    return vars(done) | {"path": str(done.path)}
