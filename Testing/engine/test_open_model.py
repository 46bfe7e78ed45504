"""A model's file opened on a device: the fast paths are tried once, only where they are wanted, and as a stage."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import Cancelled
from GenesisSegmentLib.core.jobs import Job, Progress
from GenesisSegmentLib.engine import open_model
from GenesisSegmentLib.engine.inference import selftest
from GenesisSegmentLib.engine.inference.spec import RunOptions, RunResult
from GenesisSegmentLib.engine.inference.verdicts import VerdictFile
from GenesisSegmentLib.engine.models.catalogue import ModelFacts, Preprocessing
from GenesisSegmentLib.engine.models.store import ResolvedModel
from GenesisSegmentLib.engine.networks import build
from inference_builders import LIVER, SPLEEN, a_body, a_volume, grid

CHECKING = "checking fast paths"
CLASSES = (SPLEEN, LIVER)
MODEL = ResolvedModel(
    name="small",
    title="A small model",
    path=Path("small.pth"),
    sha256="0123",
    facts=ModelFacts(
        architecture="starter",
        options={},
        classes=CLASSES,
        offered=CLASSES,
        preprocessing=Preprocessing("RAS", (4.0, 4.0, 4.0), (-175.0, 250.0), None, None),
    ),
    licence=None,
)


@pytest.fixture(autouse=True)
def ways(monkeypatch, tmp_path) -> list[frozenset[str]]:
    """A small network with random weights in place of a file; the ways in which the self-test ran it."""
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path))
    monkeypatch.setattr(selftest, "_SIDE", {"cpu": 16})
    torch.manual_seed(0)
    network = build("starter", classes=2, filters=16, blocks_down=(1, 1)).eval()
    monkeypatch.setattr(open_model, "load_network", lambda model: deepcopy(network))
    real, ways = selftest.forward, []

    def forward(network, image, channels, paths):
        ways.append(paths)
        return real(network, image, channels, paths)

    monkeypatch.setattr(selftest, "forward", forward)
    return ways


def run(recipe: str, job: Job, segmenter=None) -> RunResult:
    geometry = grid((16, 16, 10), (4.0, 4.0, 5.0))
    segmenter = segmenter or open_model.open_segmenter(MODEL, job, device="cpu")
    return segmenter.segment(a_volume(a_body(geometry), geometry), RunOptions(recipe=recipe))


def stages(seen: list[Progress]) -> list[str]:
    return list(dict.fromkeys(progress.stage for progress in seen))


def test_the_published_recipe_tries_no_fast_path(ways) -> None:
    seen: list[Progress] = []
    run("published", Job(seen.append))
    assert ways == []
    assert CHECKING not in stages(seen)
    assert VerdictFile().all() == {}


def test_the_first_fast_run_tries_them_as_a_stage_and_remembers(ways) -> None:
    seen: list[Progress] = []
    first = run("fast", Job(seen.append))
    assert ways
    assert stages(seen) == ["preparing", CHECKING, "network", "cleaning", "restoring"]
    assert len([p for p in seen if p.stage == CHECKING]) == len(ways)
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert len(VerdictFile().all()) == 1
    ways.clear()
    seen.clear()
    again = run("fast", Job(seen.append))
    assert ways == []
    assert CHECKING not in stages(seen)
    np.testing.assert_array_equal(first.segmentation.bits, again.segmentation.bits)


def test_one_segmenter_may_run_both_recipes_in_any_order(ways) -> None:
    job = Job()
    segmenter = open_model.open_segmenter(MODEL, job, device="cpu")
    plain = run("published", job, segmenter).segmentation.bits
    assert ways == []
    run("fast", job, segmenter)
    assert ways
    np.testing.assert_array_equal(run("published", job, segmenter).segmentation.bits, plain)


def test_the_stage_can_be_cancelled_and_is_done_the_next_time(ways) -> None:
    job = Job()
    job.report_to(lambda progress: job.cancel() if progress.stage == CHECKING and len(ways) == 2 else None)
    with pytest.raises(Cancelled):
        run("fast", job)
    assert len(ways) == 3  # stopped in the next forward, before its first layer
    assert VerdictFile().all() == {}
    ways.clear()
    run("fast", Job())
    assert ways
    assert len(VerdictFile().all()) == 1
