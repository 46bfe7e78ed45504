"""The studies: what is annotated, what teaches, what is measured, what is saved; nothing is computed twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from GenesisSegmentLib.core.errors import InputError, ModelError
from GenesisSegmentLib.engine.checkpoints import load
from GenesisSegmentLib.engine.learning.loss import partial_label_loss
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.networks.unetpp import UNetPlusPlus
from GenesisSegmentLib.engine.starter.cases import TrainingCase
from GenesisSegmentLib.engine.studies import depths, pretraining, starts
from GenesisSegmentLib.engine.studies import judging as judging_module
from GenesisSegmentLib.engine.studies.__main__ import app
from GenesisSegmentLib.engine.studies.annotation import annotated_share, annotated_slices
from GenesisSegmentLib.engine.studies.crops import ORGANS, Crop, CropMaker, known_organs
from GenesisSegmentLib.engine.studies.depths import Costs, DepthRun, a_network, depth_costs, depth_runs, parts
from GenesisSegmentLib.engine.studies.judging import dice, dice_by_organ, judge, labelled_cts, open_cts
from GenesisSegmentLib.engine.studies.pretraining import FILTERS, RECIPE, pretrained
from GenesisSegmentLib.engine.studies.records import kept
from GenesisSegmentLib.engine.studies.report import (
    depths_report,
    draw_depths,
)
from GenesisSegmentLib.engine.studies.starts import OrganNetwork, start_runs
from GenesisSegmentLib.engine.studies.trainer import StudyRecipe, repeatable, supervised_loss, train

SIDES = (32, 16, 16)
QUICK = StudyRecipe(steps=2, sides=SIDES)


def a_case(name: str = "case", annotated: tuple[int, ...] = (1, 6, 8), height: int = 40, liver_at: int = 8):
    """A block of liver in air, low in a small CT."""
    labels = np.zeros((24, 24, height), np.uint8)
    labels[4:20, 4:20, liver_at : liver_at + 8] = 6
    ct = np.where(labels == 6, 110, -900).astype(np.int16)
    return TrainingCase(name, "CC BY 4.0", labels, annotated, ct)


def all_slices(case) -> dict[str, np.ndarray]:
    return {case.name: np.ones(case.labels.shape[2], bool)}


@pytest.fixture
def small_data(monkeypatch):
    """Two cases to learn from and one to judge by, in place of the folder."""
    monkeypatch.setattr(judging_module, "labelled_cts", lambda data: [a_case("a"), a_case("b")])
    monkeypatch.setattr(judging_module, "judge", lambda data: a_case("judge", liver_at=16))
    monkeypatch.setattr(depths, "NARROW", (2, 2, 2, 2, 2, 2))


# What is annotated


@given(st.integers(0, 5), st.integers(3, 200))
def test_a_smaller_share_of_the_labels_is_a_part_of_a_larger_one(seed: int, height: int) -> None:
    cases = [a_case(height=height, liver_at=0)]
    found = [annotated_slices(cases, share, seed)["case"] for share in (0.1, 0.25, 0.5, 1.0)]
    for less, more in pairwise(found):
        assert not (less & ~more).any()
    assert found[0].any()
    assert found[-1].all()


def test_what_is_annotated_depends_on_seed_and_case_alone_and_comes_near_the_share() -> None:
    cases = [a_case("a", height=100), a_case("b", height=100)]
    first, again, other = (annotated_slices(cases, 0.5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first["a"], again["a"])
    assert (first["a"] != other["a"]).any()
    assert (first["a"] != first["b"]).any()
    np.testing.assert_array_equal(first["b"], annotated_slices(cases[1:], 0.5, 1)["b"])
    assert annotated_share(cases, first) == 0.5
    runs = np.diff(np.flatnonzero(np.diff(first["a"].astype(int))))
    assert set(runs % 5) == {0}, "whole slabs of 15 mm"


# What teaches


def test_only_annotated_slices_and_organs_that_were_looked_for_teach() -> None:
    case = a_case(annotated=(6, 2))
    slices = {case.name: np.arange(40) < 10}
    maker = CropMaker([case], slices, SIDES, seed=3)
    shares = []
    for _ in range(8):
        crop = maker.draw()
        assert crop.organs == ("liver",), "one kidney alone is not the organ"
        assert not crop.labels[~crop.known].any()
        shares.append(crop.known.mean())
    assert 0 < np.mean(shares) < 0.8


def test_the_loss_does_not_feel_what_is_not_known() -> None:
    crop = a_crop()
    logits = torch.randn(1, len(ORGANS), *SIDES, generator=torch.Generator().manual_seed(0))
    plain = supervised_loss([logits], crop)
    changed = logits.clone()
    changed[:, :, ~torch.from_numpy(crop.known)] = 9.0
    for channel, organ in enumerate(ORGANS):
        if organ not in crop.organs:
            changed[:, channel] = -9.0
    assert supervised_loss([changed], crop) == plain
    changed[0, list(ORGANS).index("liver"), 0, 0, 0] += 5
    assert supervised_loss([changed], crop) != plain


def a_crop() -> Crop:
    rng = np.random.default_rng(0)
    labels = np.where(rng.uniform(size=SIDES) < 0.3, 6, 0).astype(np.uint8)
    known = rng.uniform(size=SIDES) < 0.6
    known[0, 0, 0] = True
    return Crop(rng.uniform(size=SIDES).astype(np.float32), labels, known, ("spleen", "liver"))


def test_all_heads_weigh_the_same() -> None:
    crop = a_crop()
    heads = list(torch.randn(4, 1, len(ORGANS), *SIDES, generator=torch.Generator().manual_seed(1)))
    known = torch.from_numpy(crop.known)
    total = 0.0
    for head in heads:
        rows, truths = [], []
        for organ, classes in (("spleen", (1,)), ("liver", (6,))):
            rows.append(head[0, list(ORGANS).index(organ)][known])
            truths.append(torch.from_numpy(np.isin(crop.labels, classes))[known].float())
        total += float(partial_label_loss(torch.stack(rows), torch.stack(truths))) / 4
    assert float(supervised_loss(heads, crop)) == pytest.approx(total, rel=1e-6)


def test_every_head_of_a_unetpp_is_trained(small_data) -> None:
    with repeatable(0):
        network = a_network("unetpp")
        before = {k: v.clone() for k, v in network.state_dict().items()}
        case = a_case()
        train(network, CropMaker([case], all_slices(case), SIDES, 0), QUICK)
    after = network.state_dict()
    for level in (1, 2, 3, 4):
        key = f"final_conv_0_{level}.weight"
        assert not torch.equal(before[key], after[key]), key


def test_a_crop_shows_the_case_where_its_labels_lie_and_left_stays_left() -> None:
    case = a_case()
    case.labels[4:10, 4:20, 8:16] = 1  # spleen on the low side of the first axis
    case.ct[case.labels == 1] = -300
    maker = CropMaker([case], all_slices(case), (24, 24, 24), seed=0)
    for _ in range(6):
        crop = maker.draw()
        liver, spleen = (crop.image[crop.labels == value] for value in (6, 1))
        if len(liver) < 50 or len(spleen) < 50:
            continue
        assert liver.mean() > spleen.mean() > crop.image[crop.known & (crop.labels == 0)].mean()
        places = [np.argwhere(crop.labels == value)[:, 0].mean() for value in (1, 6)]
        assert places[0] < places[1]


def test_the_same_seed_gives_the_same_training_whatever_the_threads(small_data) -> None:
    threads = torch.get_num_threads()
    study = starts._Study(Path(), QUICK, None)
    runs = [study.run("scratch", 0.5, seed, lambda line: None) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    assert torch.get_num_threads() == threads


def test_a_training_learns() -> None:
    case = a_case()
    with repeatable(0):
        network = nn.Conv3d(1, len(ORGANS), 1)
        recipe = StudyRecipe(steps=60, sides=SIDES, learning_rate=0.3)
        losses = train(network, CropMaker([case], all_slices(case), SIDES, 0), recipe)
        found = dice_by_organ(network, a_case(liver_at=20), SIDES)
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert found["liver"] > 0.9


# What is measured


def test_dice_is_that_of_the_two_masks() -> None:
    one, other = np.zeros(10, bool), np.zeros(10, bool)
    assert dice(one, other) == 1.0
    one[:4], other[2:8] = True, True
    assert dice(one, other) == pytest.approx(0.4)


def test_only_organs_that_were_drawn_are_measured() -> None:
    class Says(nn.Module):
        """Liver wherever it is bright, every other organ everywhere."""

        def forward(self, image):
            liver = [name == "liver" for name in ORGANS]
            return torch.cat([image - 0.7 if is_liver else torch.ones_like(image) for is_liver in liver], 1)

    found = dice_by_organ(Says(), a_case(annotated=(6, 2, 8), height=38), SIDES)
    assert found == {"liver": 1.0, "aorta": 0.0}


def test_the_judge_is_no_patient_to_learn_from_with_labels_or_without(shared_data: Path, monkeypatch) -> None:
    learned, judging = open_cts(shared_data), judge(shared_data)
    assert "C3N-00249" in judging.name
    assert not any("C3N-00249" in case.name for case in learned)
    assert set(known_organs(judging)) == set(ORGANS)
    monkeypatch.setattr(judging_module, "open_cts", lambda data: learned)
    labelled = labelled_cts(shared_data)
    assert {case.name for case in labelled} < {case.name for case in learned}
    assert {organ for case in labelled for organ in known_organs(case)} == set(ORGANS)


# Nothing is computed twice


@dataclass(frozen=True)
class Found:
    numbers: list[float]


def test_a_result_is_computed_once(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "a.json"
    assert kept(file, Found, lambda: Found([1.0, 2.5])) == Found([1.0, 2.5])
    assert kept(file, Found, lambda: pytest.fail("again")) == Found([1.0, 2.5])


def test_a_study_goes_on_where_it_was_stopped(small_data, tmp_path: Path, monkeypatch) -> None:
    done = []
    original = starts._Study.run

    def run(self, start, share, seed, report):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append((start, share, seed))
        return original(self, start, share, seed, report)

    monkeypatch.setattr(starts._Study, "run", run)
    weights = genesis_weights(tmp_path)
    arguments = (tmp_path, tmp_path / "out", weights, 1, QUICK, lambda line: None)
    with pytest.raises(KeyboardInterrupt):
        start_runs(*arguments, shares=(1.0, 0.5))
    monkeypatch.setattr(starts._Study, "run", original)
    shown = start_runs(*arguments, is_reported_only=True, shares=(1.0, 0.5))
    assert [(r.start, r.share, r.seed) for r in shown] == done
    runs = start_runs(*arguments, shares=(1.0, 0.5))
    assert [(r.start, r.share) for r in runs] == [("scratch", 1), ("genesis", 1), ("scratch", 0.5), ("genesis", 0.5)]
    assert runs[:2] == shown
    assert runs[2].annotated == pytest.approx(0.5)
    with pytest.raises(InputError, match="2 steps, not of 3"):
        start_runs(*arguments[:4], StudyRecipe(3, SIDES), lambda line: None, shares=(1.0,))


def genesis_weights(folder: Path, name: str = "genesis_starter") -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build(name, filters=FILTERS)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, folder / "genesis.pt")
    return folder / "genesis.pt"


def test_without_weights_only_scratch_is_run(small_data, tmp_path: Path) -> None:
    runs = start_runs(tmp_path, tmp_path / "out", None, 1, QUICK, lambda line: None, shares=(0.5,))
    assert [run.start for run in runs] == ["scratch"]


def test_weights_of_another_network_are_refused(small_data, tmp_path: Path) -> None:
    torch.save({"state_dict": UNetPlusPlus(features=(2,) * 6).state_dict()}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not genesis_starter"):
        start_runs(tmp_path, tmp_path / "out", tmp_path / "other.pt", 1, QUICK, lambda line: None)


def test_both_starts_differ_in_the_backbone_alone(tmp_path: Path, small_data, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(starts, "train", lambda network, *rest: seen.append(network.state_dict()) or [])
    monkeypatch.setattr(starts, "dice_by_organ", lambda *rest: {"liver": 1.0})
    weights = genesis_weights(tmp_path)
    start_runs(tmp_path, tmp_path / "out", weights, 1, QUICK, lambda line: None, shares=(1.0,))
    scratch, genesis = seen
    published = load(weights).state
    for key, value in genesis.items():
        if key.startswith("backbone."):
            assert torch.equal(value, published[key.removeprefix("backbone.")])
        else:
            assert torch.equal(value, scratch[key])
    assert any(not torch.equal(scratch[key], genesis[key]) for key in genesis)


# Pre-training


def test_pretraining_sees_cts_without_labels_and_is_done_once(tmp_path: Path, monkeypatch) -> None:
    cases = [replace(a_case("a", height=64), ct=a_ct(64)), replace(a_case("too small", height=20), ct=a_ct(20))]
    monkeypatch.setattr(pretraining, "open_cts", lambda data: cases)
    rule = replace(RECIPE.crops, size=(16, 16, 16), per_scan=4)
    recipe = replace(RECIPE, crops=rule, batch=2, precision="32-true")
    path = pretrained(tmp_path, tmp_path / "one", 2, lambda line: None, recipe)
    checkpoint = load(path, "genesis_starter")
    starts.initialise_from_genesis(OrganNetwork(), checkpoint)
    assert sorted(file.name for file in (tmp_path / "one" / "genesis.work").glob("*.npy")) == ["a.npy"]
    monkeypatch.setattr(pretraining, "open_cts", pytest.fail)
    assert pretrained(tmp_path, tmp_path / "one", 2, pytest.fail, recipe) == path
    for case in cases:
        case.labels[:] = 0
    monkeypatch.setattr(pretraining, "open_cts", lambda data: cases)
    again = load(pretrained(tmp_path, tmp_path / "two", 2, lambda line: None, recipe))
    assert all(torch.equal(value, again.state[key]) for key, value in checkpoint.state.items())


def a_ct(height: int) -> np.ndarray:
    rng = np.random.default_rng(height)
    return rng.integers(-1000, 300, (48, 48, height)).astype(np.int16)


# Levels


def test_both_networks_are_run_once_and_their_weights_can_be_pruned(small_data, tmp_path: Path) -> None:
    runs = depth_runs(tmp_path, tmp_path / "out", 1, QUICK, lambda line: None)
    assert [(run.network, list(run.dice)) for run in runs] == [("unetpp", ["L1", "L2", "L3", "L4"]), ("unet", ["unet"])]
    assert depth_runs(tmp_path, tmp_path / "out", 1, QUICK, pytest.fail) == runs
    saved = load(tmp_path / "out" / "depths" / "unetpp-0.pt", "unetpp")
    again = {
        name: dice_by_organ(part, judging_module.judge(tmp_path), SIDES)
        for name, part in parts(saved.network()).items()
    }
    assert again == runs[0].dice


def cost(name: str, parameters: int, cpu_s: float, peak_mb: float) -> dict[str, float | str]:
    return {"name": name, "parameters": parameters, "cpu_s": cpu_s, "wall_s": cpu_s, "peak_mb": peak_mb}


def test_report_of_the_levels_gives_multiples_of_the_unet(tmp_path: Path) -> None:
    names = ("unet", "L1", "L2", "L3", "L4")
    narrow = [cost(name, 1000 * (n + 1), 2.0 + n, 100.0 + 10 * n) for n, name in enumerate(names)]
    costs = Costs(48, narrow, [{**one, "parameters": 1_000_000} for one in narrow])
    runs = [
        DepthRun("unetpp", 0, 2, [], {name: {"liver": 0.1 * n} for n, name in enumerate(names) if n}),
        DepthRun("unet", 0, 2, [], {"unet": {"liver": 0.75}}),
    ]
    text = depths_report(runs, costs)
    assert "| U-Net | 0.750 | 1 k | 1.00 | 1.00 | 1,000 k | 1.00 | 1.00 |" in text
    assert "| UNet++ L2 | 0.200 | 3 k | 2.00 | 1.20 | 1,000 k | 2.00 | 1.20 |" in text
    draw_depths(tmp_path / "depths.png", runs, costs)
    assert (tmp_path / "depths.png").stat().st_size > 1000
    assert depth_costs(tmp_path / "nothing", None, is_reported_only=True) is None  # type: ignore[arg-type]


# The command


def test_command_refuses_a_folder_without_cases(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["annotation", str(tmp_path), "-o", str(tmp_path / "out")])
    assert ended.exit_code == 3
    assert "CASES.csv" in ended.output


def test_the_networks_of_the_starts_have_one_channel_per_organ() -> None:
    with torch.no_grad():
        assert OrganNetwork()(torch.rand(1, 1, 16, 8, 8)).shape == (1, len(ORGANS), 16, 8, 8)


def test_a_step_that_blows_up_does_not_spoil_the_network() -> None:
    class Fragile(nn.Conv3d):
        """Its gradient is not finite in every second step."""

        calls = 0

        def forward(self, image):
            self.calls += 1
            said = super().forward(image)
            return said * float("inf") if self.calls % 2 else said

    case = a_case()
    with repeatable(0):
        network = Fragile(1, len(ORGANS), 1)
        before = network.weight.clone()
        train(network, CropMaker([case], all_slices(case), SIDES, 0), StudyRecipe(steps=4, sides=SIDES))
    assert network.weight.isfinite().all()
    assert not torch.equal(network.weight, before)
