"""How the cases of a run ended, for people, tables and machines."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import GenesisError
from ..core.files import atomic_file
from .console import error_document

if TYPE_CHECKING:
    from ..engine.case_files import CaseReport
    from ..engine.measure import Measurement


@dataclass(frozen=True)
class Done:
    """A case with results; ``measurements`` are empty where it was done before.

    ``series`` is the UID of the DICOM series, or empty: several may lie in one ``source``.
    """

    name: str
    source: str
    report: CaseReport
    measurements: tuple[Measurement, ...] = ()
    status: Literal["done", "done before"] = "done"
    series: str = ""


@dataclass(frozen=True)
class NotDone:
    """A case without results: it failed, or it is no CT and was passed over."""

    name: str
    source: str
    error: GenesisError
    status: Literal["failed", "skipped"] = "failed"
    series: str = ""


Outcome = Done | NotDone


def document(outcome: Outcome) -> dict[str, Any]:
    """An outcome for machines."""
    if isinstance(outcome, Done):
        report, error = asdict(outcome.report), None
        measurements = [asdict(m) for m in outcome.measurements]
    else:
        report, error, measurements = None, error_document(outcome.error), []
    return {
        "source": outcome.source,
        "series": outcome.series or None,
        "status": outcome.status,
        "report": report,
        "measurements": measurements,
        "error": error,
    }


def is_in_vain(outcomes: Sequence[Outcome]) -> bool:
    """Whether nothing was done, and nothing failed: all that was found was passed over."""
    return all(outcome.status == "skipped" for outcome in outcomes)


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """One row per case as CSV.

    Raises:
        OutputError: the file could not be written; a previous one is untouched.
    """
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream)
        writer.writerow(["source", "status", "classes_found", "seconds", "segmentation", "error", "notes", "series"])
        for outcome in outcomes:
            if isinstance(outcome, Done):
                report = outcome.report
                found, seconds = " ".join(report.classes_found), f"{sum(report.seconds.values()):.1f}"
                results = (report.segmentation or "", "", " ".join(report.notes))
                writer.writerow([outcome.source, outcome.status, found, seconds, *results, outcome.series])
            else:
                writer.writerow([outcome.source, outcome.status, "", "", "", outcome.error, "", outcome.series])
