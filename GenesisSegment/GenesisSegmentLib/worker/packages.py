"""Which packages and devices there are, found without importing anything heavy that need not be."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
from dataclasses import dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

from .. import __version__
from ..core.i18n import _
from ..core.protocol import Ready, RuntimeName
from ..core.reports import DeviceInfo, Package

_NeededFor = Literal["engine", "onnx", "torch", "export"]


@dataclass(frozen=True)
class Requirement:
    """A package: what it is called in an index (first name: the usual one) and in an import, and the least version.

    ``excluded`` is a release series that must not be used.
    """

    names: tuple[str, ...]
    module: str
    least: str
    needed_for: _NeededFor
    excluded: str = ""


REQUIREMENTS = (
    Requirement(("numpy",), "numpy", "1.26", "engine"),
    Requirement(("scipy",), "scipy", "1.13", "engine"),
    Requirement(("SimpleITK",), "SimpleITK", "2.4", "engine"),
    Requirement(("connected-components-3d",), "cc3d", "3.20", "engine"),
    Requirement(("numba",), "numba", "0.61", "engine"),
    Requirement(("psutil",), "psutil", "5.9", "engine"),
    Requirement(("jsonschema",), "jsonschema", "4.20", "engine"),
    Requirement(("filelock",), "filelock", "3.12", "engine"),
    Requirement(("requests",), "requests", "2.31", "engine"),
    Requirement(("pydicom",), "pydicom", "3.0", "engine"),
    Requirement(("onnxruntime", "onnxruntime-gpu"), "onnxruntime", "1.20", "onnx"),
    Requirement(("torch",), "torch", "2.8", "torch", excluded="2.9"),
    Requirement(("monai",), "monai", "1.5", "torch"),
)


def ready(command_id: str) -> Ready:
    """The answer to :class:`..core.protocol.Hello`."""
    packages = tuple(examine(requirement) for requirement in REQUIREMENTS)
    gpus, problem = _gpus({p.name: p for p in packages})
    if problem:
        packages = tuple(replace(p, verdict="unfit", note=problem) if p.name == "torch" else p for p in packages)
    return Ready(
        id=command_id,
        version=__version__,
        python=platform.python_version(),
        pid=os.getpid(),
        runtimes=runtimes(packages),
        devices=(_processor(), *gpus),
        packages=packages,
    )


def runtimes(packages: tuple[Package, ...]) -> tuple[RuntimeName, ...]:
    """The runtimes for which nothing is missing."""
    bad = {p.needed_for for p in packages if p.verdict != "ok"}
    return () if "engine" in bad else tuple(name for name in ("onnx", "torch") if name not in bad)  # type: ignore[misc]


def examine(requirement: Requirement) -> Package:
    """Whether a package is there and new enough, from its metadata."""
    name, version = _installed(requirement.names)
    if version is None or find_spec(requirement.module) is None:
        return Package(
            name, None, requirement.needed_for, "missing", _("{package} is not installed.").format(package=name)
        )
    if requirement.excluded and _numbers(version)[:2] == _numbers(requirement.excluded):
        note = _("{package} {version} has faulty 3-D convolutions.").format(package=name, version=version)
        return Package(name, version, requirement.needed_for, "unfit", note)
    if _numbers(version) < _numbers(requirement.least):
        note = _("{package} {version} is too old; {least} or newer is needed.")
        note = note.format(package=name, version=version, least=requirement.least)
        return Package(name, version, requirement.needed_for, "unfit", note)
    return Package(name, version, requirement.needed_for, "ok")


def _installed(names: tuple[str, ...]) -> tuple[str, str | None]:
    for name in names:
        try:
            return name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return names[0], None


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _processor() -> DeviceInfo:
    title = f"{platform.machine()}, {os.cpu_count()} threads"
    if find_spec("psutil") is None:
        return DeviceInfo("cpu", title, 0, 0)
    import psutil

    memory = psutil.virtual_memory()
    return DeviceInfo("cpu", title, int(memory.available), int(memory.total))


def _gpus(packages: dict[str, Package]) -> tuple[tuple[DeviceInfo, ...], str]:
    """The GPUs, and what is wrong with torch where it cannot be imported. Imports torch only if it may see a GPU."""
    torch_version = packages["torch"].version or ""
    if not _has_driver():
        return (), ""
    if torch_version and not torch_version.endswith("+cpu"):
        try:
            return _gpus_of_torch(), ""
        except (ImportError, OSError, RuntimeError) as error:
            what = _("{package} {version} is installed but does not work: {reason}")
            return (), what.format(package="torch", version=torch_version, reason=str(error).splitlines()[0])
    if "onnxruntime-gpu" in packages:
        return (DeviceInfo("cuda:0", "NVIDIA GPU", 0, 0),), ""
    return (), ""


def _gpus_of_torch() -> tuple[DeviceInfo, ...]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(DeviceInfo(f"cuda:{index}", torch.cuda.get_device_name(index), int(free), int(total)))
    return tuple(found)


def _has_driver() -> bool:
    """Whether the library of the NVIDIA driver can be loaded."""
    name = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}.get(sys.platform)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
