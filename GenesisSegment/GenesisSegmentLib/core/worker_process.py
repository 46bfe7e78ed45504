"""One run of the worker process: started, spoken to, listened to and ended without ever blocking the caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from .i18n import _
from .protocol import Heartbeat, Message, Ready, decode, encode
from .wire import LineSplitter

_READ_BYTES = 1 << 16
_LARGEST_LOG = 1 << 20
_LAST_WORDS_BYTES = 4096
_GRACE_S = 1.5
_TASKKILL_S = 10.0
_TASKKILL_NOT_FOUND = 128
_KILLED = (-9, 137)
_NO_MEMORY = (0xC0000017, 0xC000012D)
"""STATUS_NO_MEMORY and STATUS_COMMITMENT_LIMIT of Windows."""
_MEMORY_WORDS = ("MemoryError", "bad_alloc", "out of memory", "OutOfMemory")


@dataclass(frozen=True)
class Launch:
    """How the worker is started: ``env`` None takes the environment of this process; ``log`` takes its stderr.

    ``title`` is how sentences for the person begin, by default "The segmentation process".
    """

    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    title: str = ""

    @property
    def name(self) -> str:
        """How sentences for the person begin."""
        return self.title or _("The segmentation process")


@dataclass(frozen=True)
class Ended:
    """The process is gone. ``code`` is negative for a signal, None where it could not be started.

    ``words`` is the last line that it wrote to its log, ``title`` as in :class:`Launch`.
    """

    code: int | None
    words: str
    title: str = ""

    @property
    def what(self) -> str:
        """A sentence for the person."""
        name = self.title or _("The segmentation process")
        if self.code is None:
            return _("{process} could not be started: {words}").format(process=name, words=self.words)
        if self.is_out_of_memory:
            return _("{process} was ended, probably because the memory ran out.").format(process=name)
        said = _(" Its last words: {words}").format(words=self.words) if self.words else ""
        return _("{process} ended unexpectedly ({code}).").format(process=name, code=_named(self.code)) + said

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.code is None:
            return _("Check the set-up of GenesisSegment.")
        if self.is_out_of_memory:
            return _(
                "Close other programs, ask for fewer classes, crop the CT, or use a coarser model; then try again."
            )
        return _("Try again: it starts anew by itself. The log says more.")

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it looks as if the memory ran out: systems end the process that takes most, without a word."""
        return self.code in (*_KILLED, *_NO_MEMORY) or (
            self.code != 0 and any(word in self.words for word in _MEMORY_WORDS)
        )


class WorkerProcess:
    """Starts the worker at once, in a thread. What it says goes to ``inbox`` as (this process, event).

    The last item is an :class:`Ended`.
    """

    def __init__(self, launch: Launch, inbox: SimpleQueue[tuple[Any, Any]]) -> None:
        self._launch, self._inbox = launch, inbox
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self._popen: subprocess.Popen[bytes] | None = None
        self._reported: int | None = None
        self._lock = threading.Lock()
        self._is_doomed = False
        self._is_over = threading.Event()
        self._log_start = 0
        threading.Thread(target=self._run, name="worker", daemon=True).start()

    @property
    def log(self) -> Path:
        """Where the worker's stderr goes."""
        return self._launch.log

    @property
    def pid(self) -> int | None:
        """The process id, once it was started."""
        return self._popen.pid if self._popen else None

    def cpu_seconds(self) -> float | None:
        """Processor time that the worker has used so far; None where the system does not say so cheaply."""
        try:
            stat = Path(f"/proc/{self._reported or self.pid}/stat").read_text(encoding="utf-8", errors="replace")
            user, system = stat.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None

    def send(self, message: Message) -> None:
        """Hands a message over; a thread writes it."""
        self._outbox.put(encode(message))

    def kill(self) -> None:
        """Ends the process and all that it started, now."""
        with self._lock:
            self._is_doomed = True
            if self._popen is not None and not self._is_over.is_set():
                self._kill_tree(self._popen)

    def end(self) -> threading.Thread:
        """Closes stdin, upon which the worker ends by itself; kills what has not ended soon after.

        The thread that sees to it is returned. The interpreter does not exit before it is done.
        """
        self._outbox.put(None)
        thread = threading.Thread(target=self._see_it_end, name="worker-end", daemon=False)
        thread.start()
        return thread

    def _see_it_end(self) -> None:
        if not self._is_over.wait(_GRACE_S):
            self.kill()
            self._is_over.wait(_GRACE_S)

    def _run(self) -> None:
        try:
            popen = self._start()
        except (OSError, ValueError) as error:
            self._is_over.set()
            self._inbox.put((self, Ended(None, str(error), self._launch.title)))
            return
        reader = threading.Thread(target=self._read, args=(popen,), name="worker-read", daemon=True)
        writer = threading.Thread(target=self._write, args=(popen,), name="worker-write", daemon=True)
        reader.start()
        writer.start()
        code = popen.wait()
        reader.join(_GRACE_S)
        if reader.is_alive():  # something that it started still holds the pipe
            self._kill_tree(popen)
            reader.join(_GRACE_S)
        self._is_over.set()
        self._outbox.put(None)
        self._inbox.put((self, Ended(code, self._last_words(), self._launch.title)))

    def _start(self) -> subprocess.Popen[bytes]:
        launch = self._launch
        with _opened_log(launch.log) as log:
            self._log_start = log.tell()
            own_group: dict[str, Any] = {"start_new_session": True}
            if sys.platform == "win32":
                flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
                own_group = {"creationflags": flags}
            popen = subprocess.Popen(
                launch.argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=launch.cwd,
                env=None if launch.env is None else dict(launch.env),
                **own_group,
            )
        with self._lock:
            self._popen = popen
            if self._is_doomed:
                self._kill_tree(popen)
        return popen

    def _read(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdout is not None
        splitter = LineSplitter()
        with popen.stdout as pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                for line in splitter.feed(data):
                    message = decode(line)
                    if isinstance(message, (Heartbeat, Ready)) and message.pid > 0:
                        self._reported = message.pid
                    if message is not None:
                        self._inbox.put((self, message))
        self._reported = None  # it has ended: the number may become that of another process

    def _kill_tree(self, popen: subprocess.Popen[bytes]) -> None:
        """Ends what was started, with all its children, and what reported itself: a launcher may have died before."""
        reported = self._reported
        if sys.platform == "win32":
            pids = tuple(dict.fromkeys(pid for pid in (popen.pid, reported) if pid is not None))
            threading.Thread(target=end_trees, args=(pids,), name="worker-kill", daemon=False).start()
            return
        with suppress(ProcessLookupError, PermissionError):  # all of the group have ended
            os.killpg(popen.pid, signal.SIGKILL)
        if reported is not None:
            with suppress(ProcessLookupError, PermissionError):  # it was in the group
                os.kill(reported, signal.SIGKILL)

    def _write(self, popen: subprocess.Popen[bytes]) -> None:
        assert popen.stdin is not None
        with suppress(OSError):  # it is gone: how it ended is told by the thread that waits for it
            while (line := self._outbox.get()) is not None:
                popen.stdin.write(line)
                popen.stdin.flush()
        with suppress(OSError):
            popen.stdin.close()

    def _last_words(self) -> str:
        try:
            with self._launch.log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - _LAST_WORDS_BYTES))
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1].strip()[:300] if lines else ""


def _opened_log(path: Path) -> Any:
    """The log, to be added to; a long one is put aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size > _LARGEST_LOG:
        with suppress(OSError):  # another worker may hold it: then it grows
            path.replace(path.with_name(path.name + ".old"))
    stream = path.open("ab")
    stream.seek(0, os.SEEK_END)
    return stream


def end_trees(pids: Iterable[int]) -> None:
    """Ends Windows processes and their children, one by one; where ``taskkill`` cannot, at least the processes."""
    taskkill = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "taskkill.exe"
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    for pid in pids:
        command = [str(taskkill), "/F", "/T", "/PID", str(pid)]
        try:
            code = subprocess.run(command, capture_output=True, creationflags=flags, timeout=_TASKKILL_S).returncode
        except (OSError, subprocess.TimeoutExpired):
            code = -1
        if code not in (0, _TASKKILL_NOT_FOUND):
            with suppress(OSError):  # it has ended meanwhile
                os.kill(pid, signal.SIGTERM)  # TerminateProcess, on Windows


def _named(code: int) -> str:
    if code >= 0:
        return _("exit code {code}").format(code=code if code < 0x80000000 else hex(code))
    try:
        return _("signal {name}").format(name=signal.Signals(-code).name)
    except ValueError:
        return _("signal {name}").format(name=-code)
