"""Models that stay on their device: which ones, for how long, and that a cancel reaches the right run."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest

from GenesisSegmentLib.core.errors import Cancelled, InputError, ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.worker.warm import WarmModels


@dataclass(frozen=True)
class Model:
    """What is looked at of a resolved model."""

    sha256: str
    path: Path = Path("model.pth")


TORCH, ONNX = Model("a"), Model("b", Path("model.onnx"))


@pytest.fixture
def opened(monkeypatch):
    """The segmenters that were opened, one object each."""
    found = []

    def open_segmenter(model, job, *, runtime, device):
        found.append((model.sha256, runtime, device))
        return object()

    monkeypatch.setattr("GenesisSegmentLib.engine.open_model.open_segmenter", open_segmenter)
    return found


def a_run(models, model=TORCH, device="cpu", job=None, report=lambda progress: None, work=lambda lent: None):
    with models.lent(model, None, device, job or Job(), report) as lent:
        work(lent)
        return lent


def cancel_in_the_middle(models, model):
    job = Job()

    def work(lent):
        job.cancel()
        lent.job.check()

    with pytest.raises(Cancelled):
        a_run(models, model, job=job, work=work)


def test_model_is_opened_once_for_each_device(opened):
    models = WarmModels(lambda: None)
    first = a_run(models)
    assert a_run(models) is first
    assert a_run(models, device="cuda:0") is not first
    assert opened == [("a", None, "cpu"), ("a", None, "cuda:0")]


def test_only_the_last_two_are_kept(opened):
    models = WarmModels(lambda: None)
    for name in "abca":
        a_run(models, Model(name))
    assert [name for name, *_ in opened] == ["a", "b", "c", "a"]


def test_cancel_reaches_the_run_and_torch_goes_on_afterwards(opened):
    models = WarmModels(lambda: None)
    cancel_in_the_middle(models, TORCH)
    a_run(models, work=lambda lent: lent.job.check())
    assert len(opened) == 1


def test_cancelled_session_of_onnx_runtime_is_opened_anew(opened):
    models = WarmModels(lambda: None)
    cancel_in_the_middle(models, ONNX)
    a_run(models, ONNX, work=lambda lent: lent.job.check())
    assert len(opened) == 2


def test_session_that_was_cancelled_too_late_is_opened_anew_too(opened):
    models, job = WarmModels(lambda: None), Job()
    a_run(models, ONNX, job=job)
    job.cancel()
    a_run(models, ONNX, work=lambda lent: lent.job.check())
    assert len(opened) == 2


def test_command_that_is_cancelled_already_does_not_begin(opened):
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        a_run(WarmModels(lambda: None), job=job, work=lambda lent: pytest.fail("it began"))


def test_progress_goes_to_the_command_of_the_moment(opened):
    models, seen = WarmModels(lambda: None), []
    for name in "ab":
        report = lambda progress, name=name: seen.append((name, progress.fraction))  # noqa: E731
        a_run(models, report=report, work=lambda lent: (lent.job.plan({"work": 1}), lent.job.advance("work", 0.5)))
    assert seen == [("a", 0.5), ("b", 0.5)]


@pytest.mark.parametrize(
    ("error", "is_kept"), [(InputError("x"), True), (ResourceError("x"), False), (RuntimeError("x"), False)]
)
def test_memory_is_given_back_after_an_error_that_may_come_from_it(opened, error, is_kept):
    models = WarmModels(lambda: None)

    def work(lent):
        raise error

    with pytest.raises(type(error)):
        a_run(models, work=work)
    a_run(models)
    assert len(opened) == (1 if is_kept else 2)


def test_memory_is_given_back_after_minutes_without_a_run_and_the_log_says_so(opened, capsys):
    now = [0.0]
    models = WarmModels(lambda: None, 600.0, lambda: now[0])
    now[0] = 1000.0
    models.rest()  # nothing is warm: nothing to say
    assert capsys.readouterr().err == ""
    a_run(models)
    held = weakref.ref(a_run(models, ONNX))
    now[0] += 599.0
    models.rest()
    assert held() is not None
    a_run(models)
    now[0] += 599.0
    models.rest()
    assert held() is not None
    assert len(opened) == 2
    now[0] += 1.0
    models.rest()
    assert held() is None
    assert "No run for 10 minutes: the memory of 2 models" in capsys.readouterr().err
    a_run(models)
    assert len(opened) == 3


def test_file_that_was_replaced_is_resolved_anew(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"one")
    asked = []

    class Store:
        def resolve(self, name):
            asked.append(name)
            return Model("x", path)

    models = WarmModels(Store)
    assert models.resolve("m") is models.resolve("m")
    path.write_bytes(b"three")
    models.resolve("m")
    assert asked == ["m", "m"]
