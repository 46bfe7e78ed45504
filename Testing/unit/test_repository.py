"""What the repository holds, and that its files agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import bootstrap

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    *("GenesisSegment", "Resources", "Testing", "scripts"),
    *("CMakeLists.txt", "README.md", "LICENSE", "CHANGELOG.md", "pyproject.toml", "constraints.txt"),
}
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
}
LARGEST_FILE, LARGEST_MODEL = 6_000_000, 10_000_000
LONGEST_MODULE = 450
MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:root|home/\w+|Users/\w+|work/\w+)/|\b[A-Z]:\\+Users")
REGISTRY = re.compile(r"pypi\.(?:org|python)|pythonhosted\.org|registry\.npmjs|deb\.debian|download\.pytorch")


def tracked_files() -> list[Path]:
    """Files that git has or would add, relative to the top."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy of the sources is not a git checkout")
    files = (Path(os.fsdecode(name)) for name in done.stdout.split(b"\0") if name)
    return [file for file in files if (ROOT / file).is_file()]


def texts() -> dict[Path, str]:
    """Content of every tracked text file."""
    found = {}
    for file in tracked_files():
        content = (ROOT / file).read_bytes()
        if b"\0" not in content[:8192]:
            found[file] = content.decode("utf-8")
    return found


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file}:{number}: {line.strip()[:100]}"
        for file, text in texts().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def constraints(environment: dict[str, str]) -> dict[str, SpecifierSet]:
    """The lines of constraints.txt that hold in ``environment``, by package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins: dict[str, SpecifierSet] = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in pins, f"two lines for {requirement.name} in {environment}"
            pins[requirement.name] = requirement.specifier
    return pins


def test_top_level_holds_what_the_design_names_and_nothing_else():
    visible = {file.parts[0] for file in tracked_files() if not file.parts[0].startswith(".")}
    assert visible == TOP_LEVEL


def test_no_file_is_large():
    for file in tracked_files():
        limit = LARGEST_MODEL if file.parts[:2] == ("Resources", "Models") else LARGEST_FILE
        assert (ROOT / file).stat().st_size <= limit, file


def test_no_module_is_too_long_to_hold_in_mind():
    long = {str(file): text.count("\n") for file, text in texts().items() if file.suffix == ".py"}
    assert {file: lines for file, lines in long.items() if lines > LONGEST_MODULE} == {}


def test_no_path_of_a_machine_and_no_host_of_a_registry_is_written_down():
    assert lines_with(MACHINE_PATH) == []
    assert lines_with(REGISTRY) == []


@pytest.mark.parametrize(
    "line",
    ["see /" + "root/venv", "'/" + "home/anna/scan.nii'", "open('/" + "Users/anna/x')", "C:" + "\\Users\\anna"],
)
def test_path_of_a_machine_is_recognised(line):
    assert MACHINE_PATH.search(line)


def test_cmake_names_every_file_of_the_module():
    command = [sys.executable, str(ROOT / "scripts" / "update_cmake_files"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_homepage_is_the_same_everywhere():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert f'set(EXTENSION_HOMEPAGE "{project()["urls"]["Homepage"]}")' in cmake


def test_entry_points_can_be_started():
    for file in ("scripts/genesis-segment", "scripts/test", "scripts/update_cmake_files", ".ci/run"):
        assert (ROOT / file).read_bytes().startswith(b"#!/usr/bin/env "), file
        if os.name != "nt":
            assert os.access(ROOT / file, os.X_OK), file


def test_continuous_integration_runs_the_test_command_of_the_readme():
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert commands[-1] == "exec scripts/test"
    assert "scripts/test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_versions_are_the_same_everywhere():
    supported = SpecifierSet(project()["requires-python"])
    assert [p for p in (f"3.{minor}" for minor in range(30)) if p in supported] == list(PYTHONS)
    assert [".".join(map(str, version)) for version in (bootstrap.OLDEST, bootstrap.NEWEST)] == [
        PYTHONS[0],
        PYTHONS[-1],
    ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_constraints_name_one_allowed_version_of_every_dependency(python, system):
    environment = {
        **SYSTEMS[system],
        "python_version": python,
        "python_full_version": f"{python}.4",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    pins = constraints(environment)
    assert all(re.fullmatch(r"==[\w.]+", str(specifier)) for specifier in pins.values())
    extras = project()["optional-dependencies"]
    for line in (*project()["dependencies"], *extras["dicom"], *extras["test"], *extras["train"], *extras["learn"]):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(environment):
            assert wanted.name.lower() in pins, line
            assert str(pins[wanted.name.lower()]).removeprefix("==") in wanted.specifier, line


def test_torch_2_9_is_never_allowed():
    (torch,) = (Requirement(line) for line in project()["dependencies"] if Requirement(line).name == "torch")
    assert not [version for version in ("2.9.0", "2.9.1", "2.9.1+cpu", "2.7.1") if version in torch.specifier]
    assert "2.13.0+cpu" in torch.specifier
