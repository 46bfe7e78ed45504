"""What went wrong unexpectedly, in words: raw errors of libraries mapped to their causes."""

from __future__ import annotations

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
        what = f"The Python package {error.name.partition('.')[0]} is not installed."
        return Failure(job, "setup", what, "Run the set-up.", log)
    if is_foreign:
        return Failure(job, "setup", f"A Python package is broken: {_first(error)}", "Run the set-up again.", log)
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        remedy = "Close other programs, ask for fewer classes, crop the CT, or use a coarser model."
        return Failure(job, "resource", "The memory ran out.", remedy, log)
    if is_device_lost(error):
        what = f"The GPU failed: {_first(error)}"
        remedy = "The process starts anew by itself: try again, or choose the CPU. If it stays, update the GPU driver."
        return Failure(job, "resource", what, remedy, log)
    what = f"Something unexpected went wrong ({type(error).__name__}): {_first(error)}"
    return Failure(job, "fault", what, "Try again. If it happens again, report it together with the log.", log)


def _is_out_of_memory(error: Exception) -> bool:
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
