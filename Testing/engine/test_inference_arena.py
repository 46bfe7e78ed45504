"""Memory that one window frees is there for the next, and the system gets it back in the end."""

from __future__ import annotations

import platform
import sys

import numpy as np
import psutil
import pytest

from GenesisSegmentLib.engine.inference import arena
from GenesisSegmentLib.engine.inference.arena import kept_memory

MEGABYTES = 64
on_glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory"
)


def page_faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def faults_of_a_window() -> int:
    before = page_faults()
    np.ones(MEGABYTES * 2**20, dtype=np.uint8)
    return page_faults() - before


@on_glibc
def test_the_second_window_takes_the_memory_of_the_first() -> None:
    with kept_memory():
        first = faults_of_a_window()
        later = [faults_of_a_window() for _ in range(3)]
    assert first > 20 * max(later)  # a page is cleared for every 4 KB, or for 2 MB with huge pages
    assert first > 10


@on_glibc
def test_the_system_gets_it_back_also_after_a_fault() -> None:
    memory, held = psutil.Process().memory_info, []
    before = memory().rss

    def fail() -> None:
        faults_of_a_window()
        held.append(memory().rss)
        raise ArithmeticError

    with pytest.raises(ArithmeticError), kept_memory():
        fail()
    assert held[0] - before > MEGABYTES * 2**20 / 2
    assert memory().rss - before < MEGABYTES * 2**20 / 4


@on_glibc
def test_where_the_library_knows_no_such_thing_nothing_happens(monkeypatch) -> None:
    monkeypatch.setattr(arena, "_glibc", lambda: None)
    with kept_memory():
        assert all(faults_of_a_window() > 10 for _ in range(3))
