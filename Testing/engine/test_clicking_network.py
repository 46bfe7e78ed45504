"""The click network, its training that survives being killed, and its file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from GenesisSegmentLib.core.errors import ModelError
from GenesisSegmentLib.engine.clicking import release
from GenesisSegmentLib.engine.clicking.crops import CropMaker, CropRecipe
from GenesisSegmentLib.engine.clicking.games import GameRecipe, Table
from GenesisSegmentLib.engine.clicking.material import Scan, structures
from GenesisSegmentLib.engine.clicking.network import ClickNet
from GenesisSegmentLib.engine.clicking.onnx_file import export_onnx
from GenesisSegmentLib.engine.clicking.release import CARD, export_checkpoint, ship
from GenesisSegmentLib.engine.clicking.train import LOG, Batch, ClickTraining, TrainingRecipe, click_loss
from GenesisSegmentLib.engine.clicking.user import EXACT, SimulatedUser
from GenesisSegmentLib.engine.refine.channels import CHANNELS, MASK, WHOSE, channels
from GenesisSegmentLib.engine.refine.clicks import FACTS, FILE, OnnxClicks, open_clicks

WIDTHS = (4, 6, 8, 8)
BATCHES = (Batch(32, 2, 0.9), Batch(48, 1, 0.1))
MOST_BYTES = 5_000_000


@pytest.fixture(scope="module")
def scans() -> list[Scan]:
    """One scan of two bright blocks."""
    labels = np.zeros((24, 24, 24), np.uint8)
    labels[4:14, 5:15, 4:18], labels[16:22, 5:15, 4:18] = 1, 2
    hu = np.select([labels == 1, labels == 2], [200, -100], 20).astype(np.int16)
    return [Scan("block", "CC BY 4.0", labels, hu, (1.0, 1.0, 1.0), structures(labels, (1.0,) * 3, {1: 6}), hosts=(1,))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The real network with fresh weights that are no longer all alike, and its file."""
    torch.manual_seed(0)
    network = ClickNet().eval()
    nn.init.normal_(network.head.weight)
    folder = tmp_path_factory.mktemp("click")
    export_onnx(network, folder / FILE)
    return network, folder / FILE


class KilledError(Exception):
    """Ends a training from outside."""


def a_training(scans: list[Scan], folder, report=lambda _: None) -> ClickTraining:
    tiny = TrainingRecipe(3600.0, BATCHES, learning_rate=1e-2, checkpoint_every_s=0.0)
    crops = CropRecipe(spacing_mm=(1.0, 1.5), slices_mm=(1.0, 1.5))
    return ClickTraining(scans, folder, tiny, report=report, crops=crops, widths=WIDTHS)


def trained(scans: list[Scan], folder, steps: int) -> ClickTraining:
    """A training that was killed after so many steps, each with a checkpoint."""
    left = iter(range(steps - 1))

    def report(line: str) -> None:
        if line.startswith("step") and next(left, None) is None:
            raise KilledError

    training = a_training(scans, folder, report)
    with pytest.raises(KilledError):
        training.run()
    return training


def test_answer_has_the_shape_of_the_region():
    with torch.no_grad():
        assert ClickNet(WIDTHS)(torch.rand(2, CHANNELS, 16, 32, 48)).shape == (2, 1, 16, 32, 48)


def test_with_nothing_learned_the_answer_is_between_the_segment_and_the_geodesic_distances():
    shown = torch.rand(1, CHANNELS, 16, 16, 32) - 0.5
    shown[:, MASK] = (shown[:, MASK] > 0).float()
    with torch.no_grad():
        answer = ClickNet(WIDTHS)(shown)[:, 0]
    assert torch.allclose(answer, 2 * shown[:, MASK] - 1 + shown[:, WHOSE])


def test_file_is_small_enough_and_has_no_paths_of_this_machine(exported):
    content = exported[1].read_bytes()
    assert len(content) < MOST_BYTES
    assert b"/GenesisSegmentLib" not in content
    assert b"site-packages" not in content


@pytest.mark.parametrize("shape", [(32, 32, 32), (32, 16, 48)])
def test_file_computes_what_the_network_does(exported, shape):
    network, file = exported
    rng = np.random.default_rng(0)
    hu = rng.normal(0, 200, shape).astype(np.float32)
    mask, inside, outside = hu > 0, rng.uniform(size=shape) < 0.01, rng.uniform(size=shape) < 0.01
    clicks = OnnxClicks(file, threads=1)
    found = clicks.logits(hu, mask, inside, outside, (1.0, 1.0, 1.0))
    with torch.no_grad():
        expected = network(torch.from_numpy(channels(hu, mask, inside, outside, (1.0, 1.0, 1.0)))[None])[0, 0].numpy()
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 0.01 * expected.std() + 0.01
    again = clicks.logits(-hu, ~mask, outside, inside, (1.0, 1.0, 1.0))
    assert not np.allclose(found, again)


def test_no_file_that_is_not_the_shipped_one_is_used(exported, tmp_path):
    assert open_clicks(models=tmp_path) is None
    (tmp_path / FILE).write_bytes(exported[1].read_bytes())
    (tmp_path / FACTS).write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(ModelError, match="damaged"):
        open_clicks(models=tmp_path)


def test_a_file_that_is_no_model_is_explained(tmp_path):
    path = tmp_path / "x.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"x\.onnx is not a model"):
        OnnxClicks(path)


def test_training_makes_answers_better(scans, tmp_path):
    rng = np.random.default_rng(0)
    maker = CropMaker(scans, CropRecipe(spacing_mm=(1.0, 1.5), slices_mm=(1.0, 1.5)), rng)
    games = [Table(maker, SimulatedUser(EXACT, rng), 32, GameRecipe()).game for _ in range(8)]
    shown, weights, truth = (
        torch.from_numpy(np.stack(arrays))
        for arrays in ([g.channels() for g in games], [g.weights() for g in games], [g.crop.truth for g in games])
    )

    def loss_of(training: ClickTraining) -> float:
        with torch.no_grad():
            return float(click_loss(training.model(shown)[:, 0], truth, weights))

    before = loss_of(a_training(scans, tmp_path / "fresh"))
    after = loss_of(trained(scans, tmp_path / "trained", 32))
    assert after < before - 0.1


def test_training_goes_on_where_it_was_killed(scans, tmp_path):
    first = trained(scans, tmp_path, 3)
    again = a_training(scans, tmp_path)
    assert again.step == first.step == 3
    assert again.elapsed_s == first.elapsed_s > 0
    for one, other in zip(first.average.parameters(), again.average.parameters(), strict=True):
        assert torch.equal(one, other)
    trained(scans, tmp_path, 2)
    steps = [json.loads(line)["step"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5]


def test_training_ends_when_its_time_is_used_up(scans, tmp_path):
    first = trained(scans, tmp_path, 2)
    spent = TrainingRecipe(first.elapsed_s, BATCHES)
    again = ClickTraining(scans, tmp_path, spent, report=lambda _: None, widths=WIDTHS)
    again.run()
    assert again.step == 2


def test_whatever_was_ever_trained_on_is_remembered(scans, tmp_path):
    trained(scans, tmp_path, 1)
    other = [Scan("other", "", s.labels, s.hu, s.spacing, s.structures) for s in scans]
    assert a_training(other, tmp_path).trained_on == ["block", "other"]


def test_loss_does_not_feel_what_is_not_known():
    truth = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    truth[:, :2] = True
    logits = torch.where(truth, 3.0, -3.0)
    weights = torch.ones(1, 4, 4, 4)
    weights[..., 2:] = 0
    wrong = logits.clone()
    wrong[..., 2:] = 3
    known_wrong = logits.clone()
    known_wrong[..., :2] *= -1
    right = truth & (weights > 0)
    assert torch.allclose(click_loss(logits, right, weights), click_loss(wrong, right, weights))
    assert click_loss(known_wrong, right, weights) > 2 * click_loss(logits, right, weights)


def test_what_is_shipped_names_its_material(exported, tmp_path, monkeypatch):
    # Exporting takes seconds, and was done already.
    monkeypatch.setattr(release, "export_onnx", lambda network, target: shutil.copy(exported[1], target))
    data, models = tmp_path / "data", tmp_path / "models"
    (data / "labelmaps").mkdir(parents=True)
    models.mkdir()
    for table in ("CASES.csv", "labelmaps/LABELMAPS.csv"):
        (data / table).write_text(
            "case,licence\none,CC BY 4.0\n" if table == "CASES.csv" else "case,licence\ntwo,CC0\n"
        )
    state = {"net": ClickNet().state_dict(), "step": 12, "elapsed_s": 3600.0, "trained_on": ["one", "two"]}
    torch.save(state, tmp_path / "click.pt")
    ship(tmp_path / "click.pt", models, data, "| a table |")
    card = (models / CARD).read_text()
    assert "| one | CC BY 4.0 |" in card
    assert "| two | CC0 |" in card
    assert "| a table |" in card
    assert "12 steps in 1.0 h" in card
    clicks = open_clicks(models=models, threads=1)
    assert clicks is not None


def test_a_training_that_is_not_there_is_explained(tmp_path):
    with pytest.raises(ModelError, match="no checkpoint"):
        export_checkpoint(tmp_path / "click.pt", tmp_path / "x.onnx")
