"""Hands over to the private environment of this checkout, which is set up on first use.

Runs under whatever ``python3`` a machine has, 3.6 and up: hence plain annotations and no import beyond what a ready
environment needs (starting costs a few milliseconds). The set-up itself is :mod:`installation`.
"""

import hashlib
import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 10), (3, 13)
MARKER = "genesis-segment.marker"
_BINARIES, _SUFFIX = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
_UNWANTED = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


def run(program: str, *leading: str, extras: tuple = ()) -> None:
    """Becomes ``program`` of the private environment, with ``leading`` and the arguments of this process.

    Does not return. ``extras`` are those of pyproject.toml that the program needs.
    """
    command = [str(program_path(ready_environment(extras), program)), *leading, *sys.argv[1:]]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":
        import subprocess

        sys.exit(subprocess.call(command, env=clean_variables()))
    os.execve(command[0], command, clean_variables())


def ready_environment(extras: tuple = ()) -> Path:
    """Folder of the private environment with these extras of pyproject.toml, made or brought up to date if need be.

    Ends this process with one clear sentence where that is not possible.
    """
    _require_suitable_python()
    mark = expected_mark(REPOSITORY)
    for folder in environment_folders(REPOSITORY):
        if is_ready(folder, mark, extras):
            return folder
    from installation import SetupError, install

    try:
        return install(REPOSITORY, environment_folders(REPOSITORY), extras)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("The set-up was stopped. Run the same command again to repeat it.", file=sys.stderr)
        sys.exit(130)


def expected_mark(repository: Path) -> str:
    """What a finished environment says of itself: the Python version, and a hash of what is installed from where."""
    digest = hashlib.sha256(os.fsencode(str(repository)))
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((repository / name).read_bytes() + b"\0")
    return "{}.{} {}".format(*sys.version_info[:2], digest.hexdigest())


def is_ready(folder: Path, mark: str, extras: tuple = ()) -> bool:
    """Whether the environment in ``folder`` was finished for ``mark`` and holds ``extras``."""
    found, installed = read_marker(folder)
    return found == mark and installed.issuperset(extras) and program_path(folder, "python").exists()


def read_marker(folder: Path) -> tuple:
    """The mark and the set of extras of a finished environment; an empty mark for an unfinished or absent one."""
    try:
        lines = (folder / MARKER).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "", set()
    return (lines[0], set(lines[1:])) if lines else ("", set())


def environment_folders(repository: Path) -> tuple:
    """Where the environment may lie, in order of preference: in the checkout, else in the user's data folder."""
    if os.name == "nt":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    name = hashlib.sha256(os.fsencode(str(repository))).hexdigest()[:12]
    return repository / ".venv", data / "genesis-segment" / "environments" / name


def program_path(folder: Path, program: str) -> Path:
    """Path of a program of the environment in ``folder``."""
    return folder / _BINARIES / (program + _SUFFIX)


def clean_variables() -> dict:
    """The environment variables without those that would let another Python installation leak into ours."""
    return {name: value for name, value in os.environ.items() if name not in _UNWANTED}


def _require_suitable_python() -> None:
    """Starts this script again with a Python that will do, if the present one will not."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    found = _find_python()
    if found is None:
        sys.exit(
            "GenesisSegment needs Python {}.{} to {}.{}, but this is Python {}.{} and no other was found on the PATH: "
            "install one, such as Python 3.12, or start this script with it.".format(
                *OLDEST, *NEWEST, *sys.version_info[:2]
            )
        )
    if os.name == "nt":
        import subprocess

        sys.exit(subprocess.call([found, *sys.argv], env=clean_variables()))
    os.execve(found, [found, *sys.argv], clean_variables())


def _find_python() -> "str | None":
    """A Python on the PATH that will do, newest first; one that does not start is passed over."""
    import shutil
    import subprocess

    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path is None:
            continue
        probe = f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"
        quiet = subprocess.DEVNULL
        if subprocess.call([path, "-c", probe], env=clean_variables(), stdout=quiet, stderr=quiet) == 0:
            return path
    return None
