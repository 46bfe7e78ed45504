"""What went wrong unexpectedly, in words: raw errors of libraries mapped to their causes."""

from __future__ import annotations

from ..core.i18n import _
from ..core.protocol import Failure

_CUDA = "CUDA error"
_OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")


def is_device_lost(error: Exception) -> bool:
    """Whether a GPU is in a state that only a new process leaves: after such an error every call fails."""
    return isinstance(error, RuntimeError) and _CUDA in str(error) and not _is_out_of_memory(error)


def explained(job: str, error: Exception, log: str) -> Failure:
    """The final event of a command that failed with an error that has no type of ours."""
    is_foreign = isinstance(error, ImportError) and not (error.name or "").startswith("GenesisSegmentLib")
    if isinstance(error, ModuleNotFoundError) and error.name and is_foreign:
        what = _("The Python package {package} is not installed.").format(package=error.name.partition(".")[0])
        return Failure(job, "setup", what, _("Run the set-up."), log)
    if is_foreign:
        what = _("A Python package is broken: {reason}").format(reason=_first(error))
        return Failure(job, "setup", what, _("Run the set-up again."), log)
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        remedy = _("Close other programs, ask for fewer classes, crop the CT, or use a coarser model.")
        return Failure(job, "resource", _("The memory ran out."), remedy, log)
    if is_device_lost(error):
        what = _("The GPU failed: {reason}").format(reason=_first(error))
        remedy = _(
            "The process starts anew by itself: try again, or choose the CPU. If it stays, update the GPU driver."
        )
        return Failure(job, "resource", what, remedy, log)
    what = _("Something unexpected went wrong ({kind}): {reason}").format(
        kind=type(error).__name__, reason=_first(error)
    )
    return Failure(job, "fault", what, _("Try again. If it happens again, report it together with the log."), log)


def _is_out_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
