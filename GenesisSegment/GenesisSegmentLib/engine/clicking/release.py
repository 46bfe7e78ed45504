"""From a trained click network to what ships: the ONNX file, its facts, and its model card."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ...core.errors import ModelError
from ...core.files import atomic_file, sha256_of
from ..refine.clicks import FACTS, FILE
from ..starter.cases import HELD_OUT
from ..starter.release import write_json
from .network import ClickNet
from .onnx_file import export_onnx

CARD = "genesis_click.md"


def export_checkpoint(checkpoint: Path, target: Path) -> dict[str, Any]:
    """Writes the averaged weights of a training as an ONNX file; returns what is known of the training.

    Raises:
        ModelError: there is no such checkpoint.
    """
    if not checkpoint.is_file():
        raise ModelError(f"There is no checkpoint {checkpoint}.", "Train first, or name the folder of a training.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = ClickNet()
    network.load_state_dict(state["net"])
    export_onnx(network, target)
    return {key: state[key] for key in ("step", "elapsed_s", "trained_on")}


def ship(checkpoint: Path, models: Path, data: Path, table: str = "") -> Path:
    """Writes file, facts and model card into ``models``; returns the file.

    ``data`` is the folder of the training material, for its licences; ``table`` the figures in Markdown.

    Raises:
        ModelError: there is no such checkpoint.
    """
    target = models / FILE
    trained = export_checkpoint(checkpoint, target)
    write_json(models / FACTS, {"sha256": sha256_of(target), "licence": "Apache-2.0", **trained})
    with atomic_file(models / CARD) as path:
        path.write_text(model_card(trained, _licences(data), target.stat().st_size, table), encoding="utf-8")
    return target


def _licences(data: Path) -> dict[str, str]:
    """Of every case, by its name."""
    found = {}
    for table in (data / "CASES.csv", data / "labelmaps" / "LABELMAPS.csv"):
        with table.open(encoding="utf-8", newline="") as stream:
            found.update({row["case"]: row["licence"] for row in csv.DictReader(stream)})
    return found


def model_card(trained: Mapping[str, Any], licences: Mapping[str, str], size: int, table: str) -> str:
    """The model card in Markdown."""
    names: Sequence[str] = trained["trained_on"]
    return _CARD.format(
        size=f"{size / 1e6:.1f}",
        steps=trained["step"],
        hours=f"{trained['elapsed_s'] / 3600:.1f}",
        held_out=", ".join(HELD_OUT),
        cases="\n".join(f"| {name} | {licences.get(name, 'not stated')} |" for name in names),
        figures=table.strip() or "Not measured yet.",
    )


_CARD = """# Click network

A small network that comes with GenesisSegment and answers points, scribbles, boxes and lassos: it corrects any segment
of a CT, or starts a new one. **Not for clinical use.** It was trained on a handful of scans; look at what it does.

* Class-agnostic: it knows no names of organs. It sees a region of 64 or 96 voxels a side: the CT in two windows, the
  segment as it is, how near the prompts are, how much brighter or darker than the segment and the prompts everything
  is, and whose each voxel seems to be by geodesic distances; and says which voxels belong to the segment.
* Network: 3-D U-Net with instance norm that works at half resolution and below, with one convolution at full
  resolution at the end. {size} MB, ONNX, weights in half precision.
* Licence: Apache-2.0, as the program. The training material below is openly licensed; keep its attribution.

## Figures

A simulated user who always clicks into the middle of the largest mistake, on CTs whose patients were not trained on
(patient group {held_out} is held out for ever; the lung tumours are of cases that may not be trained on). Mean Dice
after so many clicks, and the mean over clicks 1 to 10 (the area under the curve).

{figures}

Reproduce: `scripts/show_refining DATA -o FOLDER`, DATA being the folder with CASES.csv. Many references are no expert
readings, and these are a few cases: small differences mean nothing.

## Material

| case | licence |
|---|---|
{cases}

Attribution: see the model card of the starter, `genesis_starter.md`, which was made from the same cases; of the CT
`lidc_0314`: Armato III et al., LIDC-IDRI, doi 10.7937/K9/TCIA.2015.LO9QL9SX.

From these: crops around every structure that is marked (organs, vessels, bones, muscles, sarcomas), on random grids,
mirrored and turned; lesions planted into lungs, livers, spleens and kidneys; label maps painted with Hounsfield units;
and real anatomy in invented grey values. No real lesion of a lung, liver or kidney was among them.

## Recipe

`scripts/train_click DATA --budget 3h`: {steps} steps in {hours} h on one CPU core, beside other work. Every step plays
four games of correcting: a proposal is shifted, thinned, fattened, cut off, made to leak, dented, holed, or nothing at
all; a simulated user draws where it is most wrong, with a trembling hand; the answer is the segment that the next
prompt corrects. Dice + cross-entropy, voxels near prompts counting more. AdamW, averaged weights. Longer runs and a GPU
(`--device cuda:0`) use the same recipe.

## What it is not for

Diagnosis, treatment planning, any measurement that is not checked by eye; children; scans other than CT.
"""
