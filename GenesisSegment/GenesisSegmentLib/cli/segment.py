"""``genesis-segment segment``: CTs in; segmentations, measurements and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import Cancelled, ConsentError, InputError, NetworkError, OutputError
from ..core.jobs import Job
from .batch import name_of
from .consent import consent_of_person, job_with_bar
from .console import UsageError, print_error, print_json, print_note, run_cancellable, say, short
from .inputs import Inputs, check_series, gather
from .outcomes import Done, NotDone, Outcome, document, is_in_vain
from .progress import CaseBar
from .request import Cleaning, Recipe, Request, Runtime
from .tables import measurement_table, summary_table

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..engine.images.reading import CtInput

DEFAULT_FOLDER = Path("genesis-output")
SAMPLE = "sample"


class OutFormat(str, Enum):
    """``--format``: what is written for each CT where ``--out`` does not say it."""

    seg_nrrd = "seg.nrrd"
    label_map = "nii.gz"
    masks = "masks"
    dicom = "dcm"


def segment(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT",
            help="CT: .nii.gz, .nrrd, .mha, a DICOM folder or one of its files. Several inputs, or a folder of "
            "volumes or DICOM series, run as a batch that can be resumed.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Result, by its suffix: .seg.nrrd, .nii.gz label map, .dcm DICOM SEG, or a folder with one mask per "
            "class. For a batch: the folder of all results.",
            show_default="genesis-output/NAME.seg.nrrd",
        ),
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Try it on a public CT (asks before it downloads).")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="With --sample: a synthetic CT, no download.")] = False,
    model: Annotated[
        str, typer.Option(help="Name from `models list` or `models versions`, or a file. current: the one in use.")
    ] = "current",
    classes: Annotated[str, typer.Option(help="Only these, such as liver,kidneys.", show_default="all")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:0.")] = "auto",
    runtime: Annotated[Runtime | None, typer.Option(help="What runs the network.", show_default="by model")] = None,
    recipe: Annotated[
        Recipe,
        typer.Option(
            help="fast: windows over the body, which overlap by 0.25. published: slow, the yardstick, windows as "
            "released."
        ),
    ] = Recipe.fast,
    postprocess: Annotated[Cleaning, typer.Option(help="published: with its known faults.")] = Cleaning.safe,
    overlap: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9,
            help="Share that windows overlap. With the published share, fast works on the published windows.",
            show_default="0.25, or the published one",
        ),
    ] = None,
    everywhere: Annotated[
        bool,
        typer.Option(
            "--everywhere",
            help="With --classes: search the whole CT, not only round the place where the starter sees them.",
        ),
    ] = False,
    series: Annotated[str | None, typer.Option(help="DICOM series: UID, its ending, or number.")] = None,
    form: Annotated[
        OutFormat, typer.Option("--format", help="Form of the results where OUT does not say it.")
    ] = OutFormat.seg_nrrd,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree to the download of the sample.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Segment organs and lesions on CT and measure them.

    Beside the segmentation: measurements as .csv and .json, an overview picture as .png, a report as .json.
    """
    given = _named(inputs, sample, offline)
    folder = DEFAULT_FOLDER if out is None else out
    found = gather(given, folder, series)
    check_series(series, found, sample)
    if found.is_batch:
        _check_folder(folder, given, form)
    request = Request(model, classes, device, runtime, recipe, postprocess, overlap, series, everywhere)
    volume = _sample_volume(offline, yes) if sample else None
    if found.is_batch:
        _run_batch(request, found, folder, form, as_json)
        return
    one = _sample_input() if sample else found.all[0]
    target = out or DEFAULT_FOLDER / f"{name_of(one.path)}{_suffix(form)}"
    _run_one(request, one, target, volume, as_json)


def _named(inputs: list[Path] | None, sample: bool, offline: bool) -> Sequence[Path]:
    if offline and not sample:
        raise UsageError(
            "--offline was given without --sample: a CT of your own is segmented without any network.",
            "Leave it out, or add --sample.",
        )
    if sample and inputs:
        raise UsageError("Both INPUT and --sample were given.", "Give one of them.")
    if not sample and not inputs:
        raise UsageError("There is no INPUT.", "Give a CT, or --sample to try it on one.")
    return inputs or ()


def _check_folder(folder: Path, given: Sequence[Path], form: OutFormat) -> None:
    """Refuses, for a batch, an ``--out`` that is no folder or would mix results with inputs."""
    from ..engine.export.targets import suffix_of

    if folder.is_file() or (suffix_of(folder) and not folder.is_dir()):
        raise UsageError(f"There are several CTs, but {folder} is one file.", "Give a folder for their results.")
    if form is OutFormat.dicom and folder.resolve() in {path.resolve() for path in given}:
        raise UsageError(
            f"DICOM results in {folder} would be taken for inputs the next time.", "Give another folder for them."
        )


def _suffix(form: OutFormat) -> str:
    return "" if form is OutFormat.masks else f".{form.value}"


def _sample_input() -> CtInput:
    from ..engine.images.reading import CtInput

    return CtInput(Path(SAMPLE))


def _sample_volume(offline: bool, yes: bool) -> Volume:
    """The public sample CT where it can be had, else the phantom; says which."""
    from ..engine.images.reading import read_volume
    from ..engine.models.samples import SampleStore
    from ..engine.phantom import phantom_ct

    store = SampleStore()
    path = None if offline else store.find()
    if path is None and not offline:
        try:
            with job_with_bar("Downloading the sample CT") as job:
                path = store.fetch(consent_of_person(yes), job)
        except (ConsentError, NetworkError, OutputError) as error:
            print_note(f"No public sample CT: {error.what}")
    if path is not None:
        say(f"Sample: {path.name}, a public CT.")
        return read_volume(path)
    say("Sample: a synthetic phantom CT. It is not the CT of a person.")
    return phantom_ct()


def _run_one(request: Request, given: CtInput, target: Path, volume: Volume | None, as_json: bool) -> None:
    job = Job()
    with CaseBar(job, 1) as bar:
        done = run_cancellable(job, lambda: request.open(job, bar).run_one(given, target, volume))
    if as_json:
        print_json(document(done))
    else:
        _show(done)


def _run_batch(request: Request, inputs: Inputs, folder: Path, form: OutFormat, as_json: bool) -> None:
    job, suffix = Job(), _suffix(form)
    try:
        with CaseBar(job, len(inputs.all)) as bar:
            outcomes = run_cancellable(job, lambda: request.open(job, bar).run_all(inputs.all, folder, suffix))
    except Cancelled:
        raise Cancelled("The cases that are finished stay; the same command goes on from there.") from None
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if as_json:
        print_json({"cases": [document(outcome) for outcome in outcomes], "failed": len(failed)})
    else:
        summary_table(outcomes)
    _list_not_done(outcomes)
    if failed:
        raise typer.Exit(1)
    if is_in_vain(outcomes):
        say("Nothing was segmented: there is no CT among the inputs.")
        raise typer.Exit(InputError.exit_code)


def _list_not_done(outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if isinstance(outcome, NotDone):
            say(outcome.source)
            if outcome.status == "skipped":
                print_note(f"Skipped: {outcome.error.what}")
            else:
                print_error(outcome.error)


def _show(done: Done) -> None:
    report = done.report
    for note in report.notes:
        print_note(note)
    measurement_table(done.measurements)
    seconds = sum(report.seconds.values())
    say(
        f"{len(report.classes_found)} of {len(report.classes_computed)} classes found by {report.model} on "
        f"{report.device} in {seconds:.1f} s. Not for clinical use."
    )
    for file in report.files:
        say(f"  {short(file)}")
