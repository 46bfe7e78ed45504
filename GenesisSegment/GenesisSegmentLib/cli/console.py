"""What every command says and how it ends: messages on stderr, results on stdout, exit codes that scripts can trust."""

from __future__ import annotations

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.text import Text

from ..core.errors import Cancelled, GenesisError, OutputError, ResourceError
from ..core.files import atomic_file, discard_unfinished, output_errors
from ..core.home import data_home
from ..core.jobs import Job

T = TypeVar("T")

out = Console()
err = Console(stderr=True)

CANCEL_GRACE_S = 0.9
"""A cancelled job ends by itself within this time, or it is left behind."""


class UsageError(GenesisError):
    """The command line itself makes no sense."""

    code = "usage"
    exit_code = 2


def print_json(document: Any) -> None:
    """One JSON document on stdout, for machines; ASCII, whatever the terminal speaks.

    Raises:
        OutputError: it goes to a full disk.
    """
    print_out(Text(json.dumps(document, indent=1, allow_nan=False)))


def print_out(result: RenderableType) -> None:
    """A result on stdout.

    Raises:
        OutputError: it goes to a full disk.
    """
    with output_errors(Path("stdout")):
        out.print(result, soft_wrap=True, highlight=False)


def print_error(error: GenesisError) -> None:
    """What happened and what to do, on stderr."""
    err.print(f"[bold red]Error:[/] {escape(error.what)}", soft_wrap=True, highlight=False)
    if error.remedy:
        say(f"  {error.remedy}")


def print_note(note: str) -> None:
    """A sentence that the person should read, on stderr."""
    err.print(f"[yellow]Note:[/] {escape(note)}", soft_wrap=True, highlight=False)


def say(text: str) -> None:
    """Plain text on stderr."""
    err.print(text, soft_wrap=True, highlight=False, markup=False)


def short(path: Path | str) -> str:
    """A path for people: without the current folder in front."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def error_document(error: GenesisError) -> dict[str, str]:
    """An error for machines."""
    return {"code": error.code, "what": error.what, "remedy": error.remedy}


def exit_with(error: GenesisError, as_json: bool) -> NoReturn:
    """Ends the command with an error's message and exit code."""
    print_error(error)
    if as_json:
        with suppress(OutputError, SystemExit):  # stdout may be what failed, and its reader may be gone
            print_json({"error": error_document(error)})
    if isinstance(error, Cancelled):  # at once: work may be left behind, and unloading the libraries takes seconds
        discard_unfinished()
        os._exit(error.exit_code)
    raise SystemExit(error.exit_code)


def run_cancellable(job: Job, work: Callable[[], T]) -> T:
    """Runs ``work`` so that Ctrl-C ends it within a second, even inside a long call of a library.

    The work runs on a thread of its own, and Ctrl-C cancels ``job``. Work that does not notice in time is left
    behind: files are only ever written whole, so that :func:`exit_with` can end the process in the middle.

    Raises:
        Cancelled: by Ctrl-C or through ``job``.
    """
    outcome: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # handed to the caller's thread, whatever it is
            failure.append(error)

    thread = threading.Thread(target=target, daemon=True)
    previous = signal.signal(signal.SIGINT, lambda *_: job.cancel())
    try:
        thread.start()
        while thread.is_alive() and not job.is_cancelled:
            thread.join(0.1)
        thread.join(CANCEL_GRACE_S)
    finally:
        signal.signal(signal.SIGINT, previous)
    if thread.is_alive():
        raise Cancelled
    if failure:
        raise failure[0]
    return outcome[0]


def fault(error: Exception) -> GenesisError:
    """What to tell of an unexpected error, whose traceback is kept in a file."""
    if isinstance(error, MemoryError):
        return ResourceError("The main memory ran out.", "Close other programs, or crop the CT.")
    path = data_home() / "last-error.txt"
    try:
        with atomic_file(path) as temporary:
            temporary.write_text("".join(traceback.format_exception(error)), "utf-8", "backslashreplace")
        where = f"Details are in {path}."
    except GenesisError:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"It happened in {frame.filename}, line {frame.lineno}."
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return GenesisError(what, f"This is a fault of GenesisSegment, please report it. {where}")
