"""From a trained starter to what ships: the ONNX file, its facts, its measured figures and its model card."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ...core.classes import class_table
from ...core.errors import InputError
from ...core.files import atomic_file, sha256_of
from ...core.jobs import Job
from ...core.volume import Volume
from ..evaluate import ClassScore, evaluate
from ..images.reading import read_volume
from ..inference.spec import RunOptions
from ..labels import read_labels
from ..models.store import ModelStore
from ..open_model import open_segmenter
from .augment import SampleRecipe
from .cases import TrainingCase
from .onnx_file import export_onnx
from .train import NETWORK_OPTIONS, starter_network

FILE = "genesis_starter.onnx"
OFFERED_MEAN, OFFERED_LEAST = 0.7, 0.5
"""Dice that a class must have, on average and on each CT that it is measured on, so that a user may ask for it."""
NOT_STATED = "UNCLEAR"


@dataclass(frozen=True)
class CaseFigures:
    """Scores of the shipped file on one CT that no patient of the training material is in."""

    case: str
    licence: str
    region: str
    label_kind: str
    scores: tuple[ClassScore, ...]


class Segments(Protocol):
    """What a segmenter does here."""

    def segment(self, volume: Volume, options: RunOptions) -> Any:
        """A result with the ``segmentation``."""


def ship(checkpoint: Path, models: Path, taught: Sequence[int]) -> Path:
    """Writes the ONNX file with the averaged weights and the JSON of its facts; returns the former.

    Until it is measured (:func:`offered_classes`, :func:`write_facts`) all that was taught is offered.
    """
    network = starter_network()
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["net"])
    target = models / FILE
    export_onnx(network.eval(), target)
    write_facts(models, taught)
    return target


def offered_classes(figures: Iterable[CaseFigures]) -> tuple[int, ...]:
    """The classes that are good enough wherever they were measured; a class that was never measured is not offered."""
    dices: dict[int, list[float]] = {}
    for figure in figures:
        for score in figure.scores:
            if score.dice is not None:
                dices.setdefault(score.index, []).append(score.dice)
    good = (i for i, d in dices.items() if sum(d) / len(d) >= OFFERED_MEAN and min(d) >= OFFERED_LEAST)
    return tuple(sorted(good))


def write_facts(models: Path, offered: Sequence[int]) -> None:
    """The facts of the starter beside its file and, alike, in the catalogue with the file's SHA-256."""
    samples = SampleRecipe()
    facts = {
        "architecture": "starter",
        "options": {**NETWORK_OPTIONS, "blocks_down": list(NETWORK_OPTIONS["blocks_down"])},
        "classes": list(class_table()),
        "offered": list(offered),
        "preprocessing": {
            "orientation": "RAS",
            "spacing_mm": [samples.spacing_mm] * 3,
            "intensity_hu": list(samples.window_hu),
            "intensity_values": list(samples.window_values),
            "window": None,
            "overlap": None,
        },
    }
    write_json(models / FILE.replace(".onnx", ".json"), facts)
    path = models / "catalogue.json"
    if not path.is_file():  # a trial in a folder of its own
        return
    catalogue = json.loads(path.read_text(encoding="utf-8"))
    entry = next(entry for entry in catalogue["entries"] if entry["id"] == "starter")
    entry.update(facts, sha256=sha256_of(models / FILE))
    write_json(path, catalogue)


def measure_starter(
    models: Path, data: Path, trained_on: Sequence[TrainingCase], classes: Sequence[int]
) -> tuple[CaseFigures, ...]:
    """Runs the file in ``models`` on every labelled CT of ``data`` whose patient it was not trained on.

    ``classes`` are scored, as far as the file offers them.

    Raises:
        InputError: there is none.
    """
    segmenter, offered = open_starter(models)
    rows = unseen_cases(data, {case.name for case in trained_on})
    wanted = set(classes) & set(offered)
    figures = [case_figures(data, row, segmenter, wanted) for row in rows]
    measured = tuple(figure for figure in figures if figure is not None)
    if not measured:
        raise InputError(f"{data} has no labelled CT that the starter was not trained on.", "Add one.")
    return measured


def open_starter(models: Path) -> tuple[Segments, tuple[int, ...]]:
    """The file in ``models``, ready to segment on the CPU, and the classes that it offers."""
    model = ModelStore.of_this_person().resolve(models / FILE)
    return open_segmenter(model, Job(), device="cpu"), model.facts.offered


def unseen_cases(data: Path, trained_on: Set[str]) -> list[dict[str, str]]:
    """Rows of CASES.csv of labelled CTs under a stated licence, of patients of whom no case was trained on.

    One patient may have several cases: the same scan cropped, or its label map alone.
    """
    cases, maps = (_rows(data / name) for name in ("CASES.csv", "labelmaps/LABELMAPS.csv"))
    seen = {row["patient_group"] for row in (*cases, *maps) if row["case"] in trained_on}
    return [
        row
        for row in cases
        if row["patient_group"] not in seen and row["labelled"] == "yes" and NOT_STATED not in row["licence"].upper()
    ]


def case_figures(data: Path, row: dict[str, str], segmenter: Segments, wanted: Iterable[int]) -> CaseFigures | None:
    """Scores of the wanted classes that the case's reference knows about, marked or not; None where it knows none.

    A class that is annotated as absent has its place: what is found of it is false.
    """
    reference = read_labels(data / row["path"]).segmentation
    classes = sorted(set(reference.classes) & set(wanted))
    if not classes:
        return None
    result = segmenter.segment(read_volume(data / row["path"] / "ct.nii.gz"), RunOptions())
    scores = evaluate(result.segmentation, reference, classes)
    return CaseFigures(row["case"], row["licence"], row["region"], row["label_kind"], scores)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_json(path: Path, document: Any) -> None:
    """Writes a document so that people can read it too."""
    with atomic_file(path) as temporary:
        text = json.dumps(document, indent=1, ensure_ascii=False)
        # Lists of plain values stay on one line: 32 class numbers are no page.
        text = re.sub(r"\[[^\[\]{}]*\]", lambda plain: "[" + " ".join(plain[0][1:-1].split()) + "]", text)
        temporary.write_text(text + "\n", encoding="utf-8")
