"""A model's file opened on a device: the fast paths are tried once, only where they are wanted, and as a stage."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import Cancelled, ResourceError
from GenesisSegmentLib.core.jobs import Job, Progress
from GenesisSegmentLib.engine import open_model
from GenesisSegmentLib.engine.inference import selftest
from GenesisSegmentLib.engine.inference.look import LEAST_DICE
from GenesisSegmentLib.engine.inference.spec import RunOptions, RunResult
from GenesisSegmentLib.engine.inference.verdicts import VerdictFile
from GenesisSegmentLib.engine.models.catalogue import ModelFacts, Preprocessing
from GenesisSegmentLib.engine.models.store import ResolvedModel
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.phantom import phantom_ct, phantom_labels
from inference_builders import LIVER, SPLEEN, a_body, a_volume, dice, grid

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


def test_the_starter_says_where_an_organ_of_the_phantom_is() -> None:
    labels, _ = phantom_labels(4.0)
    seen = []
    finder = open_model.StarterFinder(Job())
    assert SPLEEN in finder.offered
    for _again in range(2):  # it is opened once
        found = finder.find(phantom_ct(4.0), (SPLEEN,), seen.append)
        assert found.classes == (SPLEEN,)
        assert dice(found.mask(SPLEEN), labels == SPLEEN) > LEAST_DICE
    assert 0 <= min(seen) < max(seen) <= 1


def test_a_cancelled_look_ends_and_the_next_one_works() -> None:
    job = Job()
    finder = open_model.StarterFinder(job)
    with pytest.raises(Cancelled):
        finder.find(phantom_ct(4.0), (SPLEEN,), lambda share: job.cancel())
    with pytest.raises(Cancelled):
        finder.find(phantom_ct(4.0), (SPLEEN,), lambda share: pytest.fail("it began"))
    job.renew()
    assert finder.find(phantom_ct(4.0), (SPLEEN,), lambda share: None).present() == (SPLEEN,)


def test_a_starter_without_its_packages_is_an_error_that_says_so(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ResourceError, match="onnxruntime"):
        open_model.StarterFinder(Job()).find(phantom_ct(6.0), (SPLEEN,), lambda share: None)


@pytest.mark.parametrize(("window", "has_finder"), [((32, 32, 32), True), (None, False)])
def test_models_with_a_window_look_first(monkeypatch, window, has_finder) -> None:
    looks = []
    monkeypatch.setattr(open_model, "StarterFinder", lambda job: looks.append(job))
    recipe = Preprocessing("RAS", (4.0, 4.0, 4.0), (-175.0, 250.0), window, 0.5)
    open_model.open_segmenter(replace(MODEL, facts=replace(MODEL.facts, preprocessing=recipe)), Job(), device="cpu")
    assert len(looks) == has_finder


def test_a_model_that_finds_nothing_where_the_starter_sees_the_organ_searches_everywhere() -> None:
    """All of it real but for the weights, which are random: the answer is doubted, and nothing is left out."""
    recipe = Preprocessing("RAS", (9.0, 9.0, 9.0), (-175.0, 250.0), (16, 16, 16), 0.5)
    model = replace(MODEL, facts=replace(MODEL.facts, preprocessing=recipe))
    found = {}
    for everywhere in (False, True):
        segmenter = open_model.open_segmenter(model, Job(), device="cpu")
        found[everywhere] = segmenter.segment(phantom_ct(9.0), RunOptions(classes=(SPLEEN,), everywhere=everywhere))
    assert found[False].is_everywhere
    assert found[False].windows > found[True].windows
    assert any(note.startswith("The whole CT was searched: ") for note in found[False].notes)
    np.testing.assert_array_equal(found[False].segmentation.bits, found[True].segmentation.bits)
