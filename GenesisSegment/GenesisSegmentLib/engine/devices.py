"""The devices of this machine: what there is, how much memory is free, and which one a run takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.errors import ResourceError
from ..core.i18n import _

RuntimeName = Literal["torch", "onnx"]


@dataclass(frozen=True)
class Device:
    """A processor or GPU. ``name`` is what ``--device`` takes; memory in bytes."""

    name: str
    title: str
    free_bytes: int
    total_bytes: int


class ThisMachine:
    """Free memory of this machine (:class:`GenesisSegmentLib.engine.inference.segmenter.Machine`)."""

    def free_host(self) -> int:
        """Free main memory in bytes."""
        import psutil

        return int(psutil.virtual_memory().available)

    def free_device(self, device: str) -> int:
        """Free memory of a GPU in bytes; for the CPU, main memory."""
        if device == "cpu":
            return self.free_host()
        import torch

        return int(torch.cuda.mem_get_info(device)[0])


def list_devices() -> tuple[Device, ...]:
    """The CPU, then every GPU that torch can use. Imports torch."""
    import platform

    import psutil
    import torch

    memory = psutil.virtual_memory()
    title = f"{platform.machine()}, {psutil.cpu_count(logical=True)} threads"
    devices = [Device("cpu", title, int(memory.available), int(memory.total))]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        devices.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), int(free), int(total)))
    return tuple(devices)


def choose_device(wanted: str, runtime: RuntimeName) -> str:
    """The device for ``auto``, ``cpu`` or ``cuda:N``: for ``auto`` the first GPU, or the CPU where there is none.

    Raises:
        ResourceError: the asked device does not exist, or the name is not one.
    """
    if wanted == "cpu":
        return "cpu"
    gpus = _gpus(runtime)
    if wanted == "auto":
        return gpus[0] if gpus else "cpu"
    name = "cuda:0" if wanted == "cuda" else wanted
    if name in gpus:
        return name
    what = _("The GPU {name} was not found.") if name.startswith("cuda:") else _('"{name}" is not a device.')
    remedy = _("Choose from: {devices}. genesis-segment info says more.")
    raise ResourceError(what.format(name=name), remedy.format(devices=", ".join(("auto", "cpu", *gpus))))


def _gpus(runtime: RuntimeName) -> tuple[str, ...]:
    if runtime == "onnx":
        import onnxruntime

        return ("cuda:0",) if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else ()
    import torch

    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
