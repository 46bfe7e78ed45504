"""Training samples, the partial-label loss, checkpoints that survive, and the ONNX file for both runtimes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.learning.loss import partial_label_loss
from GenesisSegmentLib.engine.phantom import phantom_labels
from GenesisSegmentLib.engine.starter import train
from GenesisSegmentLib.engine.starter.augment import SampleMaker, SampleRecipe, sampling_grid, with_body
from GenesisSegmentLib.engine.starter.cases import TrainingCase
from GenesisSegmentLib.engine.starter.onnx_file import export_onnx, load_onnx_weights
from GenesisSegmentLib.engine.starter.surroundings import SurroundingsRecipe
from GenesisSegmentLib.engine.starter.train import StarterTraining, TrainingRecipe, false_volume_loss
from GenesisSegmentLib.engine.tissue import TISSUES, paint

SMALL = SampleRecipe(largest=(32, 24, 24), spacing_mm=12.0)


@pytest.fixture(scope="module")
def case() -> TrainingCase:
    """A phantom on the training grid, thinned so that it is small."""
    labels, _ = phantom_labels(12.0, seed=3)
    rng = np.random.default_rng(0)
    ct = paint(labels, rng, 12.0)
    return TrainingCase("phantom", "none", np.where(labels > 32, 0, labels).astype(np.uint8), tuple(range(1, 33)), ct)


@pytest.fixture
def tiny_network(monkeypatch):
    monkeypatch.setattr(train, "NETWORK_OPTIONS", {"filters": 16, "blocks_down": (1, 1)})


def test_samples_are_never_mirrored():
    rng = np.random.default_rng(1)
    for _ in range(30):
        grid = sampling_grid((40, 36, 44), SampleRecipe(largest=(32, 24, 24)), rng)[0].numpy()
        # grid_sample wants (z, y, x): the last coordinate belongs to the first axis and must grow with it.
        for axis in range(3):
            steps = np.diff(grid[..., 2 - axis], axis=axis)
            assert steps.mean() > 0
            assert (steps > 0).mean() > 0.99


def test_image_and_labels_of_a_sample_are_bent_alike(case):
    blob = np.zeros((30, 30, 30), np.uint8)
    blob[8:20, 10:22, 6:18] = 6
    ct = np.where(blob == 6, 240, -1000).astype(np.int16)
    recipe = SampleRecipe(
        largest=(40, 40, 40),
        spacing_mm=3.0,
        synthetic_share=0,
        phantom_share=0,
        lesion_share=0,
        surroundings=SurroundingsRecipe(0, 0, 0),
    )
    annotated = tuple(range(1, 10))
    half_way = np.interp((240 - 1000) / 2, recipe.window_hu, recipe.window_values)
    maker = SampleMaker([TrainingCase("b", "", blob, annotated, ct)], recipe, np.random.default_rng(2))
    seen = 0
    for _ in range(8):
        sample = maker.draw()
        bright, truth = sample.image[0, 0].numpy() > half_way, sample.labels == 6
        if truth.sum() > 200:
            seen += 1
            assert 2 * (bright & truth).sum() / (bright.sum() + truth.sum()) > 0.8
    assert seen >= 4


def test_sides_of_a_sample_fit_the_network(case):
    maker = SampleMaker([case], SampleRecipe(largest=(30, 22, 26)), np.random.default_rng(0))
    for _ in range(10):
        assert all(side % 8 == 0 and side >= 16 for side in maker.draw().image.shape[2:])


def test_now_and_then_air_is_added_around_the_patient():
    full = np.full((40, 40, 24), 60, np.uint8)
    recipe = SampleRecipe(spacing_mm=3.0, largest=(80, 80, 80), smallest_share=1.0, margin_share=0.5)
    rng = np.random.default_rng(5)
    sides = [sampling_grid(full.shape, recipe, rng).shape[1] for _ in range(60)]
    without = [sampling_grid(full.shape, replace(recipe, margin_share=0.0), rng).shape[1] for _ in range(60)]
    largest_body = 56  # 40 voxels, scaled by up to 1.18 x 1.06, rounded up to a multiple of 8
    assert max(without) <= largest_body < max(sides)


def test_a_body_is_put_around_bare_organs_without_changing_them():
    organs = np.zeros((40, 40, 20), np.uint8)
    organs[12:28, 14:26, 4:16] = 6
    body = with_body(organs, np.random.default_rng(0))
    assert (body == 6).sum() == (organs == 6).sum()
    assert {60, 52} <= set(np.unique(body))
    assert body[0].max() == 0


def test_painted_tissues_have_their_hounsfield_units():
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[2:19, 2:38, 2:38], labels[21:38, 2:38, 2:38] = 6, 16
    ct = paint(labels, np.random.default_rng(0), 3.0, lively=False)
    assert TISSUES[6].low < ct[6:15, 8:30, 8:30].mean() < TISSUES[6].high
    assert TISSUES[16].low < ct[25:34, 8:30, 8:30].mean() < TISSUES[16].high
    assert ct[0].mean() < -900


def test_the_loss_is_dice_with_one_in_the_denominator_plus_cross_entropy():
    logits = torch.randn(2, 5, 6, 7, dtype=torch.float64)
    truth = (torch.rand(2, 5, 6, 7) > 0.6).double()
    expected = 0.0
    for x, y in zip(logits, truth, strict=True):
        p = torch.sigmoid(x)
        expected += (1 - 2 * (p * y).sum() / (p.sum() + y.sum() + 1)) / 2
        expected += -(y * p.log() + (1 - y) * (1 - p).log()).mean() / 2
    torch.testing.assert_close(partial_label_loss(logits, truth), expected)


def test_false_volume_is_charged_for_absent_classes_alone_and_grows_with_the_volume():
    truth = torch.zeros(3, 10, 10, 10)
    truth[0, :5] = 1
    found = torch.full((3, 10, 10, 10), -20.0)
    found[0] = 20.0
    assert float(false_volume_loss(found, truth)) < 1e-3
    found[1, :, :, :5] = 20.0
    half = float(false_volume_loss(found, truth))
    assert half == pytest.approx(0.25, abs=0.001)  # 500 voxels of one absent class, none of the other
    found[1] = 20.0
    assert float(false_volume_loss(found, truth)) > half
    assert float(false_volume_loss(found[:1], truth[:1])) == 0


def test_a_class_that_nobody_annotated_gets_no_gradient(case, tmp_path, tiny_network):
    known = TrainingCase(case.name, "", case.labels, (6,), case.ct)
    training = StarterTraining([known, case], tmp_path, TrainingRecipe(budget_s=0, classes=(1, 6)), SMALL)
    sample = SampleMaker([known, case], SMALL, np.random.default_rng(0))
    drawn = sample._finish(known.labels, known.ct, known.annotated)
    assert training._channels(drawn) == [5]


def test_training_goes_on_where_it_was_stopped(case, tmp_path, tiny_network):
    messages: list[str] = []
    recipe = TrainingRecipe(budget_s=0.5, classes=(1, 6, 16, 17))
    first = StarterTraining([case], tmp_path, recipe, SMALL, report=messages.append)
    first.run()
    assert first.step >= 1
    again = StarterTraining([case], tmp_path, TrainingRecipe(budget_s=0.5), SMALL, report=messages.append)
    assert (again.step, again.elapsed_s) == (first.step, first.elapsed_s)
    for mine, theirs in zip(again.average.parameters(), first.average.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    again.run()
    assert again.step == first.step  # the budget was used up
    assert any("Going on" in message for message in messages)
    assert all(json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_learning_lowers_the_loss_on_one_sample(case, tmp_path, tiny_network):
    training = StarterTraining([case], tmp_path, TrainingRecipe(budget_s=1e9, classes=(6, 16, 17)), SMALL)
    sample = SampleMaker([case], SMALL, np.random.default_rng(0))._finish(case.labels, case.ct, case.annotated)
    training.step = 50  # past the warm-up
    losses = [training._learn(sample) for _ in range(12)]
    assert losses[-1] < losses[0] - 0.05


def test_the_onnx_file_holds_every_weight_and_computes_the_same(tmp_path):
    torch.manual_seed(0)
    network = train.starter_network().eval()
    path = tmp_path / "starter.onnx"
    export_onnx(network, path, example=(16, 24, 32))
    weights = load_onnx_weights(path)
    assert set(weights) == set(network.state_dict())
    network.load_state_dict(weights)  # what torch computes with the stored, rounded weights
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = torch.rand(1, 1, 24, 16, 40)  # another size than the example's
    features, numbers = session.run(["features", "numbers"], {"image": image.numpy()})
    with torch.no_grad():
        expected = network.features(image)
    np.testing.assert_allclose(features, expected[0].numpy(), atol=2e-3)
    np.testing.assert_allclose(numbers, expected[1].numpy(), atol=2e-3)
    assert str(tmp_path) not in path.read_bytes().decode("latin-1")


def test_an_onnx_file_that_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "other.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"other\.onnx"):
        load_onnx_weights(path)
