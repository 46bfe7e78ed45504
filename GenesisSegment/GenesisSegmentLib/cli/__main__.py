"""The entry point of the command: it hears Ctrl-C before the slower imports begin."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from ..core.errors import Cancelled


def main() -> None:
    """Runs the command line; Ctrl-C while it is being loaded ends it at once, with one line."""
    previous = signal.getsignal(signal.SIGINT)
    is_heard = previous is signal.default_int_handler  # else whoever started this program wants Ctrl-C ignored
    if is_heard:
        signal.signal(signal.SIGINT, _stop)
    from .app import main as run

    if is_heard:
        signal.signal(signal.SIGINT, previous)
    run()


def _stop(*_: int | FrameType | None) -> None:
    """Ends the process at once: nothing has begun, and an import that is interrupted would show a traceback."""
    end = Cancelled()
    with suppress(OSError):  # who reads may be gone
        os.write(2, f"Error: {end}\n".encode())
        if "--json" in sys.argv[1:]:
            document = {"error": {"code": end.code, "what": end.what, "remedy": end.remedy}}
            os.write(1, f"{json.dumps(document, indent=1)}\n".encode())
    os._exit(end.exit_code)


if __name__ == "__main__":
    main()
