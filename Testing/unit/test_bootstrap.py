"""The set-up of the private environment, with a stand-in for pip: nothing here uses a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import bootstrap
import installation
from installation import SetupError, Tools, install

SCRIPTS = Path(bootstrap.__file__).parent
POSIX_ONLY = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and shell scripts")

FAKE_PIP = """
import json, sys, time
from pathlib import Path
root, folder, arguments = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
plan = json.loads((root / "plan.json").read_text())
print(plan["output"], flush=True)
with (root / "calls").open("a") as calls:
    calls.write("start " + arguments[-1] + "\\n")
time.sleep(plan["seconds"])
if plan["code"] == 0:
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / "genesis-segment"
    program.write_text(plan["program"])
    program.chmod(0o755)
with (root / "calls").open("a") as calls:
    calls.write("end\\n")
sys.exit(plan["code"])
"""
ECHO = """#!/bin/sh
echo "$@"
echo "PYTHONPATH=$PYTHONPATH PYTHONHOME=$PYTHONHOME"
exit 7
"""
DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import test_bootstrap
test_bootstrap.Checkout(Path(sys.argv[3])).install()
"""


class Checkout:
    """A small copy of what the set-up looks at, with a pip that follows ``plan.json`` and records its calls."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.repository = root / "repository"
        self.folder = self.repository / ".venv"

    @classmethod
    def new(cls, root: Path) -> Checkout:
        checkout = cls(root)
        checkout.repository.mkdir()
        (checkout.repository / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
        (checkout.repository / "constraints.txt").write_text("torch==2.13.0\n", encoding="utf-8")
        (root / "fake_pip.py").write_text(FAKE_PIP, encoding="utf-8")
        checkout.plan()
        return checkout

    def plan(self, code: int = 0, output: str = "Collecting torch", seconds: float = 0, program: str = ECHO) -> None:
        """What pip will do from now on."""
        plan = {"code": code, "output": output, "seconds": seconds, "program": program}
        (self.root / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    def install(self, *extras: str, folders: tuple[Path, ...] = ()) -> Path:
        return install(self.repository, folders or (self.folder,), extras, Tools(self._make_venv, self._pip))

    def is_ready(self, *extras: str) -> bool:
        return bootstrap.is_ready(self.folder, bootstrap.expected_mark(self.repository), extras)

    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def process(self) -> subprocess.Popen[bytes]:
        """A process of its own that runs the set-up."""
        command = [sys.executable, "-c", DRIVER, str(SCRIPTS), str(Path(__file__).parent), str(self.root)]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def _make_venv(self, folder: Path) -> None:
        python = bootstrap.program_path(folder, "python")
        python.parent.mkdir()
        python.symlink_to(sys.executable)

    def _pip(self, folder: Path) -> list[str]:
        return [sys.executable, str(self.root / "fake_pip.py"), str(self.root), str(folder)]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout.new(tmp_path)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1500):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("what was waited for did not happen within 30 s")


def test_first_use_makes_the_environment_and_the_second_finds_it(checkout):
    assert not checkout.is_ready()
    assert checkout.install() == checkout.folder
    assert checkout.is_ready()
    assert checkout.install() == checkout.folder
    assert checkout.calls() == ["start .", "end"]


def test_extras_are_added_and_stay(checkout):
    checkout.install()
    assert not checkout.is_ready("dicom", "test")
    checkout.install("test", "dicom")
    assert checkout.is_ready("dicom", "test")
    assert checkout.is_ready()
    (checkout.repository / "pyproject.toml").write_text("[project] # changed\n", encoding="utf-8")
    checkout.install()
    assert checkout.is_ready("dicom", "test")
    assert checkout.calls()[::2] == ["start .", "start .[dicom,test]", "start .[dicom,test]"]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_update_the_environment_in_place(checkout, name):
    checkout.install()
    (checkout.folder / "witness").touch()
    (checkout.repository / name).write_text("changed\n", encoding="utf-8")
    assert not checkout.is_ready()
    checkout.install()
    assert checkout.is_ready()
    assert (checkout.folder / "witness").exists()
    assert len(checkout.calls()) == 4


def test_another_python_version_makes_the_environment_anew(checkout, monkeypatch):
    checkout.install()
    (checkout.folder / "witness").touch()
    monkeypatch.setattr(sys, "version_info", (3, 10 if sys.version_info[1] != 10 else 11, 1))
    assert not checkout.is_ready()
    checkout.install()
    assert checkout.is_ready()
    assert not (checkout.folder / "witness").exists()


def test_moved_checkout_is_not_taken_for_ready(checkout):
    checkout.install()
    moved = checkout.root / "moved"
    checkout.repository.rename(moved)
    assert not bootstrap.is_ready(moved / ".venv", bootstrap.expected_mark(moved))


def test_environment_whose_python_is_gone_is_made_anew(checkout):
    checkout.install()
    bootstrap.program_path(checkout.folder, "python").unlink()
    assert not checkout.is_ready()
    checkout.install()
    assert checkout.is_ready()


def test_failure_says_why_and_where_the_output_is_and_the_next_try_starts_from_nothing(checkout):
    checkout.plan(
        code=1, output="ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    )
    with pytest.raises(SetupError, match="the disk is full") as caught:
        checkout.install()
    log = checkout.folder / installation.LOG
    assert str(log) in str(caught.value)
    assert "[Errno 28]" in log.read_text(encoding="utf-8")
    assert not checkout.is_ready()
    (checkout.folder / "half an installation").mkdir()
    checkout.plan()
    checkout.install()
    assert checkout.is_ready()
    assert not (checkout.folder / "half an installation").exists()


def test_pip_that_installs_no_program_is_a_failure(checkout, monkeypatch):
    monkeypatch.setattr(Checkout, "_pip", lambda *_: [sys.executable, "-c", ""])
    with pytest.raises(SetupError, match="is missing"):
        checkout.install()
    assert not checkout.is_ready()


@POSIX_ONLY
def test_killed_set_up_is_recognised_and_repaired_only_after_its_pip_has_ended(checkout):
    checkout.plan(seconds=1.0)
    first = checkout.process()
    wait_until(lambda: checkout.calls() == ["start ."])
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert not checkout.is_ready()
    (checkout.folder / "half an installation").mkdir()
    checkout.plan()
    checkout.install()
    assert checkout.calls() == ["start .", "end", "start .", "end"]
    assert checkout.is_ready()
    assert not (checkout.folder / "half an installation").exists()


def test_two_at_once_install_once(checkout):
    checkout.plan(seconds=0.5)
    processes = [checkout.process(), checkout.process()]
    assert [process.wait() for process in processes] == [0, 0]
    assert checkout.calls() == ["start .", "end"]
    assert checkout.is_ready()


def test_folder_of_somebody_else_is_left_alone(checkout):
    checkout.folder.mkdir()
    (checkout.folder / "pyvenv.cfg").write_text("mine", encoding="utf-8")
    with pytest.raises(SetupError, match="was not made by this script"):
        checkout.install()
    assert [path.name for path in checkout.folder.iterdir()] == ["pyvenv.cfg"]
    assert checkout.calls() == []


def test_read_only_checkout_has_its_environment_elsewhere(checkout, monkeypatch):
    """A read-only disk is played: the tests may run with rights that no mode of a folder stops."""
    plain_open = Path.open

    def refuse(path: Path, *arguments, **options):
        if path.parent == checkout.repository and path.name.endswith(".lock"):
            raise PermissionError(13, "Permission denied")
        return plain_open(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    elsewhere = checkout.root / "data" / "environment"
    assert checkout.install(folders=(checkout.folder, elsewhere)) == elsewhere
    assert bootstrap.is_ready(elsewhere, bootstrap.expected_mark(checkout.repository))
    assert not checkout.folder.exists()
    with pytest.raises(SetupError, match="no place to write"):
        checkout.install(folders=(checkout.folder,))


def test_places_of_the_environment_differ_between_checkouts(tmp_path, monkeypatch):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "data"))
    first, second = (bootstrap.environment_folders(tmp_path / name) for name in ("a", "b"))
    assert first[0] == tmp_path / "a" / ".venv"
    assert first[1] != second[1]
    if sys.platform != "darwin":
        assert first[1].is_relative_to(tmp_path / "data" / "genesis-segment")


def test_too_little_space_is_said_before_anything_is_made(checkout, monkeypatch):
    usage = shutil.disk_usage(checkout.root)._replace(free=300_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SetupError, match=r"has 0\.3 GB left, and the environment needs 2 GB"):
        checkout.install()
    assert not checkout.folder.exists()


def test_python_without_venv_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(installation.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name)
    with pytest.raises(SetupError, match=r"apt install python3\.\d+-venv"):
        installation.make_venv(tmp_path / "venv")


def test_unsuitable_python_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(bootstrap, "_find_python", lambda: None)
    with pytest.raises(SystemExit) as caught:
        bootstrap.ready_environment()
    message = str(caught.value)
    assert message.startswith("GenesisSegment needs Python 3.10 to 3.13, but this is Python 3.14 ")
    assert "\n" not in message


@POSIX_ONLY
def test_unsuitable_python_hands_over_to_a_suitable_one_that_starts(tmp_path, monkeypatch):
    for name, code in (("python3.13", 127), ("python3.12", 0), ("python3.11", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    started = []
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(sys, "argv", ["scripts/genesis-segment", "segment", "--sample"])
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments[:2]))
    bootstrap._require_suitable_python()
    python = str(tmp_path / "python3.12")
    assert started == [(python, [python, "scripts/genesis-segment", "segment", "--sample"])]


def test_variables_of_another_python_do_not_reach_the_program(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    variables = bootstrap.clean_variables()
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"} & set(variables)
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"


@POSIX_ONLY
def test_command_hands_over_arguments_and_exit_code_and_adds_nothing_to_the_output(checkout):
    scripts = checkout.repository / "scripts"
    scripts.mkdir()
    for name in ("bootstrap.py", "genesis-segment"):
        shutil.copy(SCRIPTS / name, scripts)
    checkout.install("dicom", "learn")
    command = [sys.executable, str(scripts / "genesis-segment"), "segment", "a file.nii.gz", "--json"]
    environment = {**os.environ, "PYTHONPATH": "elsewhere"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 7, done.stderr
    assert done.stdout == "segment a file.nii.gz --json\nPYTHONPATH= PYTHONHOME=\n"
    assert done.stderr == ""
