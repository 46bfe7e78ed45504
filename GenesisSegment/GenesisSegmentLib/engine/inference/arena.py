"""Memory that a window frees stays with the process for the next one, which needs just as much.

By default the C library of Linux gives every large array back to the system, which then clears it page by page for the
next one: up to a fifth of the processor time of a window. Elsewhere nothing is changed.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
_USUAL_MMAPS, _USUAL_TRIM, _USUAL_THRESHOLD = 65536, 2**26, 2**25
"""What glibc arrives at by itself in a process that has used large arrays."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Keeps what is freed inside until the end, then gives it back to the system."""
    library = _glibc()
    if library is None:
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, _USUAL_MMAPS)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.mallopt(_MMAP_THRESHOLD, _USUAL_THRESHOLD)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
