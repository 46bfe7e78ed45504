"""``python -m GenesisSegmentLib.worker [--log FILE] [--idle-minutes N]``."""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import warnings
from pathlib import Path

from .warm import IDLE_MINUTES


def main() -> int:
    """Serves until the parent is gone or says so; returns the exit code."""
    parser = argparse.ArgumentParser(prog="GenesisSegmentLib.worker", description="Serves the engine on stdin/stdout.")
    parser.add_argument("--log", type=Path, help="where everything else goes that is printed (default: stderr)")
    parser.add_argument(
        "--idle-minutes",
        type=float,
        default=IDLE_MINUTES,
        help="without a run until the memory of the models is given back (default: %(default)g)",
    )
    arguments = parser.parse_args()
    # Threads that wait without spinning: with other work on the machine a run takes half the processor time.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is noticed

    from .pipes import claim_pipes

    commands, outlet = claim_pipes(arguments.log)
    faulthandler.enable(sys.stderr)
    warnings.simplefilter("ignore")

    from .server import Server
    from .service import Service

    return Server(outlet, Service(arguments.idle_minutes), str(arguments.log or "")).serve(commands)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # native libraries that are torn down in the wrong order crash at a normal exit
