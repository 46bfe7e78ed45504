"""Which packages the engine needs inside Slicer, what of them is there, and what may be installed.

Everything is read from the metadata of installed packages: nothing is imported, nothing is downloaded. The ranges come
from ``Resources/requirements.txt`` (what pip may install) and ``Resources/constraints.txt`` (what belongs to Slicer or
to its PyTorch extension, and is never installed nor replaced by pip from here); both are made from ``pyproject.toml``
by ``scripts/update_requirements``.
"""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from .i18n import _
from .resources import resource
from .versions import is_at_least, normalized, satisfies, split_requirement
from .workflow.ports import Package, SetupReport

Find = Callable[[str], "str | None"]
"""The installed version of a package, or None."""

KEPT = ("numpy", "scipy", "SimpleITK", "torch", "torchvision", "pydicom", "highdicom", "requests", "packaging", "pip")
"""What Slicer and other extensions rely upon: if it is installed, it stays at exactly its version."""
_OF_SLICER = ("numpy", "scipy", "SimpleITK")
_TORCH = "torch"
_GPU_TWIN = "onnxruntime-gpu"
_DISK_GB = {"onnx": 1.0, "torch": 15.0, "learn": 15.0}
_TORCH_MB = 100 if sys.platform == "darwin" else 3000


@dataclass(frozen=True)
class _Needed:
    """``needed_for``: "engine" (always), "onnx", "torch" or "learn". Megabytes with all that comes along."""

    name: str
    needed_for: str
    licence: str
    download_mb: int


_NEEDED = (
    _Needed("numpy", "engine", "BSD-3-Clause", 20),
    _Needed("scipy", "engine", "BSD-3-Clause", 40),
    _Needed("SimpleITK", "engine", "Apache-2.0", 55),
    _Needed("connected-components-3d", "engine", "LGPL-3.0-or-later", 5),
    _Needed("filelock", "engine", "MIT", 1),
    _Needed("jsonschema", "engine", "MIT", 1),
    _Needed("numba", "engine", "BSD-2-Clause", 64),
    _Needed("psutil", "engine", "BSD-3-Clause", 1),
    _Needed("requests", "engine", "Apache-2.0", 1),
    _Needed("onnxruntime", "onnx", "MIT", 25),
    _Needed(_TORCH, "torch", "BSD-3-Clause", _TORCH_MB),
    _Needed("monai", "torch", "Apache-2.0", 2),
    _Needed("einops", "torch", "MIT", 1),
    _Needed("SQLAlchemy", "learn", "MIT", 4),
    _Needed("alembic", "learn", "MIT", 1),
    _Needed("lightning-fabric", "learn", "Apache-2.0", 4),
    _Needed("onnx", "learn", "Apache-2.0", 18),
    _Needed("tensorboardX", "learn", "MIT", 1),
)
_OF_ROAD = {
    "onnx": ("engine", "onnx"),
    "torch": ("engine", "torch"),
    "learn": ("engine", "onnx", "torch", "learn"),
}


@dataclass(frozen=True)
class InstallPlan:
    """What an installation does. ``pip`` are requirements for pip, to be installed under :func:`constraints_text`.

    ``torch`` is the version specifier for the PyTorch extension, or None where torch is not to be installed. It comes
    first: the constraints then hold its version.
    """

    pip: tuple[str, ...]
    torch: str | None


def installed_version(name: str) -> str | None:
    """The version in the metadata of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check(road: str, find: Find = installed_version, free_bytes: int | None = None) -> SetupReport:
    """What the road ``onnx``, ``torch`` or ``learn`` needs, and what of it is there.

    ``free_bytes`` is the free space where packages are installed; it is measured where it is not given.
    """
    packages = tuple(_package(needed, find) for needed in _NEEDED if needed.needed_for in _OF_ROAD[road])
    free = (free_bytes if free_bytes is not None else _free_bytes()) / 1e9
    return SetupReport(
        packages=packages,
        free_disk_gb=free,
        obstacles=_obstacles(road, packages, free, find),
        warnings=_warnings(find),
    )


def plan(report: SetupReport) -> InstallPlan:
    """What to install for a report: only what is missing, and never what belongs to Slicer."""
    missing = {split_requirement(package.requirement)[0]: package for package in report.missing}
    torch = missing.pop(_TORCH, None)
    specifier = split_requirement(torch.requirement)[1] if torch and torch.installed is None else None
    pip = (p.requirement for name, p in missing.items() if name not in _OF_SLICER and not _is_kept(name, p))
    return InstallPlan(tuple(pip), specifier)


def _is_kept(name: str, package: Package) -> bool:
    return name in KEPT and package.installed is not None


def constraints_text(find: Find = installed_version) -> str:
    """The constraints file for pip: what Slicer has stays exactly as it is, the rest keeps to the tested ranges.

    To be written after torch was installed.
    """
    pins = [f"{name}=={version}" for name in KEPT if (version := find(name)) is not None]
    pinned = {normalized(pin.split("==")[0]) for pin in pins}
    ranges = [f"{name}{specifier}" for name, specifier in _ranges().items() if normalized(name) not in pinned]
    return "".join(f"{line}\n" for line in (*pins, *ranges))


def requirement_files(dependencies: Iterable[str]) -> dict[str, str]:
    """The two files of ``Resources``, by name, from the dependencies of ``pyproject.toml``."""
    head = "# Made from pyproject.toml by scripts/update_requirements: do not edit.\n"
    ranges = dict(map(split_requirement, dependencies))
    specifiers = {normalized(name): specifier for name, specifier in ranges.items()}
    lines: dict[str, list[str]] = {"requirements.txt": [], "constraints.txt": []}
    for needed in sorted(_NEEDED, key=lambda needed: needed.name.lower()):
        file = "constraints.txt" if needed.name in (*_OF_SLICER, _TORCH) else "requirements.txt"
        lines[file].append(f"{needed.name}{specifiers[normalized(needed.name)]}\n")
    return {name: head + "".join(content) for name, content in lines.items()}


def _ranges() -> dict[str, str]:
    """Version specifiers by package, of both files."""
    texts = (resource(name).read_text(encoding="utf-8") for name in ("requirements.txt", "constraints.txt"))
    lines = (line.strip() for text in texts for line in text.splitlines())
    return dict(split_requirement(line) for line in lines if line and not line.startswith("#"))


def _package(needed: _Needed, find: Find) -> Package:
    specifier = _ranges()[needed.name]
    version = find(needed.name)
    if version is None and needed.name == "onnxruntime":
        version = find(_GPU_TWIN)
    is_good = version is not None and satisfies(version, specifier)
    size = 0 if is_good else needed.download_mb
    return Package(f"{needed.name}{specifier}", _reason(needed.name), version, is_good, size, needed.licence)


def _obstacles(road: str, packages: tuple[Package, ...], free_gb: float, find: Find) -> tuple[str, ...]:
    """Why the set-up cannot be finished by installing, with what to do instead."""
    found = []
    unfit = {split_requirement(p.requirement)[0]: p for p in packages if not p.is_good}
    for name, package in unfit.items():
        if name != _TORCH and (name in _OF_SLICER or _is_kept(name, package)):
            text = _("This Slicer has no {name} that fits ({requirement} is needed). Use a newer Slicer.")
            found.append(text.format(name=name, requirement=package.requirement))
    torch = unfit.get(_TORCH)
    if torch is not None and torch.installed is not None:
        found.append(_torch_obstacle(torch.installed, find("numpy")))
    needed_gb = _DISK_GB[road]
    if unfit and free_gb < needed_gb:
        text = _("The disk of Slicer has {free} GB free; the set-up needs {needed} GB. Free some space first.")
        found.append(text.format(free=f"{free_gb:.1f}", needed=f"{needed_gb:.0f}"))
    return tuple(found)


def _torch_obstacle(torch: str, numpy: str | None) -> str:
    """Torch is there but does not fit: other extensions may need it as it is, so it is not replaced from here."""
    if numpy is not None and is_at_least(numpy, "2") and not is_at_least(torch, "2.3"):
        text = _("PyTorch {torch} does not work with NumPy {numpy}. Use the starter, which needs no PyTorch.")
        return text.format(torch=torch, numpy=numpy)
    text = _(
        "PyTorch {torch} is installed, but {requirement} is needed. Install another version with the module PyTorch "
        "Util of Slicer, or use the starter, which needs no PyTorch."
    )
    return text.format(torch=torch, requirement=_ranges()[_TORCH])


def _warnings(find: Find) -> tuple[str, ...]:
    if find("onnxruntime") is None or find(_GPU_TWIN) is None:
        return ()
    text = _(
        "Both onnxruntime and onnxruntime-gpu are installed. They overwrite each other's files, so that the graphics "
        "card may not be used: uninstall both, then install one of them."
    )
    return (text,)


def _free_bytes() -> int:
    return shutil.disk_usage(Path(sysconfig.get_path("purelib"))).free


def _reason(name: str) -> str:
    """What a package is for, in the person's words."""
    return {
        "numpy": _("Arrays; part of Slicer."),
        "scipy": _("Smoothing and measuring; part of Slicer."),
        "SimpleITK": _("Bringing the result to the CT's grid; part of Slicer."),
        "connected-components-3d": _("Finding connected pieces."),
        "filelock": _("Keeping two runs out of each other's way."),
        "jsonschema": _("Checking the list of models."),
        "numba": _("Previews while you draw prompts."),
        "psutil": _("Measuring free memory."),
        "requests": _("Downloading models, if you ask for it."),
        "onnxruntime": _("Running the starter model."),
        _TORCH: _("Running the large models; installed by the extension PyTorch."),
        "monai": _("The networks of the large models."),
        "einops": _("A part of the transformer models."),
        "SQLAlchemy": _("The database of accepted cases."),
        "alembic": _("Bringing that database up to date."),
        "lightning-fabric": _("Learning on processors and graphics cards alike."),
        "onnx": _("Writing a learned model."),
        "tensorboardX": _("Recording the curves of a round."),
    }[name]
