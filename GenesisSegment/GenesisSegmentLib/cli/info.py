"""``genesis-segment info``: versions, devices, free memory, and which fast paths are on."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib import metadata
from typing import Annotated, Any

import typer

from .. import __version__
from ..core.jobs import Job
from .consent import grid
from .console import print_json, print_note, print_out, run_cancellable

_PACKAGES = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "SimpleITK",
    "onnxruntime",
    "onnxruntime-gpu",
    "connected-components-3d",
    "pydicom",
    "highdicom",
)
_SAME_FILES = ("onnxruntime", "onnxruntime-gpu")
"""Two distributions of one package: whichever is installed last wins, file by file."""


def info(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
    """Show versions, devices, free memory, folders, and which fast paths passed their self-test on this machine."""
    job = Job()
    facts = run_cancellable(job, lambda: _facts(job))
    if as_json:
        print_json(facts)
        return
    gib = 1024**3
    devices = [
        f"{d['name']}: {d['title']}, {d['free_bytes'] / gib:.1f} of {d['total_bytes'] / gib:.1f} GB free"
        for d in facts["devices"]
    ]
    paths = [f"{p['name']} on {p['device']}: {'on' if p['is_on'] else 'off'}, {p['why']}" for p in facts["fast_paths"]]
    print_out(
        grid(
            {
                "GenesisSegment": facts["version"],
                "Python": f"{facts['python']} on {facts['system']}",
                "Packages": "\n".join(f"{k} {v or 'not installed'}" for k, v in facts["packages"].items()),
                "Devices": "\n".join(devices),
                "ONNX Runtime": ", ".join(facts["onnx_providers"]),
                "Fast paths": "\n".join(paths),
                "Models": "\n".join(f"{k}: {v}" for k, v in facts["models"].items()),
                "Data folder": facts["data_folder"],
            }
        )
    )
    for note in facts["notes"]:
        print_note(note)


def _facts(job: Job) -> dict[str, Any]:
    import onnxruntime

    from ..core.home import data_home
    from ..engine.devices import list_devices
    from ..engine.models.store import ModelStore
    from ..engine.open_model import verdicts_for

    store = ModelStore.of_this_person()
    devices = list_devices()
    starter = store.resolve("starter")
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [asdict(device) for device in devices],
        "onnx_providers": onnxruntime.get_available_providers(),
        "fast_paths": [
            {"device": device.name, **asdict(verdict)}
            for device in devices
            for verdict in verdicts_for(starter, device.name, job)
        ],
        "models": {entry.id: store.status(entry.id) for entry in store.catalogue},
        "data_folder": str(data_home()),
        "notes": _notes(),
    }


def _notes() -> list[str]:
    """What is wrong with the installation, and what to do."""
    if not all(_version(name) for name in _SAME_FILES):
        return []
    return [
        f"{' and '.join(_SAME_FILES)} are both installed and overwrite each other's files, so that ONNX Runtime may "
        f"not find the GPU. Run: pip uninstall {' '.join(_SAME_FILES)}; then: pip install {_SAME_FILES[1]}"
    ]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
