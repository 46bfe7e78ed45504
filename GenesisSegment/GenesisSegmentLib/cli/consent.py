"""Shows what a download is and on what terms, and asks; nothing is fetched before that."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..core.errors import ConsentError
from ..core.jobs import Job
from ..core.jobs import Progress as JobProgress
from ..engine.models.offer import Consent, Licence, Offer


def consent_of_person(yes: bool) -> Consent:
    """A consent that shows the offer on stderr and asks, unless the person said ``yes`` on the command line.

    Raises (when asked):
        ConsentError: there is nobody to ask.
    """

    def ask(offer: Offer) -> bool:
        show(offer)
        return yes or confirmed(
            "Do you agree to these terms and want to download it?",
            f"The download of {offer.title} needs your agreement, and there is nobody to ask here.",
            "Read the terms above; if you agree, add --yes.",
        )

    return ask


def confirmed(question: str, unasked: str, remedy: str) -> bool:
    """Asks on stderr; the default is No.

    Raises:
        ConsentError: nobody sits at the terminal; with ``unasked`` and ``remedy`` as its sentences.
    """
    if not is_interactive():
        raise ConsentError(unasked, remedy)
    return typer.confirm(question, default=False, err=True)


def is_interactive() -> bool:
    """Whether somebody can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def show(offer: Offer) -> None:
    """Prints what an offer is on stderr."""
    size = size_text(offer.remote.size_bytes)
    rows = {
        "From": offer.remote.url or "",
        "Page": offer.remote.page or "",
        "Size": size,
        **licence_rows(offer.licence),
    }
    Console(stderr=True).print(Panel(grid(rows), title=escape(offer.title), title_align="left"))


def licence_rows(licence: Licence) -> dict[str, str]:
    """A licence as captions and texts."""
    holder = f", (c) {licence.holder}" if licence.holder else ""
    return {
        "Licence": f"{licence.name}{holder}",
        "Text": licence.url or "",
        "Commercial use": _allowed(licence.commercial_use),
        "Clinical use": _allowed(licence.clinical_use),
        "Passing on": _allowed(licence.redistribution),
        "In short": licence.summary,
    }


def grid(rows: dict[str, str]) -> Table:
    """Captions and texts side by side; rows without a text are left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for caption, text in rows.items():
        if text:
            table.add_row(caption, escape(text))
    return table


def size_text(size_bytes: int | None) -> str:
    """A size for people."""
    return "not stated by the publisher" if size_bytes is None else f"{size_bytes / 1e6:,.1f} MB"


def _allowed(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"


@contextmanager
def job_with_bar(title: str) -> Iterator[Job]:
    """A job whose progress is a bar on stderr; the bar appears with the first report, after any question."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(escape(title), total=1.0)

    def report(progress: JobProgress) -> None:
        bar.start()
        bar.update(task, completed=progress.fraction)

    try:
        yield Job(report)
    finally:
        bar.stop()
