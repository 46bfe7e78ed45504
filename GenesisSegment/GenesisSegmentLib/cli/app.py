"""The command ``genesis-segment``."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer

from .. import __version__
from ..core.errors import Cancelled, GenesisError
from .benchmark import benchmark
from .cases import cases_app
from .console import UsageError, exit_with, fault, out
from .evaluate import evaluate
from .info import info
from .learn import learn
from .models import models_app
from .pretrain import pretrain
from .refine import refine
from .segment import segment
from .synthesize import synthesize

EXIT_CODES = (
    "Exit codes: 0 done, 1 a fault or failures in a batch, 2 wrong usage, 3 input, 4 model, 5 memory or device, "
    "6 output, 7 network, 8 no consent, 130 cancelled."
)
_TyperError: type[Exception] = typer.BadParameter.__mro__[2]
"""What all of typer's complaints share; it has no public name in every version."""
_WIDTH_OF_FILES = 500

app = typer.Typer(
    name="genesis-segment",
    help="Segment organs and lesions on CT, measure them, and compare with reference labels. Everything stays on this "
    "machine. Not for clinical use.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.command()(refine)
app.add_typer(models_app, name="models")
app.command()(learn)
app.add_typer(cases_app, name="cases")
app.command()(pretrain)
app.command()(synthesize)
app.command()(evaluate)
app.command()(benchmark)
app.command()(info)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Runs the command line; every end has the exit code of ``EXIT_CODES``, and with --json a document on stdout."""
    as_json = "--json" in sys.argv[1:]
    # Threads that wait without spinning: with other work on the machine a run takes half the processor time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _prepare_terminal()
        code = app(standalone_mode=False)
    except GenesisError as error:
        exit_with(error, as_json)
    except (KeyboardInterrupt, typer.Abort):
        exit_with(Cancelled(), as_json)
    except _TyperError as error:
        _exit_with_usage(error, as_json)
    except Exception as error:  # the last line of defence: every other error has a type of ours
        exit_with(fault(error), as_json)
    if code == Cancelled.exit_code:  # newer versions of typer turn Ctrl-C into an exit code
        exit_with(Cancelled(), as_json)
    raise SystemExit(code or 0)


def _prepare_terminal() -> None:
    """Text that the terminal cannot show must not end the program, and libraries must not talk to the person.

    Where stdout is a file or another program, tables get the width that they need.
    """
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = _WIDTH_OF_FILES
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def _exit_with_usage(error: Exception, as_json: bool) -> None:
    what = getattr(error, "format_message", error.__str__)()
    if not what:  # no arguments at all: the help was shown
        raise SystemExit(UsageError.exit_code)
    context = getattr(error, "ctx", None)
    program = context.command_path if context else "genesis-segment"
    exit_with(UsageError(" ".join(what.split()), f"See: {program} --help"), as_json)
