"""Pre-training: the published schedule and file, runs that go on after a kill, processes that share a batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import Cancelled, InputError, ModelError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine.checkpoints import initialise_from_genesis, load
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.pretraining import trainer
from GenesisSegmentLib.engine.pretraining.batches import Share, TrainingBatches, ValidationBatches
from GenesisSegmentLib.engine.pretraining.crops import CropRule
from GenesisSegmentLib.engine.pretraining.distortions import DistortionRecipe
from GenesisSegmentLib.engine.pretraining.levels import values
from GenesisSegmentLib.engine.pretraining.material import CropSet, Material
from GenesisSegmentLib.engine.pretraining.pictures import EACH, picture_distortions, picture_restorations
from GenesisSegmentLib.engine.pretraining.recipe import PretrainRecipe
from GenesisSegmentLib.engine.pretraining.trainer import Pretraining, forget, make_fabric
from GenesisSegmentLib.engine.pretraining.weights import facts_of

KEYS = Path(__file__).resolve().parents[1] / "data" / "keys"
SMALL = PretrainRecipe(
    network="starter",
    crops=CropRule(size=(16, 16, 16)),
    distortions=replace(DistortionRecipe(), shuffled_blocks=100),
    batch=2,
    learning_rate=0.05,
)
NEVER = DistortionRecipe(flip=0, shuffle=0, curve=0, paint=0)


class Conv(nn.Module):
    """A network that is quick to train: without a norm, so that processes may share a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, image):
        return self.conv(image).sigmoid()


def write_material(folder: Path, train: int = 6, validation: int = 3) -> Material:
    folder.mkdir(parents=True, exist_ok=True)
    sets = []
    for name, crops in (("train", train), ("validation", validation)):
        rng = np.random.default_rng(len(name))
        smooth = np.repeat(np.repeat(rng.integers(0, 2001, (crops, 4, 4, 4)), 4, 1), 4, 2).repeat(4, 3)
        path = folder / f"{name}.npy"
        np.save(path, smooth.astype(np.uint16))
        sets.append(CropSet([path] if crops else []))
    return Material(sets[0], sets[1], {"train": ("a",), "validation": ("b",)}, (), "print")


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return write_material(tmp_path / "crops")


@pytest.fixture
def small_network(monkeypatch):
    monkeypatch.setattr(trainer, "build", lambda name, **options: Conv())


def train(material: Material, folder: Path, recipe: PretrainRecipe, **options):
    training = Pretraining(material, recipe, folder, make_fabric("cpu"), **options)
    return training, training.run(folder / "weights.pt")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# --- the published recipe ---------------------------------------------------------------------------------------------


def test_the_published_schedule_is_the_default():
    recipe = PretrainRecipe()
    assert (recipe.network, recipe.batch, recipe.precision) == ("genesis_unet3d", 6, "32-true")
    assert (recipe.learning_rate, recipe.momentum, recipe.decay, recipe.decay_every) == (1.0, 0.9, 0.5, 40)
    assert (recipe.epochs, recipe.patience, recipe.final_lr_share) == (10_000, 50, 1.0)


def test_learning_rate_is_halved_every_forty_epochs(material, tmp_path, small_network):
    seen = []
    recipe = replace(SMALL, batch=6, learning_rate=1.0, steps=81, patience=1000, distortions=NEVER)
    train(material, tmp_path / "run", recipe, report=lambda record: seen.append((record.epoch, record.learning_rate)))
    assert seen == [(n, 1.0 if n <= 40 else 0.5 if n <= 80 else 0.25) for n in range(1, 82)]


def test_genesis_weights_are_written_in_the_published_layout(material, tmp_path):
    """As the original code loads them: a plain loop, no class of ours."""
    recipe = replace(SMALL, network="genesis_unet3d", steps=1)
    train(material, tmp_path / "run", recipe)
    path = tmp_path / "run" / "weights.pt"
    document = torch.load(path, map_location="cpu", weights_only=True)
    assert {"epoch", "state_dict", "optimizer_state_dict"} <= document.keys()
    published = json.loads((KEYS / "genesis_unet3d_keys.json").read_text())
    assert len(published) == 106
    assert {key: list(value.shape) for key, value in document["state_dict"].items()} == {
        f"module.{key}": shape for key, shape in published.items()
    }
    assert [key.removeprefix("module.") for key in document["state_dict"]] == list(published)
    network = build("genesis_unet3d")
    plain = {key.replace("module.", ""): value for key, value in document["state_dict"].items()}
    network.load_state_dict(plain)

    checkpoint = load(path, "genesis_unet3d")
    assert checkpoint.layout == "genesis"
    assert same(dict(checkpoint.state), plain)
    universal = build("universal_unet")
    initialise_from_genesis(universal, checkpoint)
    backbone = universal.backbone.state_dict()
    assert len(backbone) == 104
    assert all(torch.equal(backbone[key], plain[key]) for key in backbone)


def test_weights_of_the_starters_backbone_initialise_a_starter(material, tmp_path):
    train(material, tmp_path / "run", replace(SMALL, steps=1))
    checkpoint = load(tmp_path / "run" / "weights.pt", "genesis_starter")
    starter = build("starter")
    head = {key: value.clone() for key, value in starter.state_dict().items() if not key.startswith("backbone.")}
    initialise_from_genesis(starter, checkpoint)
    state = starter.state_dict()
    learned = {key: value for key, value in checkpoint.state.items() if key.startswith("net.")}
    assert same({key: state[f"backbone.{key}"] for key in learned}, learned)
    assert same({key: state[key] for key in head}, head)
    assert set(checkpoint.state) - set(learned) == {"out_tr.final_conv.weight", "out_tr.final_conv.bias"}
    with pytest.raises(ModelError, match="cannot initialise"):
        initialise_from_genesis(build("universal_unetpp"), checkpoint)


def test_the_file_says_how_it_was_made(material, tmp_path, small_network):
    _, done = train(material, tmp_path / "run", replace(SMALL, steps=3))
    facts = facts_of(done.path)
    assert facts["architecture"] == "genesis_starter"
    assert facts["recipe"]["batch"] == 2
    assert facts["steps"] == 3
    assert facts["scans"] == {"train": 1, "validation": 1}  # counted, not named


def test_restoring_is_learned(material, tmp_path, small_network):
    losses = []
    recipe = replace(SMALL, steps=60, learning_rate=1.0, distortions=replace(NEVER, curve=1, inverted=1))
    _, done = train(material, tmp_path / "run", recipe, report=lambda record: losses.append(record.train_loss))
    assert losses[-1] < 0.8 * losses[0]
    assert done.validation_loss is not None
    assert done.untouched_loss is not None
    assert done.validation_loss < done.untouched_loss


def test_training_ends_when_it_gets_no_better_and_the_best_weights_stay(material, tmp_path, small_network):
    records = []
    recipe = replace(SMALL, batch=6, learning_rate=0.3, patience=4, epochs=2000)
    _, done = train(material, tmp_path / "run", recipe, report=records.append)
    assert done.ended == "no longer better"
    best = min(records, key=lambda record: record.validation_loss)
    assert records[-1].epoch == best.epoch + 4
    assert (done.epoch, done.validation_loss) == (best.epoch, best.validation_loss)
    assert torch.load(done.path, weights_only=True)["epoch"] == best.epoch


def test_without_a_second_patient_the_last_weights_stay(tmp_path, small_network):
    material = write_material(tmp_path / "crops", validation=0)
    training, done = train(material, tmp_path / "run", replace(SMALL, steps=4))
    assert (done.validation_loss, done.untouched_loss, done.ended) == (None, None, "steps")
    assert same(weights(tmp_path / "run"), {f"module.{k}": v for k, v in training.network.state_dict().items()})


# --- batches ----------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_crop_once_and_the_next_in_another_order(material):
    batches = TrainingBatches(material.train, 2, 7, replace(DistortionRecipe(), flip=0))
    assert batches.steps_per_epoch == 3
    known = {values(material.train[n]).tobytes(): n for n in range(6)}
    epochs = [
        [known[t.numpy().tobytes()] for step in range(3 * e, 3 * e + 3) for t in batches[step][1]] for e in range(4)
    ]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    seen = [
        {
            known[target.numpy().tobytes()]: image
            for step in range(3 * e, 3 * e + 3)
            for image, target in zip(*batches[step], strict=True)
        }
        for e in range(2)
    ]
    assert sum(not torch.equal(seen[0][n], seen[1][n]) for n in range(6)) >= 4  # distorted anew


def test_processes_divide_a_batch(material):
    whole = TrainingBatches(material.train, 6, 7, DistortionRecipe())[4]
    parts = [TrainingBatches(material.train, 6, 7, DistortionRecipe(), Share(rank, 2))[4] for rank in range(2)]
    for side in range(2):
        assert torch.equal(whole[side][0::2], parts[0][side])
        assert torch.equal(whole[side][1::2], parts[1][side])


def test_crops_to_judge_by_are_always_distorted_alike(material):
    first, second = (ValidationBatches(material.validation, 2, 7, DistortionRecipe()) for _ in range(2))
    assert len(first) == 2
    assert [len(first[n][0]) for n in range(2)] == [2, 1]
    assert all(torch.equal(first[n][0], second[n][0]) for n in range(2))


# --- going on ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights(material, tmp_path, small_network):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        train(material, tmp_path / name, replace(SMALL, steps=2, seed=seed))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_a_run_that_was_killed_goes_on_as_if_nothing_had_happened(material, tmp_path, killed_after, monkeypatch):
    if killed_after != 3:  # the real network once, with its norms and channels
        monkeypatch.setattr(trainer, "build", lambda name, **options: Conv())
    recipe = replace(SMALL, steps=5, checkpoint_every_s=0)
    _, whole = train(material, tmp_path / "whole", recipe)
    steps = 0

    def kill():
        nonlocal steps
        steps += 1
        if steps > killed_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(material, tmp_path / "killed", recipe, gate=kill)
    assert not (tmp_path / "killed" / "weights.pt").exists()
    _, done = train(material, tmp_path / "killed", recipe)
    assert (done.steps, done.validation_loss, done.train_loss) == (5, whole.validation_loss, whole.train_loss)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))


def test_batches_made_by_other_processes_are_the_same(material, tmp_path, small_network):
    for workers in (0, 2):
        train(material, tmp_path / str(workers), replace(SMALL, steps=5, loader_workers=workers))
    assert same(weights(tmp_path / "0"), weights(tmp_path / "2"))


def test_more_steps_go_on_from_the_end(material, tmp_path, small_network):
    train(material, tmp_path / "whole", replace(SMALL, steps=6))
    train(material, tmp_path / "parts", replace(SMALL, steps=4))
    train(material, tmp_path / "parts", replace(SMALL, steps=6))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_a_run_with_other_cts_or_settings_is_not_gone_on_with(material, tmp_path, small_network):
    train(material, tmp_path / "run", replace(SMALL, steps=1))
    for other in (replace(SMALL, seed=8), replace(SMALL, learning_rate=0.1)):
        with pytest.raises(InputError, match="other CTs or settings"):
            Pretraining(material, other, tmp_path / "run", make_fabric("cpu"))
    with pytest.raises(InputError, match="other CTs or settings"):
        Pretraining(replace(material, fingerprint="x"), SMALL, tmp_path / "run", make_fabric("cpu"))
    state = tmp_path / "run" / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        Pretraining(material, SMALL, tmp_path / "run", make_fabric("cpu"))
    forget(tmp_path / "run")
    Pretraining(material, replace(SMALL, seed=8), tmp_path / "run", make_fabric("cpu"))


def test_the_budget_counts_over_all_runs(material, tmp_path, small_network, monkeypatch):
    clock = count(0.0, 1.0)
    monkeypatch.setattr(trainer.time, "monotonic", lambda: next(clock))
    _, first = train(material, tmp_path / "run", replace(SMALL, budget_s=4.0))
    assert first.ended == "budget"
    _, second = train(material, tmp_path / "run", replace(SMALL, budget_s=4.0))
    assert second.steps == first.steps
    _, third = train(material, tmp_path / "run", replace(SMALL, budget_s=8.0))
    assert third.steps == 2 * first.steps


def test_a_short_run_ends_with_a_small_learning_rate(material, tmp_path, small_network):
    seen = []
    recipe = replace(SMALL, batch=6, learning_rate=1.0, final_lr_share=0.02, steps=9)
    train(material, tmp_path / "run", recipe, report=lambda record: seen.append(record.learning_rate))
    assert seen[0] == 1.0
    assert seen == sorted(seen, reverse=True)
    assert 0.02 < seen[-1] < 0.1


def test_cancel_stops_and_what_was_learned_stays(material, tmp_path, small_network):
    job = Job()
    job.plan({"training": 1.0})
    steps = []

    def stop_after_three():
        steps.append(1)
        if len(steps) == 3:
            job.cancel()

    recipe = replace(SMALL, steps=50, checkpoint_every_s=0)
    with pytest.raises(Cancelled):
        train(material, tmp_path / "run", recipe, job=job, gate=stop_after_three)
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3


# --- processes and pictures -------------------------------------------------------------------------------------------

PROGRAM = """
import sys, torch
from dataclasses import replace
from itertools import count
from pathlib import Path
sys.path[:0] = {paths!r}
torch.set_num_threads(1)
import test_pretraining_trainer as t
t.trainer.build = lambda name, **options: t.Conv()
folder = Path(sys.argv[1])
sets = [t.CropSet([folder / "crops" / name]) for name in ("train.npy", "validation.npy")]
recipe = replace(t.SMALL, batch=6, learning_rate=0.5, steps=5)
training = t.Pretraining(t.Material(*sets, {{}}, (), "p"), recipe, folder / "run", t.make_fabric("cpu"))
done = training.run(folder / "run" / "weights.pt")
fabric = training._fabric
(folder / f"rank-{{fabric.global_rank}}.txt").write_text(f"{{fabric.world_size}} {{done.validation_loss}}")
"""


def test_two_processes_learn_what_one_does(material, tmp_path, small_network):
    train(material, tmp_path / "one", replace(SMALL, batch=6, learning_rate=0.5, steps=5))
    here = Path(__file__).parent
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.format(paths=[str(here), str(here.parent), str(Path(GenesisSegmentLib.__file__).parents[1])])
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    done = subprocess.run(
        [*command, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = [path.read_text() for path in sorted(tmp_path.glob("rank-*.txt"))]
    assert len(losses) == 2
    assert losses[0] == losses[1]
    assert losses[0].startswith("2 ")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "run")
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-4, atol=1e-6)


def test_pictures_show_a_row_per_crop(material, tmp_path, small_network):
    training, _ = train(material, tmp_path / "run", replace(SMALL, steps=1))
    rows = list(training.restored(2))
    assert len(rows) == 2
    judged = ValidationBatches(material.validation, 2, 7, SMALL.distortions)
    assert np.array_equal(rows[0][0], judged[0][1][0, 0])
    picture_restorations(tmp_path / "restored.png", rows)
    picture_distortions(tmp_path / "each.png", [material.train[0]])
    for name in ("restored.png", "each.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert list(EACH) == [
        *("original", "local shuffling", "non-linear", "inverted", "in-painting", "out-painting", "all"),
    ]


def test_the_optimizer_and_the_width_are_those_of_the_recipe(material, tmp_path):
    plain, _ = train(material, tmp_path / "plain", replace(SMALL, network="starter", steps=0))
    narrow, _ = train(material, tmp_path / "narrow", replace(SMALL, network="starter", steps=0, filters=8))
    assert narrow.network.out_tr.final_conv.in_channels * 2 == plain.network.out_tr.final_conv.in_channels == 16
    adam, _ = train(material, tmp_path / "adam", replace(SMALL, optimizer="adam", steps=0))
    state = torch.load(adam.checkpoint, weights_only=True)["optimizer"]
    assert "betas" in state["param_groups"][0]
    assert "momentum" in torch.load(plain.checkpoint, weights_only=True)["optimizer"]["param_groups"][0]
    assert replace(SMALL, optimizer="adam").identity() != SMALL.identity()
