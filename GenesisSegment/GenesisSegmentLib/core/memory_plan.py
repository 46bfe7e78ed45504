"""Plans the memory of a run before it starts, and degrades by a ladder instead of crashing."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import ResourceError
from .i18n import _

GIB = 1024**3
_RESERVE = 0.85
"""Share of the free memory that a run may plan with."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a run takes.

    ``network`` is the peak of one window on the device. ``ring`` are the planes of logits in fp32. ``host`` is what
    lives in main memory in any case: the model's input, the bit masks on both grids, the resampling.
    """

    network: int
    ring: int
    host: int


@dataclass(frozen=True)
class MemoryPlan:
    """Where the logits accumulate (``cuda:0``, ``cpu``), whether in half precision, and what was degraded."""

    device: str
    ring_device: str
    is_half: bool
    notes: tuple[str, ...] = ()


def plan_memory(need: MemoryNeed, device: str, free_device: int, free_host: int) -> MemoryPlan:
    """The first rung that fits: ring on the device, in half precision, on the host, then the whole run on the CPU.

    ``device`` is ``cpu`` or a GPU such as ``cuda:0``; ``free_device`` is ignored for the CPU. All figures in bytes.

    Raises:
        ResourceError: not even the last rung fits; says how much is needed.
    """
    host, gpu = free_host * _RESERVE, free_device * _RESERVE
    if device != "cpu":
        if need.network + need.ring <= gpu and need.host <= host:
            return MemoryPlan(device, device, False)
        if need.network + need.ring / 2 <= gpu and need.host <= host:
            note = _("Little free memory on {device}: logits are accumulated in half precision.").format(device=device)
            return MemoryPlan(device, device, True, (note,))
        if need.network <= gpu and need.host + need.ring <= host:
            note = _("Little free memory on {device}: logits are accumulated in main memory, which is slower.")
            return MemoryPlan(device, "cpu", False, (note.format(device=device),))
    moved = _("Too little free memory on {device}: the run goes on the CPU.")
    notes = () if device == "cpu" else (moved.format(device=device),)
    if need.host + need.network + need.ring <= host:
        return MemoryPlan("cpu", "cpu", False, notes)
    if need.host + need.network + need.ring / 2 <= host:
        half = _("Little free main memory: logits are accumulated in half precision.")
        return MemoryPlan("cpu", "cpu", True, (*notes, half))
    least = (need.host + need.network + need.ring / 2) / _RESERVE
    raise ResourceError(
        _("This CT needs about {needed} GB of free main memory; {free} GB are free.").format(
            needed=f"{least / GIB:.1f}", free=f"{free_host / GIB:.1f}"
        ),
        _("Close other programs, ask for fewer classes, crop the CT, or use a coarser model."),
    )
