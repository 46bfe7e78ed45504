"""The rows about prompts: which there are, what they are held against, and strokes of the size that they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.prompts import extent
from GenesisSegmentLib.engine.benchmark import QUICK, run
from GenesisSegmentLib.engine.benchmark import refining as measured
from GenesisSegmentLib.engine.refine.refiner import Refiner
from GenesisSegmentLib.engine.refine.regions import region_around

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("side", [64, 96])
def test_strokes_are_worked_on_in_a_region_of_their_size_and_change_something(side, monkeypatch):
    monkeypatch.setattr(measured, "_STROKES", 4)
    volume, draft = measured.organ_and_proposal()
    for stroke in measured.strokes_of(side, volume.geometry):
        region = region_around(extent(stroke, volume.geometry), volume.geometry)
        assert (region.side, region.is_native) == (side, True)
        assert not Refiner(volume).preview(draft, [stroke]).is_empty


def test_every_wait_has_a_row_with_its_limit_and_one_through_the_worker(monkeypatch):
    monkeypatch.setattr(measured, "_STROKES", 2)
    figures = run(replace(QUICK, scan_phantom_mm=6.0), Job(), only=["refining"])
    limits = {(f.metric, f.unit): f.limit for f in figures if f.limit is not None}
    assert limits["Prompt, preview, 64^3", "ms, 95 of 100"] == 30
    assert limits["Prompt, preview, 96^3", "ms, 95 of 100"] == 60
    assert limits["Propagate one class, whole CT, starter, features kept", "wall s, slowest"] == 1.5
    metrics = {f.metric for f in figures if f.ours is not None and f.ours > 0}
    for side in (64, 96):
        assert f"Prompt, preview, {side}^3, through the worker" in metrics
        assert f"Prompt, answer, {side}^3" in {f.metric for f in figures}
