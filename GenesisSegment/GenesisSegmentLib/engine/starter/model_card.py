"""The model card of the starter: what it is, what it was made from, and how it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ...core.classes import class_table
from ...core.files import atomic_file
from .augment import SampleRecipe
from .cases import HELD_OUT, TrainingCase
from .failures import Failure
from .release import FILE, OFFERED_LEAST, OFFERED_MEAN, CaseFigures, offered_classes, write_json
from .train import TrainingRecipe


def write_model_card(
    models: Path,
    cases: list[TrainingCase],
    figures: tuple[CaseFigures, ...],
    all_figures: tuple[CaseFigures, ...],
    recipe: TrainingRecipe,
    trained: dict,
    failures: Sequence[Failure] = (),
) -> None:
    """The model card as Markdown, and the figures behind it as JSON.

    ``figures`` are of the classes that are offered, ``all_figures`` of all that were taught; ``failures`` are pictures
    that lie beside it.
    """
    offered = offered_classes(all_figures)
    write_json(
        models / "genesis_starter.figures.json",
        {
            "figures": [asdict(f) for f in figures],
            "all_figures": [asdict(f) for f in all_figures],
            "trained": trained,
            "recipe": asdict(recipe),
        },
    )
    text = _CARD.format(
        offered=", ".join(class_table()[c].slug for c in offered),
        mean=f"{OFFERED_MEAN:g}",
        least=f"{OFFERED_LEAST:g}",
        others="\n".join(_other_rows(all_figures, offered, recipe.classes)),
        spacing=f"{SampleRecipe().spacing_mm:g}",
        size=f"{(models / FILE).stat().st_size / 1e6:.1f}",
        steps=trained["step"],
        hours=f"{trained['elapsed_s'] / 3600:.1f}",
        loss=f"{trained['loss']:.2f}",
        start=_START if trained.get("genesis") else "",
        note=trained.get("note", ""),
        cases="\n".join(_case_row(case) for case in cases),
        held_out=", ".join(HELD_OUT),
        figures="\n".join(_figure_rows(figures)),
        failures="\n\n".join(f"![{f.class_name} of {f.case}, Dice {f.dice:.2f}]({f.file})" for f in failures),
    )
    with atomic_file(models / "genesis_starter.md") as path:
        path.write_text(text, encoding="utf-8")


def _case_row(case: TrainingCase) -> str:
    kind = "label map, CT painted from it" if case.ct is None else "CT with labels"
    classes = ", ".join(class_table()[c].slug for c in case.annotated)
    return f"| {case.name} | {kind} | {case.licence} | {classes} |"


def _other_rows(figures: tuple[CaseFigures, ...], offered: Sequence[int], taught: Sequence[int]) -> list[str]:
    """A line for every class that is not offered, with the reason."""
    rows = []
    for index, organ in class_table().items():
        if index in offered:
            continue
        dices = [s.dice for figure in figures for s in figure.scores if s.index == index and s.dice is not None]
        if index not in taught:
            why = "not taught"
        elif not dices:
            why = "taught, but no CT that was kept out has it: not measured"
        else:
            why = "taught; Dice " + ", ".join(f"{d:.2f}" for d in dices)
        rows.append(f"| {organ.slug} | {why} |")
    return rows


def _figure_rows(figures: tuple[CaseFigures, ...]) -> list[str]:
    rows = []
    for figure in figures:
        for s in figure.scores:
            numbers = " | ".join(
                "-" if n is None else f"{n:.{d}f}" for n, d in ((s.dice, 2), (s.nsd, 2), (s.hd95_mm, 0))
            )
            extent = f" ({s.predicted_ml:.1f} ml)" if s.status == "false positive" else ""
            rows.append(f"| {figure.case} | {s.name} | {numbers} | {s.status}{extent} |")
    return rows


_START = "The backbone had learned to restore distorted crops of the same CTs before (Models Genesis)."
_CARD = """# Starter model

A small model that comes with GenesisSegment so that the first run works offline. **Not for clinical use.** It was
trained on a handful of scans and gives coarse outlines; check every one of them.

* Offers: {offered}. A class is offered only if it was measured, and found with a Dice of {mean} on average and {least}
  at least on CTs that were kept out; the others are listed below.
* Network: residual U-Net (MONAI SegResNet, 16 filters, instance norm) under the head of the universal model with
  learned class embeddings; {spacing} mm, the whole scan in one pass. {size} MB, ONNX, weights in half precision.
* Licence: Apache-2.0, as the program. The training material below is openly licensed; keep its attribution.

## Figures

Measured with the shipped file on CTs whose patients were not trained on (patient group {held_out} is held out for
ever; the others cannot be trained on because their licence is non-commercial). Dice, normalised surface Dice at 2 mm,
95% Hausdorff distance in mm. Many references are no expert readings (see the data's own notes): small differences
mean nothing, and a few cases say little about others. What the recipe had to learn (fat at a kidney's place, scans that
are half lung) was seen on the held-out CT, so its figures are a little kind.

| case | class | Dice | NSD | HD95 | status |
|---|---|---|---|---|---|
{figures}

Where it is most wrong (found in orange, the reference dashed; slices of openly licensed CTs):

{failures}

Reproduce: `scripts/train_starter DATA --measure-only`, DATA being the folder with CASES.csv.

## Not offered

| class | why |
|---|---|
{others}

## Material

| case | what | licence | annotated classes |
|---|---|---|---|
{cases}

Attribution: Wasserthal et al., TotalSegmentator, doi 10.1148/ryai.230024; Simpson et al.,
Colorectal-Liver-Metastases, doi 10.7937/QXK2-QG03; Bakr et al., NSCLC Radiogenomics, doi
10.7937/K9/TCIA.2017.7hs46erv; Vallieres et al., Soft-tissue Sarcoma, doi 10.7937/K9/TCIA.2015.7GO2GSKS (cropped and
converted by A. Zwanenburg); Holback et al., TCGA-OV, doi 10.7937/K9/TCIA.2016.NDO1MDFQ, based in part upon data
generated by the TCGA Research Network; Ji et al., AMOS, doi 10.5281/zenodo.7155725; Browne, Schlehlein et al., HuBMAP
CCF 3D Reference Object Library, after the NLM Visible Human; SPL Abdominal Atlas 2015, Brigham and Women's Hospital;
The Cancer Imaging Archive, doi 10.1007/s10278-013-9622-7. Kept out of training and only measured: CPTAC, CPTAC-PDA,
doi 10.7937/K9/TCIA.2018.SC20FO18; Aerts et al., NSCLC-Radiomics, doi 10.7937/K9/TCIA.2015.PF0M9REI.

Besides: phantoms made of smooth solids (`engine/phantom.py`). Label maps are painted with the Hounsfield units of
`engine/tissue.py`; every sample is rotated, scaled, bent, cropped and re-contrasted, never mirrored. Kidneys are
displaced and bedded in fat anew, or removed, now and then: the patients of the training CTs are lean there. The upper
chest of one CT is put on the abdomen of another now and then: hardly a CT shows both. The lungs of chest CTs without
labels come from a threshold. Half of the painted CTs have the grey values of one of the real ones; tables, arms and
narrow fields of view are put around bodies, and synthetic lesions into organs, which stay whole organs.

## Recipe

`scripts/train_starter DATA --budget 2h`: {steps} steps in {hours} h on two CPU cores, AdamW, Dice + cross-entropy
over the annotated classes only and the false volume of the absent ones among them, averaged weights; last training
loss {loss}. {start} {note} Longer runs and a GPU (`--device cuda:0`) use the same recipe.

## What it is not for

Diagnosis, treatment planning, any measurement that is not checked by eye; children; scans other than CT; lesions (it
finds none); contrast phases, kernels, implants, anatomy and disease beyond the few scans above.
"""
