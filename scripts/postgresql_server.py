"""PostgreSQL for the tests of the case store: found on this machine, installed where that may be, run in a folder.

Standard library only, because ``scripts/test`` uses it outside the private environment.
"""

import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
_NOBODY = ("postgres", "nobody")


def find_programs():
    """The folder of ``initdb`` and ``pg_ctl``, of the newest version that is installed; None without one."""
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path).resolve().parent] if on_path else []
    for place in _PLACES:
        found += sorted(Path("/").glob(place.lstrip("/")), key=lambda p: [int(n) for n in p.parts if n.isdigit()])
    complete = [p for p in found if all((p / name).exists() for name in ("initdb", "pg_ctl", "postgres"))]
    return complete[-1] if complete else None


def why_not():
    """Why there is no server here, as a sentence; "" where there is one."""
    if os.name == "nt":
        return "the server of the tests needs Unix sockets"
    if find_programs() is None:
        return "PostgreSQL is not installed (on Debian and Ubuntu: apt-get install postgresql)"
    return ""


def provide():
    """Installs PostgreSQL from the packages of Debian or Ubuntu, where this process may do so and it is missing."""
    if not why_not() or sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing PostgreSQL for the tests of the case store ...", flush=True)
    for command in (("update",), ("install", "-y", "--no-install-recommends", "postgresql")):
        done = subprocess.run(("apt-get", "-q", *command), env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"It could not be installed, so its tests are skipped: {done.stderr.strip()[-300:]}", file=sys.stderr)
            return


@contextmanager
def server():
    """Runs a new server for as long as the context lasts; yields a function from a database's name to its URL.

    It listens on a Unix socket in its own folder alone. As the administrator it runs as another user, because
    PostgreSQL refuses to run as that one.
    """
    programs = find_programs()
    # In memory where that can be had. Short: the path of a socket may have about 100 characters.
    place = next(place for place in ("/dev/shm", "/tmp", None) if place is None or os.access(place, os.W_OK))
    with tempfile.TemporaryDirectory(prefix="gspg-", dir=place, ignore_cleanup_errors=True) as folder:
        user = _owner(Path(folder))
        data = str(Path(folder) / "data")
        _run(
            user,
            programs / "initdb",
            "-D",
            data,
            "-U",
            "tester",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--wal-segsize=1",
        )
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=20"
        log = str(Path(folder) / "log")
        _run(user, programs / "pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "-t", "120", "start")
        try:
            yield lambda name: f"postgresql://tester@/{name}?host={folder}"
        finally:
            _run(user, programs / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def _owner(folder):
    """The user to run as, who is given the folder; the present one unless that is the administrator."""
    if os.geteuid() != 0:
        return getpass.getuser()
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in _NOBODY if name in names)
    shutil.chown(folder, user)
    return user


def _run(user, *command):
    is_other = os.geteuid() == 0
    # pg_ctl leaves the server with what it inherits: a pipe would never end.
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd="/",
            check=False,
            **({"user": user, "group": None, "extra_groups": []} if is_other else {}),
        )
        if done.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"{command[0]} failed: {said.read()[-2000:]}")
