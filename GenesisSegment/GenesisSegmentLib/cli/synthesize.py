"""``genesis-segment synthesize``: draws synthetic tumours into the CT of an organ without any."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ..core.jobs import Job
from .console import print_json, print_note, run_cancellable, say, short


class Host(str, Enum):
    """Organs that there are rules for."""

    liver = "liver"
    pancreas = "pancreas"
    kidney = "kidney"


class SizeName(str, Enum):
    """Sizes of lesions."""

    tiny = "tiny"
    small = "small"
    medium = "medium"
    large = "large"
    mix = "mix"


class LabelForm(str, Enum):
    """Files of labels."""

    seg_nrrd = "seg.nrrd"
    nii_gz = "nii.gz"


def synthesize(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="CT: .nii.gz, .nrrd, .mha, or a DICOM folder.")],
    organ_mask: Annotated[
        Path,
        typer.Argument(
            metavar="ORGANMASK",
            help="The organ on the grid of the CT: .seg.nrrd, a label map with its .json, a folder of masks, or a mask "
            "of the organ alone.",
        ),
    ],
    lesion: Annotated[Host, typer.Option(help="The organ to draw lesions into.")] = ...,  # type: ignore[assignment]
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for CT, labels, picture and the drawn numbers.")
    ] = ...,  # type: ignore[assignment]
    size: Annotated[
        SizeName | None,
        typer.Option(help="Radii about 4, 8, 16, 32 mm, or a mix of all. Drawn, if not given.", show_default=False),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed draws the same lesions.", show_default=False)
    ] = None,
    vessels: Annotated[bool, typer.Option("--avoid-vessels", help="Keep off bright vessels of the organ.")] = False,
    mass_effect: Annotated[
        bool, typer.Option("--mass-effect", help="Medium and large lesions push the tissue around them aside.")
    ] = False,
    capsule: Annotated[bool, typer.Option("--capsule", help="A brighter rim around the lesions.")] = False,
    labels: Annotated[LabelForm, typer.Option(help="Form of the labels.")] = LabelForm.seg_nrrd,
    series: Annotated[str | None, typer.Option(help="Which DICOM series, as in `segment`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Draw synthetic tumours, which need no annotation, into an organ that has none.

    By the rules of Hu et al. (CVPR 2023). What is written is marked as synthetic: never take it for a patient.
    Vessels, mass effect and capsule are in the paper, but not in its released generator: their numbers are ours.
    """
    from ..engine.synthesis.case import document, synthetic_case, write_case
    from ..engine.synthesis.recipe import Options

    options = Options(vessels, mass_effect, capsule)

    def work() -> tuple[dict, tuple[Path, ...], tuple[str, ...]]:
        from ..engine.images.reading import read_volume
        from ..engine.synthesis.organ import read_organ

        volume = read_volume(ct, series)
        organ = read_organ(organ_mask, lesion.value, volume.geometry)
        case = synthetic_case(volume, organ, size.value if size else None, seed, options)
        files = write_case(case, out, f".{labels.value}")
        return document(case), files, (*volume.source.notes, *organ.notes)

    drawn, files, notes = run_cancellable(Job(), work)
    for note in notes:
        print_note(note)
    if as_json:
        print_json({**drawn, "files": [str(file.absolute()) for file in files], "notes": list(notes)})
        return
    count = len(drawn["lesions"])
    say(
        f"{count} synthetic {'lesion' if count == 1 else 'lesions'} ({drawn['size']}) in the {drawn['organ']}, "
        f"{drawn['lesion_ml']:.1f} ml, seed {drawn['seed']}. Not a patient's; never use for diagnosis."
    )
    for file in files:
        say(f"  {short(file)}")
