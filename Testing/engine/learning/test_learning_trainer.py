"""What learning changes and what it leaves alone, that it can be repeated, stopped, paused, and refused."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from GenesisSegmentLib.core.errors import Cancelled, HoldoutError, LearningError, OutputError, ResourceError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.memory_plan import GIB
from GenesisSegmentLib.engine.learning import trainer as module
from GenesisSegmentLib.engine.learning.network import learns
from GenesisSegmentLib.engine.learning.recipe import LearningRecipe
from GenesisSegmentLib.engine.learning.trainer import Learner
from learning_builders import CHANNELS, a_case, a_network

TINY = LearningRecipe(
    steps=2, crop=(16, 16, 16), cached_crop=(8, 8, 8), learning_rate=3e-3, precision="fp32", is_varied=False
)


def learner(folder, recipe=TINY, network=None, cases=None, **options) -> Learner:
    options.setdefault("free_bytes", lambda device: 8 * GIB)
    network = network or a_network()
    return Learner(network, CHANNELS, cases or [a_case()], recipe, folder, **options)


def same(one: torch.nn.Module, other: torch.nn.Module) -> list[str]:
    theirs = other.state_dict()
    return [name for name, value in one.state_dict().items() if torch.equal(value, theirs[name])]


@pytest.mark.parametrize("backbone", ["segresnet", "unet"])
@pytest.mark.parametrize("mode", ["head", "decoder", "all"])
def test_what_a_mode_does_not_train_stays_the_same_to_the_bit(tmp_path, backbone, mode):
    network = a_network(backbone)
    learned = learner(tmp_path, replace(TINY, mode=mode), network, parent=network).run()
    parameters = {name for name, _ in network.named_parameters()}
    frozen = {name for name in network.state_dict() if name not in parameters or not learns(name, mode)}
    unchanged = set(same(network, learned.network))
    assert frozen <= unchanged
    # A bias before a norm of the whole channel has no effect, and thus no gradient worth the name.
    silent = {name for name in parameters if name.endswith("conv1.bias")}
    assert not unchanged & (parameters - frozen - silent)
    parts = {name.split(".")[1][:2] for name in frozen if name.startswith("backbone.") and name in parameters}
    assert bool(parts) is (mode != "all")
    assert all(p.requires_grad for p in learned.network.parameters())


def test_the_given_network_is_left_as_it_is(tmp_path):
    network = a_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learner(tmp_path, network=network, parent=network).run()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("mode", ["all", "head"])
def test_two_runs_are_equal_to_the_bit(tmp_path, mode):
    recipe = replace(TINY, mode=mode, is_varied=True)
    one = learner(tmp_path / "one", recipe, parent=a_network()).run()
    other = learner(tmp_path / "other", recipe, parent=a_network()).run()
    assert one.losses == other.losses
    assert len(same(one.network, other.network)) == len(one.network.state_dict())
    third = learner(tmp_path / "third", replace(recipe, seed=8), parent=a_network()).run()
    assert third.losses != one.losses


def test_the_loss_falls(tmp_path):
    learned = learner(tmp_path, replace(TINY, steps=15, accumulate=1)).run()
    assert len(learned.losses) == learned.steps == 15
    assert np.mean(learned.losses[-3:]) < 0.75 * np.mean(learned.losses[:3])


def test_a_network_that_looks_at_its_batch_gets_one_window_per_forward(tmp_path):
    network = a_network("unet")
    sizes = seen_batches(learner(tmp_path, replace(TINY, batch=3, accumulate=1, items_per_forward=3), network))
    assert sizes == {1}


def test_other_networks_take_several_windows_at_once_with_the_same_result(tmp_path):
    at_once = replace(TINY, batch=3, accumulate=1, items_per_forward=3)
    assert seen_batches(learner(tmp_path / "a", at_once)) == {3}
    one_by_one = learner(tmp_path / "b", replace(at_once, items_per_forward=1)).run()
    together = learner(tmp_path / "c", at_once).run()
    np.testing.assert_allclose(one_by_one.losses, together.losses, rtol=1e-4)


def seen_batches(subject: Learner) -> set[int]:
    sizes: set[int] = set()
    real = module.Pupil.forward

    def forward(self, images, channels):
        sizes.add(len(images))
        return real(self, images, channels)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Pupil, "forward", forward)
        subject.run()
    return sizes


def test_a_finished_run_is_not_run_again_and_a_longer_one_is_another(tmp_path):
    first = learner(tmp_path).run()
    again = learner(tmp_path, on_step=lambda step, loss: pytest.fail("nothing is left to do")).run()
    assert again.losses == first.losses
    assert len(same(first.network, again.network)) == len(first.network.state_dict())
    with pytest.raises(LearningError, match="another round"):
        learner(tmp_path, replace(TINY, seed=99)).run()
    with pytest.raises(LearningError, match="another round"):
        learner(tmp_path, cases=[a_case("another")]).run()


def test_a_damaged_state_is_said(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(LearningError, match="damaged"):
        learner(tmp_path).run()


def test_cancelling_keeps_what_was_learned_and_going_on_gives_the_same(tmp_path):
    recipe = replace(TINY, steps=4)
    job = Job()
    with pytest.raises(Cancelled):
        learner(tmp_path / "a", recipe, job=job, on_step=lambda step, loss: job.cancel() if step == 2 else None).run()
    steps: list[int] = []
    rest = learner(tmp_path / "a", recipe, on_step=lambda step, loss: steps.append(step)).run()
    whole = learner(tmp_path / "b", recipe).run()
    assert steps == [3, 4]
    assert rest.losses == whole.losses
    assert len(same(rest.network, whole.network)) == len(whole.network.state_dict())


def test_learning_can_be_cancelled_in_the_middle_of_a_step_forwards_and_backwards(tmp_path):
    passes: list[bool] = []
    learner(tmp_path / "count", replace(TINY, steps=1, accumulate=1), gate=lambda: passes.append(True)).run()
    convolutions = 12
    assert len(passes) > convolutions
    for stop_at in (2, len(passes) - 1):
        job, count = Job(), iter(range(1, 10**6))
        with pytest.raises(Cancelled):
            learner(
                tmp_path / str(stop_at),
                replace(TINY, steps=1, accumulate=1),
                job=job,
                gate=lambda job=job, count=count, stop_at=stop_at: job.cancel() if next(count) == stop_at else None,
            ).run()


def test_pauses_do_not_count_as_learning(tmp_path):
    import time

    learned = learner(tmp_path, replace(TINY, steps=1, accumulate=1), gate=lambda: time.sleep(0.05)).run()
    passes: list[bool] = []
    started = time.monotonic()
    learner(tmp_path / "b", replace(TINY, steps=1, accumulate=1), gate=lambda: passes.append(True)).run()
    assert learned.seconds < 0.05 * len(passes) + (time.monotonic() - started)
    assert learned.seconds > 0


def test_the_budget_ends_learning(tmp_path):
    learned = learner(tmp_path, replace(TINY, steps=0, budget_s=0.01)).run()
    assert learned.steps == 1
    with pytest.raises(LearningError, match="neither"):
        learner(tmp_path, replace(TINY, steps=0, budget_s=0))


def test_progress_is_told(tmp_path):
    seen: list[float] = []
    job = Job(lambda progress: seen.append(progress.fraction))
    job.plan({"before": 1, "learn": 1})
    learner(tmp_path, replace(TINY, steps=4), job=job, stage="learn").run()
    assert seen == pytest.approx([0.625, 0.75, 0.875, 1.0])


def test_a_loss_that_is_no_number_ends_learning_without_a_model(tmp_path):
    case = a_case()
    broken = replace(case, image=np.full_like(case.image, np.nan))
    with pytest.raises(LearningError, match="no number"):
        learner(tmp_path, cases=[broken]).run()
    kept = torch.load(tmp_path / "state.pt", weights_only=True)
    assert kept["step"] == 0
    assert all(torch.isfinite(value).all() for value in kept["net"].values())


def test_a_loss_that_grows_and_grows_ends_learning(tmp_path, monkeypatch):
    real, count = module.lesson_loss, iter(range(10**6))
    monkeypatch.setattr(module, "lesson_loss", lambda *given: real(*given) * (1 + next(count) / 10))
    with pytest.raises(LearningError, match="diverged"):
        learner(tmp_path, replace(TINY, mode="head", steps=200, accumulate=1, learning_rate=1e-6)).run()


def test_the_holdout_cannot_be_learned_from(tmp_path):
    case = a_case()
    object.__setattr__(case, "split", "holdout")  # as if someone had got round the case's own check
    with pytest.raises(HoldoutError):
        learner(tmp_path, cases=[case])


def test_without_replay_earlier_cases_are_left_out(tmp_path):
    cases = [a_case("new"), a_case("old", is_replayed=True)]
    assert learner(tmp_path / "a", cases=cases).run().losses != pytest.approx(
        learner(tmp_path / "b", replace(TINY, replay=False), cases=cases).run().losses
    )
    only = learner(tmp_path / "c", replace(TINY, replay=False), cases=[a_case("new")]).run()
    assert learner(tmp_path / "d", replace(TINY, replay=False), cases=cases).run().losses == only.losses


def out_of_memory_at(monkeypatch, step_of: set[int], error: Exception) -> None:
    real, count = module.Pupil.forward, iter(range(10**6))

    def forward(self, images, channels):
        if images.device.type != "meta" and next(count) in step_of:  # planning computes nothing
            raise error
        return real(self, images, channels)

    monkeypatch.setattr(module.Pupil, "forward", forward)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_goes_on_in_a_smaller_way_and_says_so(tmp_path, monkeypatch, error):
    recipe = replace(TINY, steps=4, crop=(36, 36, 36), accumulate=1, checkpoint_every_s=0)
    monkeypatch.setattr(module, "has_bf16", lambda device: False)
    out_of_memory_at(monkeypatch, {2}, error)
    steps: list[int] = []
    learned = learner(tmp_path, recipe, on_step=lambda step, loss: steps.append(step)).run()
    assert steps == [1, 2, 3, 4]  # the third was tried again, the first two were not lost
    assert learned.recipe.crop == (32, 32, 32)
    assert any("32 x 32 x 32" in note for note in learned.notes)
    again = learner(tmp_path, recipe).run()
    assert again.recipe.crop == (32, 32, 32)  # also after the process was started anew


def test_other_faults_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    out_of_memory_at(monkeypatch, {0}, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        learner(tmp_path).run()


def test_below_the_last_rung_it_is_an_error(tmp_path, monkeypatch):
    out_of_memory_at(monkeypatch, set(range(100)), MemoryError())
    with pytest.raises(ResourceError, match="ran out"):
        learner(tmp_path, replace(TINY, mode="head", cached=False)).run()


def test_a_full_disk_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        learner(tmp_path / "file" / "folder").run()


def test_half_precision_learns_like_single_precision(tmp_path):
    single = learner(tmp_path / "a", replace(TINY, steps=3)).run()
    half = learner(tmp_path / "b", replace(TINY, steps=3, precision="bf16")).run()
    np.testing.assert_allclose(single.losses, half.losses, rtol=0.03)
    assert single.losses != half.losses
    assert all(value.dtype == torch.float32 for value in half.network.parameters())


def test_the_losses_are_written_down_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboardX")
    learner(tmp_path).run()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"learning_rate" in events.read_bytes()


def test_learning_says_nothing_on_its_own(tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner(tmp_path, replace(TINY, precision="bf16", steps=1)).run()
    assert capfd.readouterr() == ("", "")
