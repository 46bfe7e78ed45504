"""Stand-in for `slicer.packaging` (Slicer 5.12): checks are real, installations are only recorded in `calls`."""

from __future__ import annotations

import types
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

calls: list[tuple[str, dict[str, Any]]] = []
"""`(function, arguments)` of each installation that was asked for."""


def load_requirements(path):
    """Requirements of a file; comments and pip options are skipped."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def _as_list(requirements) -> list[Requirement]:
    if isinstance(requirements, str):
        requirements = [requirements] if ";" in requirements else requirements.split()
    if isinstance(requirements, Requirement):
        requirements = [requirements]
    return [each if isinstance(each, Requirement) else Requirement(each) for each in requirements]


def pip_check(req, _seen=None):
    """Whether the requirements are met in this environment; extras are not followed here."""
    for each in _as_list(req):
        if each.marker is not None and not each.marker.evaluate():
            continue
        try:
            if metadata.version(each.name) not in each.specifier:
                return False
        except metadata.PackageNotFoundError:
            return False
    return True


def pip_ensure(
    requirements, constraints=None, skip_packages=None, prompt_install=True, prompt_restart=True, requester=None,
    skip_in_testing=True, show_progress=True,
):  # fmt: skip
    """Record what would be installed; nothing where all is there, as in Slicer."""
    import slicer

    missing = [str(each) for each in _as_list(requirements) if not pip_check(each)]
    if missing and not (skip_in_testing and slicer.app.testingEnabled()):
        calls.append(("pip_ensure", {"missing": missing, "constraints": constraints, "requester": requester}))


def pip_install(
    requirements, constraints=None, no_deps_requirements=None, skip_packages=None, blocking=True, show_progress=True,
    requester=None, parent=None, logCallback=None, completedCallback=None,
):  # fmt: skip
    """Record the request."""
    calls.append(("pip_install", {"requirements": requirements, "constraints": constraints, "requester": requester}))


def pip_uninstall(requirements, **_):
    """Record the request."""
    calls.append(("pip_uninstall", {"requirements": requirements}))


def isPipInstallInProgress():
    """Never on the bench."""
    return False


def module() -> types.ModuleType:
    """The module `slicer.packaging`."""
    packaging = types.ModuleType("slicer.packaging", __doc__)
    for each in (load_requirements, pip_check, pip_ensure, pip_install, pip_uninstall, isPipInstallInProgress):
        setattr(packaging, each.__name__, each)
    return packaging
