"""``genesis-segment cases``: the corrections that were accepted on this machine."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.errors import ConsentError, GenesisError, InputError, ResourceError
from ..core.home import outbox_folder, store_folder
from ..core.outbox import Outbox
from .consent import confirmed, job_with_bar
from .console import print_error, print_json, print_note, print_out, run_cancellable, say, short
from .tables import plain_table

if TYPE_CHECKING:
    from ..engine.store import CaseStore
    from ..engine.store.records import CaseSummary, VerifyReport

cases_app = typer.Typer(
    help="List, add, check, share and delete accepted corrections. Nothing leaves this machine by itself.",
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None, typer.Option("--store", envvar="GENESIS_SEGMENT_STORE", help="Folder of the case store.")
]
Database = Annotated[
    str | None,
    typer.Option(envvar="GENESIS_SEGMENT_DATABASE", help="URL of a shared database: postgresql://USER@HOST/NAME."),
]
Case = Annotated[str, typer.Argument(metavar="CASE", help="A case as `cases list` shows it, or the beginning of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_SHORT = 12


class Layout(str, Enum):
    """``--layout``: what ``export`` writes."""

    archive = "archive"
    monai = "monai"
    nnunet = "nnunet"


def open_store(folder: Path | None, database: str | None) -> CaseStore:
    """The store that a command works on; what was accepted in Slicer and still waits is taken into one's own store."""
    try:
        from ..engine.store import CaseStore
    except ModuleNotFoundError as error:
        what = f"The case store needs the package {error.name}, which is not installed."
        raise ResourceError(what, 'Install it: pip install "genesis-segment[learn]"') from error
    store = CaseStore.open(folder.expanduser().absolute() if folder else store_folder(), database)
    if store.folder == store_folder():
        _take_in(store)
    return store


def _take_in(store: CaseStore) -> None:
    outbox = Outbox(outbox_folder(), store.salt)
    if not outbox.pending():
        return
    try:
        report = store.ingest(outbox)
    except GenesisError as error:
        print_note(f"What was accepted in Slicer still waits in {outbox.folder}. {error}")
        return
    print_note(f"Taken in from {outbox.folder}: {report.added} accepted in Slicer.")
    if report.damaged:
        print_note(f"Damaged, and set aside there: {', '.join(report.damaged)}.")


@cases_app.command("list")
def list_cases(store: Folder = None, database: Database = None, as_json: AsJson = False) -> None:
    """Show every case: its split, what was reviewed, when."""
    with open_store(store, database) as opened:
        cases, counts = opened.cases(), opened.counts()
    if as_json:
        print_json({"counts": asdict(counts), "cases": [asdict(case) for case in cases]})
        return
    table = plain_table("Case", "Patient", "Split", "Accepted", "Times")
    table.add_column("Reviewed")
    for case in cases:
        row = (case.case[:_SHORT], case.patient[:_SHORT], _split(case), case.accepted[:16], str(case.acceptances))
        table.add_row(*row, ", ".join(case.labels))
    if cases:
        print_out(table)
    say(
        f"{counts.cases} cases, accepted {counts.corrections} times: {counts.train} to learn from, "
        f"{counts.validation} to validate, {counts.holdout} held out."
    )


@cases_app.command("show")
def show(case: Case, store: Folder = None, database: Database = None, as_json: AsJson = False) -> None:
    """Show all that is known of a case."""
    with open_store(store, database) as opened:
        detail = opened.case(case)
    if as_json:
        print_json(asdict(detail))
        return
    summary = detail.summary
    size, spacing = (" x ".join(f"{n:.4g}" for n in numbers) for numbers in (summary.shape, summary.spacing))
    print_out(f"Case      {summary.case}\nPatient   {summary.patient}\nSplit     {_split(summary)}")
    print_out(f"CT        {size} voxels of {spacing} mm, {detail.ct}\nAdded     {summary.added}")
    table = plain_table("Class", "Voxels", "Changed", "Accepted", "Proposed by", "Seconds")
    table.add_column("Tools")
    for acceptance in detail.acceptances:
        for label, voxels in acceptance.voxels.items():
            numbers = (str(voxels), str(acceptance.changed_voxels[label]), acceptance.accepted[:19])
            done = (acceptance.models[label], f"{acceptance.seconds:.0f}", ", ".join(acceptance.tools))
            table.add_row(label, *numbers, *done)
    print_out(table)


@cases_app.command("add")
def add(
    ct: Annotated[Path, typer.Argument(metavar="CT", help="CT: .nii.gz, .nrrd, .mha, or a DICOM folder.")],
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="Labels: .seg.nrrd, a label map with its .json, a folder of masks.")
    ],
    classes: Annotated[
        str, typer.Option(help="What was reviewed, such as liver,kidneys; also names of your own that the .json has.")
    ] = "",
    proposed: Annotated[Path | None, typer.Option(help="What a model had predicted, in one of the same forms.")] = None,
    model: Annotated[str, typer.Option(help="The model that had predicted it.")] = "",
    patient: Annotated[
        str, typer.Option(help="A text that tells patients apart; only a hash of it is kept.", show_default="PatientID")
    ] = "",
    series: Annotated[str | None, typer.Option(help="Which DICOM series, as in `segment`.")] = None,
    store: Folder = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Accept labels from files for a CT. All classes that the labels were drawn for count as reviewed."""
    from ..core.outbox import Outbox
    from ..engine.store.from_files import acceptance_from_files

    names = [name for name in classes.split(",") if name.strip()]
    with open_store(store, database) as opened, job_with_bar("Adding") as job:

        def work() -> tuple[CaseSummary, tuple[str, ...]]:
            acceptance, notes = acceptance_from_files(ct, labels, names, proposed, model, patient, series)
            # By the same road as in 3D Slicer: what is interrupted here goes on with the next one.
            incoming = Outbox(opened.folder / "incoming", opened.salt)
            incoming.put(acceptance)
            opened.ingest(incoming, job)
            return opened.case_of(acceptance.id), notes

        summary, notes = run_cancellable(job, work)
    for note in notes:
        print_note(note)
    if as_json:
        print_json(asdict(summary))
    say(f"{short(ct)} is case {summary.case[:_SHORT]} ({_split(summary)}): {', '.join(summary.labels)}.")


@cases_app.command("export")
def export(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="File of the archive, or a new folder.")],
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE]...", help="Only these, in an archive.")] = None,
    layout: Annotated[
        Layout,
        typer.Option(help="One portable archive, or a folder of NIfTI files as MONAI or nnU-Net expect it."),
    ] = Layout.archive,
    store: Folder = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Write cases into one portable file, or into a folder for training elsewhere.

    Names of scans and patients are hashes; the images themselves are as they were.
    """
    with open_store(store, database) as opened, job_with_bar("Exporting") as job:
        if layout is Layout.archive:
            path = run_cancellable(job, lambda: opened.export_archive(target, cases or (), job))
        elif cases:
            raise InputError("Cases can be chosen for an archive only.", "Leave them out.")
        else:
            path = run_cancellable(job, lambda: opened.export_datalist(target, layout.value, job))
    if as_json:
        print_json({"path": str(path), "layout": layout.value})
    say(f"Exported: {short(path)}")


@cases_app.command("import")
def import_archive(
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="File that `cases export` wrote.")],
    store: Folder = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Take the cases of an archive in. Patients keep the split that they have here, else the one of the archive."""
    with open_store(store, database) as opened, job_with_bar("Importing") as job:
        report = run_cancellable(job, lambda: opened.import_archive(archive, job))
    for note in report.notes:
        print_note(note)
    if as_json:
        print_json(asdict(report))
    say(f"{report.added} acceptances of {report.cases} cases were added, {report.before} were there before.")


@cases_app.command("verify")
def verify(store: Folder = None, database: Database = None, as_json: AsJson = False) -> None:
    """Read every file and row, say what is damaged or missing, and clear away what no case needs."""
    with open_store(store, database) as opened, job_with_bar("Checking") as job:
        report = run_cancellable(job, lambda: opened.verify(job))
    if as_json:
        print_json({"is_sound": report.is_sound, **asdict(report)})
    _tell(report)
    if not report.is_sound:
        what = f"The case store is damaged: {len(report.cases)} cases are affected."
        print_error(
            InputError(what, "Bring these files back from a backup, or delete the cases and accept them again.")
        )
        raise typer.Exit(InputError.exit_code)


@cases_app.command("delete")
def delete(
    case: Case,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Agree in advance, for scripts.")] = False,
    store: Folder = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Delete a case with all that was accepted of it, and its pictures in reports. Its patient keeps the split."""
    from ..engine.learning.round_folder import RoundFolders

    with open_store(store, database) as opened:
        whole = opened.case(case).summary.case
        question = f"Delete case {whole[:_SHORT]} and everything that was accepted of it?"
        if not yes and not confirmed(question, "Nobody is here to confirm that a case shall be deleted.", "Add --yes."):
            raise ConsentError("You did not agree to delete the case.", "Nothing was deleted.")
        rounds = RoundFolders.of_this_person()
        rounds.forget(whole)
        opened.delete(whole)
        rounds.forget(whole)
    if as_json:
        print_json({"case": whole, "deleted": True})
    say(f"Case {whole[:_SHORT]} is deleted.")


def _split(case: CaseSummary) -> str:
    return f"{case.split}, left out" if case.is_left_out else case.split


def _tell(report: VerifyReport) -> None:
    say(f"{report.checked} files were read.")
    found = {
        "Damaged": report.damaged,
        "Missing": report.missing,
        "Damaged rows": report.rows,
        "Cases affected": report.cases,
        "Cleared away, as no case needs them": report.orphaned,
        "Not of the case store": report.foreign,
    }
    for what, names in found.items():
        if names:
            say(f"{what}: {', '.join(names)}")
