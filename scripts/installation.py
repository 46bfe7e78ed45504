"""Makes, updates and repairs the private environment: one at a time, and either finished or known to be unfinished."""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import bootstrap
from pip_progress import LiveLine, explain_failure, follow

LOG = "set-up.log"
NEEDED_BYTES = 2 * 10**9
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class SetupError(Exception):
    """The environment could not be made; the text says why and what to do."""


def make_venv(folder: Path) -> None:
    """Makes an empty virtual environment with pip, in a folder that may exist.

    Raises:
        SetupError: this Python comes without the modules for it.
    """
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        major, minor = sys.version_info[:2]
        raise SetupError(
            f"This Python ({sys.executable}) cannot make virtual environments. On Debian and Ubuntu run "
            f"`sudo apt install python{major}.{minor}-venv`; elsewhere install Python from python.org."
        )
    command = [sys.executable, "-m", "venv", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=bootstrap.clean_variables(), check=False)
    if done.returncode != 0:
        raise SetupError(f"No virtual environment could be made in {folder}: {(done.stderr or done.stdout).strip()}")


def pip_command(folder: Path) -> list[str]:
    """How pip of the environment is called; it reports its downloads in a form for programs where it can."""
    import ensurepip

    version = tuple(int(part) for part in ensurepip.version().split(".")[:2])
    style = "raw" if version >= (24, 1) else "off"
    python = str(bootstrap.program_path(folder, "python"))
    return [
        *(python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", style),
        # Python compiles what is imported when it is imported: here it would take longer than all the rest.
        "--no-compile",
    ]


@dataclass(frozen=True)
class Tools:
    """What does the work: replaced by stand-ins in tests."""

    make_venv: Callable[[Path], None] = make_venv
    pip_command: Callable[[Path], list[str]] = pip_command


def install(repository: Path, folders: Sequence[Path], extras: Sequence[str], tools: Tools | None = None) -> Path:
    """Brings the environment in the first writable of ``folders`` up to date with ``repository``.

    An environment whose set-up was interrupted is made anew; a finished one of another state of the checkout is
    updated. Extras that it has already stay.

    Returns:
        The folder of the finished environment.

    Raises:
        SetupError: why it was not possible and what to do.
    """
    tools = tools or Tools()
    line = LiveLine(sys.stderr)
    try:
        with _locked(folders, line) as (folder, lock):
            mark = bootstrap.expected_mark(repository)
            if not bootstrap.is_ready(folder, mark, tuple(extras)):
                _check_space(folder)
                _bring_up_to_date(repository, folder, mark, extras, tools, line, lock)
            return folder
    except OSError as error:
        raise SetupError(f"The set-up failed: {error}.") from error
    finally:
        line.close()


def _bring_up_to_date(
    repository: Path, folder: Path, mark: str, extras: Sequence[str], tools: Tools, line: LiveLine, lock: int
) -> None:
    found, installed = bootstrap.read_marker(folder)
    usable = found.split(" ")[0] == mark.split(" ")[0] and bootstrap.program_path(folder, "python").exists()
    act, cost = ("Updating", "") if usable else ("Making", " (some minutes; 1.7 GB, on Linux with CUDA 5.5 GB)")
    line.say(f"{act} the private environment in {folder}{cost}.")
    wanted = sorted({*extras, *installed}) if usable else sorted(extras)
    _mark_unfinished(folder)
    if not usable:
        line.update("making an empty environment")
        _empty(folder)
        tools.make_venv(folder)
    target = f".[{','.join(wanted)}]" if wanted else "."
    command = [*tools.pip_command(folder), "--constraint", "constraints.txt", "--editable", target]
    _run_pip(command, repository, folder, line, lock)
    program = bootstrap.program_path(folder, "genesis-segment")
    if not program.exists():
        raise SetupError(f"pip finished, but {program} is missing. Delete {folder} and try again.")
    _mark_finished(folder, mark, wanted)
    line.say("The environment is ready.")


def _run_pip(command: list[str], repository: Path, folder: Path, line: LiveLine, lock: int) -> None:
    """Runs pip with its output in a log. It inherits the lock: should it outlive us, nobody interferes with it."""
    log = folder / LOG
    scheme = "nt" if os.name == "nt" else "posix_prefix"
    packages = Path(sysconfig.get_path("purelib", scheme, {"base": str(folder)}))
    inherited = () if os.name == "nt" else (lock,)
    variables = {**bootstrap.clean_variables(), "PIP_USER": "0", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        cwd=repository,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        pass_fds=inherited,
    ) as pip:
        try:
            with log.open("w", encoding="utf-8") as stream:
                follow(pip.stdout or [], stream, line, packages)
        except BaseException:
            pip.terminate()
            raise
    if pip.returncode != 0:
        text = log.read_text(encoding="utf-8", errors="replace")
        raise SetupError(f"{explain_failure(text, pip.returncode)} The full output of pip is in {log}.")


def _mark_unfinished(folder: Path) -> None:
    """Says that the environment is ours and not finished.

    Raises:
        SetupError: the folder holds something that this script did not make.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / bootstrap.MARKER
    if not marker.exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} was not made by this script, so it is left alone. Move it away and try again.")
    marker.write_text("", encoding="utf-8")


def _mark_finished(folder: Path, mark: str, extras: Sequence[str]) -> None:
    temporary = folder / f"{bootstrap.MARKER}.new"
    temporary.write_text("\n".join([mark, *extras]) + "\n", encoding="utf-8")
    temporary.replace(folder / bootstrap.MARKER)


def _empty(folder: Path) -> None:
    """Removes everything but the marker, so that an interruption here is recognised too."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != bootstrap.MARKER:
            path.unlink()


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < NEEDED_BYTES:
        raise SetupError(
            f"The disk of {folder} has {free / 1e9:.1f} GB left, and the environment needs {NEEDED_BYTES / 1e9:.0f} GB "
            "or more. Free some space and try again."
        )


@contextmanager
def _locked(folders: Sequence[Path], line: LiveLine) -> Iterator[tuple[Path, int]]:
    """Yields the first folder that may be written and the lock on it, waiting for another set-up to end."""
    folder, stream = _open_lock(folders)
    with stream:
        while not _try_lock(stream.fileno()):
            line.update("waiting for another set-up of this environment to end")
            time.sleep(0.2)
        yield folder, stream.fileno()


def _open_lock(folders: Sequence[Path]) -> tuple[Path, IO[bytes]]:
    """The lock file lies beside the folder, as the folder's own content comes and goes."""
    for folder in folders:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            return folder, folder.with_name(f"{folder.name}.lock").open("ab")
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
    raise SetupError(f"There is no place to write: {' and '.join(map(str, folders))} are both read-only.")


def _try_lock(handle: int) -> bool:
    """Takes the lock of an open file, which the system frees when the last process that has it open ends."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
