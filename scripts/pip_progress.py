"""Shows what pip is doing on one live line, and says in plain words why it failed."""

from __future__ import annotations

import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TextIO

REDRAW_S = 0.25
PLAIN_S = 15.0
"""Where the output is not a terminal, a plain line is printed this often."""

_STEPS = (
    (re.compile(r"\s*Collecting ([\w.-]+)"), "looking up {0}"),
    (re.compile(r"\s*Downloading (?:\S*/)?([\w.]+)-([\w.+]+)-\S+ \((.+)\)"), "downloading {0} {1} ({2})"),
    (re.compile(r"\s*(?:Using cached|Processing) (?:\S*/)?([\w.]+)-([\w.+]+)-\S+"), "reading {0} {1}"),
)
_UNPACKING = re.compile(r"Installing collected packages: (.+)")
_PERCENT = re.compile(r"Progress (\d+) of (\d+)")
_CAUSES = (
    (r"No space left on device|Errno 28|disk quota exceeded", "the disk is full", "Free some space"),
    (
        r"ProxyError|Proxy Authentication|Tunnel connection failed",
        "the proxy refused the connection",
        "Set HTTPS_PROXY to the right address, with user and password if it asks for them,",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "the certificate of the package server could not be verified",
        "Set PIP_CERT to the file with your organisation's certificates",
    ),
    (
        r"name resolution|getaddrinfo failed|nodename nor servname|NewConnectionError|Failed to establish a new"
        r"|Network is unreachable|ConnectTimeout|ReadTimeout|Read timed out|Connection refused|ConnectionReset"
        r"|RemoteDisconnected|IncompleteRead",
        "there is no connection to the package server",
        "Connect to the network, or name a mirror in PIP_INDEX_URL or a folder of wheels in PIP_FIND_LINKS,",
    ),
    (r"Permission denied|Errno 13|WinError 5\b", "a file could not be written", "Close programs that use the folder"),
    (
        r"No matching distribution found for ([\w.-]+)"
        r"|Could not find a version that satisfies the requirement ([\w.-]+)",
        "the package server has no file of {0} for this Python and system",
        "Use a 64-bit Python 3.10 to 3.13 on Linux, Windows, or macOS 14 and later (Apple silicon),",
    ),
    (r"MemoryError", "the memory ran out", "Close other programs"),
)
_KILLED = -9


class LiveLine:
    """One line on ``stream`` that is rewritten in place on a terminal, and printed now and then elsewhere."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._live = stream.isatty()
        self._started = clock()
        self._printed = self._started
        self._width = 0

    def update(self, text: str) -> None:
        """Shows ``text`` with the time since the start."""
        seconds = int(self._clock() - self._started)
        text = f"  {seconds // 60}:{seconds % 60:02} {text}"
        if self._live:
            text = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write(f"\r{text.ljust(self._width)}")
            self._width = len(text)
        elif self._clock() - self._printed >= PLAIN_S:
            self._printed = self._clock()
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def say(self, sentence: str) -> None:
        """Prints a sentence on a line of its own."""
        self.close()
        self._stream.write(f"{sentence}\n")
        self._stream.flush()

    def close(self) -> None:
        """Clears the live line."""
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()
        self._width = 0


def follow(output: Iterable[str], log: TextIO, line: LiveLine, packages: Path) -> None:
    """Copies pip's ``output`` to ``log`` until it ends, and shows on ``line`` what it is doing.

    ``packages`` is the folder where pip puts packages: pip does not say how far it is with that.
    """
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for text in output:
            lines.put(text)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    began = time.time()
    step, percent, names = "starting pip", "", [""]
    while True:
        try:
            text = lines.get(timeout=REDRAW_S)
        except queue.Empty:
            text = ""
        if text is None:
            return
        progress, unpacking = _PERCENT.match(text), _UNPACKING.match(text)
        if progress:
            done, total = map(int, progress.groups())
            percent = f" {100 * done // total} %" if total else ""
        elif text:
            log.write(text)
            log.flush()
            step, percent = describe(text) or step, ""
        if unpacking:
            names = unpacking.group(1).split(", ")
        if names != [""]:
            number = min(_count_newer(packages, began), len(names) - 1)
            step = f"unpacking {names[number]} ({number + 1} of {len(names)})"
        line.update(step + percent)


def describe(text: str) -> str | None:
    """What a line of pip's output means, or None where it means no new step."""
    for pattern, sentence in _STEPS:
        found = pattern.match(text)
        if found:
            return sentence.format(*found.groups())
    return None


def _count_newer(packages: Path, moment: float) -> int:
    """How many packages have been put in place since ``moment`` (seconds since the epoch)."""
    return sum(info.stat().st_mtime >= moment for info in packages.glob("*.dist-info"))


def explain_failure(log: str, code: int) -> str:
    """Why pip failed and what to do, from its output and exit code."""
    if code == _KILLED:
        return "The set-up failed: the system ended pip, mostly for lack of memory. Close other programs and try again."
    for pattern, cause, remedy in _CAUSES:
        found = re.search(pattern, log, re.IGNORECASE)
        if found:
            name = next((group for group in found.groups() if group), "")
            return f"The set-up failed: {cause.format(name)}. {remedy} and run the same command again."
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")]
    last = errors[-1].removeprefix("ERROR:").strip().rstrip(".") if errors else f"pip ended with code {code}"
    return f"The set-up failed: {last}. Run the same command again, or read the output."
