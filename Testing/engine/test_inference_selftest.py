"""A fast path is on only if it gives the masks of the plain network on this device, and pays."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.engine.inference import selftest
from GenesisSegmentLib.engine.inference.selftest import (
    Trial,
    fast_paths,
    judge,
    known_fault,
    lowest_dice,
    obstacle,
    sample_window,
    try_paths,
)
from GenesisSegmentLib.engine.inference.verdicts import PathVerdict, VerdictFile, passed
from GenesisSegmentLib.engine.networks import build


@pytest.fixture(autouse=True)
def small_and_fast(monkeypatch) -> None:
    """A window of 16 voxels; every path pays, whatever else this machine is doing."""
    monkeypatch.setattr(selftest, "_SIDE", {"cpu": 16})
    monkeypatch.setattr(selftest, "LEAST_SPEEDUP", 0.0)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    network = build("starter", classes=6, filters=16, blocks_down=(1, 1)).eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(sample_window(16))[None, None])
        assert 0.05 < float((logits > 0).double().mean()) < 0.95  # there is something to compare
    return network


@pytest.fixture
def file(tmp_path) -> VerdictFile:
    return VerdictFile(tmp_path / "home" / "fast_paths.json")


def by_name(verdicts) -> dict[str, PathVerdict]:
    return {verdict.name: verdict for verdict in verdicts}


def test_a_path_that_is_equal_to_rounding_is_on(network) -> None:
    verdict = by_name(try_paths(network, "cpu"))["channels_last"]
    assert verdict.is_on
    assert verdict.agreement >= 0.999
    assert verdict.speedup > 0
    assert "masks agree" in verdict.why


def test_the_network_is_left_plain(network) -> None:
    network.train()
    try_paths(network, "cpu")
    assert not network.training
    assert all(weight.is_contiguous() for weight in network.parameters())


def corrupted(monkeypatch, path: str, change) -> list[frozenset[str]]:
    """Lets ``path`` give wrong logits; returns the ways that were run."""
    real, ways = selftest.forward, []

    def forward(network, image, channels, paths):
        ways.append(paths)
        logits = real(network, image, channels, paths)
        return change(logits) if path in paths else logits

    monkeypatch.setattr(selftest, "forward", forward)
    return ways


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda x: x + 0.01 * x.abs().max(), "logits differ"),
        (lambda x: x.roll(1, dims=2), "logits differ"),
        (lambda x: x * float("nan"), "not finite"),
    ],
)
def test_a_path_with_wrong_logits_is_off(network, monkeypatch, change, why) -> None:
    ways = corrupted(monkeypatch, "channels_last", change)
    verdicts = by_name(try_paths(network, "cpu"))
    assert not verdicts["channels_last"].is_on
    assert why in verdicts["channels_last"].why
    assert frozenset({"bf16"}) in ways  # the next path is tried without it
    assert frozenset({"bf16", "channels_last"}) not in ways


def test_bfloat16_is_off_unless_its_masks_agree(network, monkeypatch) -> None:
    corrupted(monkeypatch, "bf16", lambda x: x.roll(1, dims=2))
    verdict = by_name(try_paths(network, "cpu"))["bf16"]
    assert not verdict.is_on
    assert "masks differ" in verdict.why


def test_a_path_is_tried_on_top_of_those_that_passed(network, monkeypatch) -> None:
    ways = corrupted(monkeypatch, "none", lambda x: x)
    try_paths(network, "cpu")
    assert frozenset({"bf16", "channels_last"}) in ways


def test_a_path_that_fails_is_off_and_tried_again_next_time(network, monkeypatch, file) -> None:
    def fail(logits):
        raise RuntimeError("not enough memory\nand a long trace")

    corrupted(monkeypatch, "bf16", fail)
    verdict = by_name(fast_paths(network, "starter", "cpu", file))["bf16"]
    assert not verdict.is_on
    assert verdict.why.endswith("not enough memory")
    assert file.all() == {}


def test_the_test_can_be_cancelled(network) -> None:
    told: list[float] = []

    def stop(share: float) -> None:
        told.append(share)
        if len(told) == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        try_paths(network, "cpu", stop)
    assert len(told) == 5
    assert all(weight.is_contiguous() for weight in network.parameters())


def test_progress_is_told_before_every_forward_and_only_where_one_runs(network, monkeypatch, file) -> None:
    ways, told = corrupted(monkeypatch, "none", lambda x: x), []
    fast_paths(network, "starter", "cpu", file, told.append)
    assert len(told) == len(ways)
    assert told[0] == 0
    assert told == sorted(set(told))
    assert 0.5 < told[-1] < 1
    told.clear()
    fast_paths(network, "starter", "cpu", file, told.append)
    assert told == []


def trial(values) -> Trial:
    return Trial(np.asarray(values, dtype=np.float32).reshape(1, 10, 10, 1), 1.0)


LOGITS = np.linspace(-1.0, 1.0, 100)
JUDGED = [
    ("channels_last", LOGITS, LOGITS, 1.5, True),
    ("channels_last", LOGITS, LOGITS + 5e-4, 1.5, True),
    ("channels_last", LOGITS, LOGITS + 2e-3, 1.5, False),  # over 1e-3 of the largest
    ("channels_last", LOGITS, LOGITS, 1.01, False),  # does not pay
    ("channels_last", LOGITS, np.full(100, np.nan), 1.5, False),
    ("channels_last", -np.ones(100), -np.ones(100), 1.5, True),  # nothing found: the logits decide
    ("bf16", -np.ones(100), -np.ones(100), 1.5, False),  # nothing found: no evidence
    ("bf16", LOGITS, LOGITS + 5e-3, 1.5, True),  # same masks
    ("bf16", LOGITS, LOGITS + 0.05, 1.5, False),  # two voxels of fifty more
    ("bf16", LOGITS, LOGITS, 0.6, False),
]


@pytest.mark.parametrize(("name", "plain", "tried", "speedup", "is_on"), JUDGED)
def test_verdicts(monkeypatch, name, plain, tried, speedup, is_on) -> None:
    monkeypatch.setattr(selftest, "LEAST_SPEEDUP", 1.05)
    verdict = judge(name, trial(plain), trial(tried), speedup)
    assert verdict.is_on is is_on
    assert verdict.why
    assert verdict.speedup == speedup


def test_small_masks_say_nothing() -> None:
    one, other = np.full((2, 5, 5, 5), -1.0), np.full((2, 5, 5, 5), -1.0)
    one[0, :3, :3, :3] = 1  # 27 voxels, missed altogether
    assert lowest_dice(one, other) is None
    one[1], other[1] = 1, 1
    other[1, 0] = -1
    assert lowest_dice(one, other) == pytest.approx(2 * 100 / 225)


FAULTS = [
    ("channels_last", "2.8.0", None, False),
    ("channels_last", "2.9.0+cu128", 91002, True),
    ("channels_last", "2.9.1", None, True),
    ("bf16", "2.9.1", None, True),
    ("bf16", "2.10.0", 91002, True),
    ("channels_last", "2.10.0", 91002, False),
    ("bf16", "2.10.0", 91500, False),
    ("bf16", "2.8.0", 91002, False),
    ("bf16", "2.13.0+cpu", None, False),
    ("bf16", "3.0.0", 90000, True),
]


@pytest.mark.parametrize(("name", "version", "cudnn", "is_known"), FAULTS)
def test_pairs_of_libraries_that_are_known_to_be_wrong_are_recognised(name, version, cudnn, is_known) -> None:
    assert (known_fault(name, version, cudnn) is not None) is is_known


def test_a_known_fault_is_not_even_tried(network, monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1")
    ways = corrupted(monkeypatch, "none", lambda x: x)
    verdicts = try_paths(network, "cpu")
    assert ways == []
    assert passed(verdicts) == frozenset()
    assert all("2.9.1" in verdict.why for verdict in verdicts)


def test_bfloat16_needs_a_processor_that_has_it(monkeypatch) -> None:
    assert obstacle("bf16", "cpu") is None
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert "no fast bfloat16" in obstacle("bf16", "cpu")
    assert obstacle("channels_last", "cpu") is None


def test_verdicts_are_remembered(network, monkeypatch, file) -> None:
    ways = corrupted(monkeypatch, "none", lambda x: x)
    first = fast_paths(network, "starter", "cpu", file)
    ran = len(ways)
    assert ran > 0
    assert fast_paths(network, "starter", "cpu", VerdictFile(file._path)) == first
    assert len(ways) == ran
    assert list(file.all().values()) == [first]


@pytest.mark.parametrize("changed", ["model", "torch", "machine"])
def test_another_model_library_or_machine_is_tested_anew(network, monkeypatch, file, changed) -> None:
    fast_paths(network, "starter", "cpu", file)
    if changed == "torch":
        monkeypatch.setattr(torch, "__version__", "2.99.0")
    if changed == "machine":
        monkeypatch.setattr(selftest.platform, "node", lambda: "another")
    ways = corrupted(monkeypatch, "none", lambda x: x)
    fast_paths(network, "another" if changed == "model" else "starter", "cpu", file)
    assert ways
    assert len(file.all()) == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"key": [{"name": 1}]}', '{"key": 3}'])
def test_a_damaged_memory_is_written_anew(network, file, content) -> None:
    file._path.parent.mkdir(parents=True)
    file._path.write_text(content)
    verdicts = fast_paths(network, "starter", "cpu", file)
    assert list(file.all().values()) == [verdicts]
    json.loads(file._path.read_text())


def test_the_memory_lies_in_the_folder_of_the_person(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path))
    VerdictFile().remember("key", [PathVerdict("bf16", False, "why")])
    assert [path.name for path in tmp_path.iterdir()] == ["fast_paths.json"]


@pytest.mark.parametrize("side", [16, 48])
def test_the_test_window_shows_a_body(side) -> None:
    window = sample_window(side)
    assert window.shape == (side,) * 3
    assert window.dtype == np.float32
    assert window.min() == 0
    assert window.max() == 1
    assert 0.1 < np.mean((window > 0.4) & (window < 0.8)) < 0.9  # soft tissue
    np.testing.assert_array_equal(window, sample_window(side))
