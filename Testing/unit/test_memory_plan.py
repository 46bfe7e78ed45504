"""The ladder of the memory plan: each rung is taken when the one above does not fit, and is said."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.errors import ResourceError
from GenesisSegmentLib.core.memory_plan import GIB, MemoryNeed, plan_memory

NEED = MemoryNeed(network=4 * GIB, ring=2 * GIB, host=1 * GIB)


def needed(bytes_used: float) -> int:
    """Free memory of which the plan may use as much: it leaves a reserve of 15 %."""
    return int(bytes_used / 0.85) + 1024


SHORT = 64 * 1024**2
LADDER = [
    # device, free GPU, free host -> device, ring, half, words of the notes
    ("cuda:0", needed(6 * GIB) - SHORT, needed(9 * GIB), ("cuda:0", "cuda:0", True), ("half precision",)),
    ("cuda:0", needed(5 * GIB) - SHORT, needed(9 * GIB), ("cuda:0", "cpu", False), ("main memory",)),
    ("cuda:0", needed(4 * GIB) - SHORT, needed(9 * GIB), ("cpu", "cpu", False), ("goes on the CPU",)),
    ("cuda:0", needed(6 * GIB), needed(1 * GIB), ("cuda:0", "cuda:0", False), ()),
    ("cuda:0", needed(5 * GIB), needed(1 * GIB), ("cuda:0", "cuda:0", True), ("half precision",)),
    ("cuda:0", needed(4 * GIB), needed(3 * GIB), ("cuda:0", "cpu", False), ("main memory",)),
    ("cuda:0", needed(3 * GIB), needed(7 * GIB), ("cpu", "cpu", False), ("goes on the CPU",)),
    ("cuda:0", needed(3 * GIB), needed(6 * GIB), ("cpu", "cpu", True), ("goes on the CPU", "half precision")),
    ("cpu", 0, needed(7 * GIB), ("cpu", "cpu", False), ()),
    ("cpu", 0, needed(6 * GIB), ("cpu", "cpu", True), ("half precision",)),
]


@pytest.mark.parametrize(("device", "gpu", "host", "expected", "words"), LADDER)
def test_the_first_rung_that_fits_is_taken(device, gpu, host, expected, words) -> None:
    plan = plan_memory(NEED, device, gpu, host)
    assert (plan.device, plan.ring_device, plan.is_half) == expected
    assert len(plan.notes) == len(words)
    for note, word in zip(plan.notes, words, strict=True):
        assert word in note


def test_a_reserve_of_the_gpu_is_left() -> None:
    plan = plan_memory(NEED, "cuda:0", 6 * GIB, needed(1 * GIB))  # exactly what the first rung takes
    assert plan.is_half


def test_a_reserve_of_the_main_memory_is_left() -> None:
    with pytest.raises(ResourceError):
        plan_memory(NEED, "cuda:0", needed(6 * GIB), 1 * GIB)


@pytest.mark.parametrize(("gpu", "host"), [(4, 3), (6, 1), (0, 6)])
def test_a_little_less_main_memory_than_a_rung_takes_is_too_little(gpu, host) -> None:
    plan_memory(NEED, "cuda:0", needed(gpu * GIB), needed(host * GIB))
    with pytest.raises(ResourceError):
        plan_memory(NEED, "cuda:0", needed(gpu * GIB), needed(host * GIB) - SHORT)


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_run_that_fits_nowhere_is_refused_with_what_it_needs(device) -> None:
    with pytest.raises(ResourceError, match=r"needs about 7\.1 GB of free main memory; 5\.0 GB are free") as caught:
        plan_memory(NEED, device, 3 * GIB, 5 * GIB)
    assert caught.value.remedy


def test_what_the_refusal_asks_for_is_enough() -> None:
    plan = plan_memory(NEED, "cpu", 0, int(7.06 * GIB))
    assert plan.is_half
