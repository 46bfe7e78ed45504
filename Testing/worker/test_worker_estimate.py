"""What the worker says a run would take is what the engine itself plans with."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from GenesisSegmentLib.core.protocol import Estimate
from GenesisSegmentLib.engine.inference.preprocess import input_frame, published_frame
from GenesisSegmentLib.engine.inference.segmenter import memory_need, published_need, run_window
from GenesisSegmentLib.worker import estimate as module
from inference_builders import COARSE, SPEC
from segmenter_builders import a_grid, abdomen

FRAMES = {"fast": input_frame, "published": published_frame}


@pytest.fixture(scope="module")
def ct():
    return abdomen(a_grid())


@pytest.mark.parametrize("recipe", FRAMES)
@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole"])
def test_memory_is_that_of_the_plan_of_the_engine(monkeypatch, ct, spec, recipe):
    monkeypatch.setattr(module.ModelSpec, "of", lambda *_: spec)
    model = SimpleNamespace(name="any", facts={}, path=Path("model.pt"), sha256="0" * 64)
    command = Estimate("e1", "print", classes=tuple(spec.offered), device="cpu", recipe=recipe)
    frame, classes = FRAMES[recipe](ct, spec), spec.offered
    if recipe == "published":
        need = published_need(frame.shape, ct.geometry, classes, spec)
    else:
        need = memory_need(frame.shape, ct.geometry, run_window(spec, frame.shape), classes, spec)
    answer = module.estimated(command, ct, model)
    assert answer.host_bytes == need.host + need.network + need.ring
    assert answer.device_bytes == 0


@pytest.mark.parametrize("recipe", FRAMES)
@pytest.mark.parametrize("spec", [SPEC, COARSE], ids=["windows", "whole"])
def test_grid_of_the_model_is_that_of_the_engine_and_at_most_that_of_the_whole_ct(ct, spec, recipe):
    shape = module.input_shape(ct, spec, recipe)
    assert shape == FRAMES[recipe](ct, spec).shape
    whole = module.input_shape(ct.geometry, spec, recipe)
    assert all(n <= w + 2 for n, w in zip(shape, whole, strict=True))
