"""How every process of this room begins and ends."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..core.i18n import carry_texts
from ..core.protocol import EXIT_FATAL
from .pipes import Outlet, claim_pipes


def arguments_of(program: str, description: str) -> argparse.ArgumentParser:
    """The arguments that all of them take."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--log", type=Path, help="where everything else goes that is printed (default: stderr)")
    return parser


def run(log: Path | None, work: Callable[[int, Outlet], int]) -> NoReturn:
    """Does ``work`` with the handle of the commands and the outlet of the events; what it returns is the exit code."""
    # Threads that wait without spinning: with other work on the machine a run takes half the processor time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is noticed
    commands, outlet = claim_pipes(log)
    faulthandler.enable(sys.stderr)
    warnings.simplefilter("ignore")
    carry_texts()  # the person's language is known on the other side
    code = EXIT_FATAL
    try:
        code = work(commands, outlet)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_FATAL
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(code)  # native libraries that are torn down in the wrong order crash at a normal exit
