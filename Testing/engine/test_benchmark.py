"""The benchmark measures both ways, compares what they give, and fails when it differs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import typer
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from builders import ct_voxels
from GenesisSegmentLib.cli.benchmark import benchmark
from GenesisSegmentLib.core.errors import Cancelled, GenesisError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.memory_plan import GIB
from GenesisSegmentLib.engine import benchmark as package
from GenesisSegmentLib.engine.benchmark import (
    QUICK,
    Figure,
    Setting,
    all_agree,
    cases,
    measure,
    plot_figures,
    refining,
    starter_ct,
    tasks,
    whole,
)
from GenesisSegmentLib.engine.benchmark.levels import level_costs
from GenesisSegmentLib.engine.networks import unetpp, universal
from GenesisSegmentLib.engine.networks.unetpp import UNetPlusPlus
from learning_builders import a_network

TINY = replace(
    QUICK,
    head_side=8,
    aggregate_shape=(20, 18, 30),
    aggregate_window=12,
    window_side=16,
    conv_side=6,
    rounds=1,
    whole_shape=(17, 17, 17),
    whole_window=16,
    whole_spacing_mm=17.0,
    starter_shape=(48, 40, 40),
    growth_side=16,
    growth_steps=(1, 2),
    native_shape=(31, 29, 23),
    islands_side=32,
    liver_share=0.4,
    texture_shape=(120, 110, 100),
)
MEASURED = {"peak_bytes": 25.0 * 2**20, "whole_bytes": 300.0 * 2**20}
TIMES = {"first_s": 0.5, "first_cpu_s": 0.75, "written_s": 1.5, "written_cpu_s": 1.75}
METRICS = (
    "3-D convolution",
    "Universal head, 32",
    "Universal head, 5",
    "Windows to masks",
    "CT 16 x 18 x 20",
    "Universal model, phantom, windows run",
    "Universal U-Net",
    "largest difference of logits",
    "UNet++ at level 1 of 4, one window 32^3",
    "Starter, file",
    "Starter, CT of 48 x 40 x 40, ONNX Runtime: all written",
    "Growth of time with windows",
    "Growth of memory with classes",
    "Masks back to 31 x 29 x 23, 25 classes",
    "Largest piece of 25 organs, 32^3",
    "Synthetic lesions, 5 CTs",
    "Texture of lesions, 120 x 110 x 100 mm",
    "Whole CT, 17 x 17 x 17, 32 classes: fp32, overlap 0.25",
    "the part of overlap 0.25 against 0.5",
    "One organ of a whole CT",
)

app = typer.Typer()
app.command()(benchmark)


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    """A small CT in a file."""
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(ct_voxels((16, 18, 20)), np.diag([5.0, 5.0, 5.0, 1.0])), path)
    return path


@pytest.fixture(autouse=True)
def tiny(monkeypatch, ct, tmp_path) -> Setting:
    """Sizes that take seconds, and memory that need not be measured in processes of their own."""
    setting = replace(TINY, ct=ct)
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(package, "QUICK", setting)
    monkeypatch.setattr(refining, "_STROKES", 3)
    monkeypatch.setattr(unetpp, "FEATURES", (2, 2, 4, 4, 4, 2))
    monkeypatch.setattr(whole, "universal_network", lambda: a_network("unet", classes=32))
    plain = {"peak_bytes": 100.0 * 2**20}
    monkeypatch.setattr(measure, "run_child", lambda task, setting: MEASURED | (plain if is_plain(task) else {}))
    monkeypatch.setattr(starter_ct, "run_child", lambda task, setting: MEASURED | TIMES)
    return setting


def is_plain(task: str) -> bool:
    return "monai" in task or "published" in task or task in ("learn-plain", "level-wide-L4")


def test_a_pruned_unetpp_says_what_the_whole_one_says_at_its_head(monkeypatch) -> None:
    found = list(cases.levels(TINY, Job()))
    assert [figure.metric[:17] for figure in found[::3]] == [
        "UNet++ at level 1",
        "UNet++ at level 2",
        "UNet++ at level 3",
    ]
    assert [figure.unit for figure in found[:3]] == ["CPU s", "wall s", "MB"]
    assert all(figure.agreement == 1.0 for figure in found if figure.unit != "MB")
    assert all_agree(found)
    broken = UNetPlusPlus.prune

    def prune(network, level):
        part = broken(network, level)
        with torch.no_grad():
            part.get_submodule(f"final_conv_0_{level}").bias.add_(0.1)
        return part

    monkeypatch.setattr(UNetPlusPlus, "prune", prune)
    assert not all_agree(list(cases.levels(TINY, Job())))


def test_costs_of_the_levels_grow_with_the_level() -> None:
    costs = level_costs(TINY, True, lambda: None)
    assert [cost.name for cost in costs] == ["unet", "L1", "L2", "L3", "L4"]
    sizes = [cost.parameters for cost in costs[1:]]
    assert sizes == sorted(sizes)
    assert all(cost.cpu_s > 0 and cost.peak_mb == 25.0 for cost in costs)


def only(monkeypatch, case) -> None:
    monkeypatch.setattr(cases, "CASES", {case: 1.0})


def test_the_table_holds_every_metric(tmp_path, ct) -> None:
    done = CliRunner().invoke(app, ["--output", str(tmp_path / "out"), "--ct", str(ct)], env={"COLUMNS": "300"})
    assert done.exit_code == 0, done.output
    for metric in (*METRICS, "Starter, whole CT"):
        assert metric in done.output
    for unit in ("CPU s", "wall s", "MB", "GFLOP/s"):
        assert unit in done.output
    document = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert document["agrees"] is True
    assert document["machine"]["threads"] >= 1
    for figure in document["figures"]:
        assert "not measured" not in figure["note"]
        if figure["ratio"] is not None and "GFLOP" not in figure["unit"]:
            assert figure["ratio"] == pytest.approx(figure["plain"] / figure["ours"])
    memory = [figure for figure in document["figures"] if figure["unit"] == "MB"]
    assert [figure["ratio"] for figure in memory if figure["ratio"]] == [4.0] * 6
    for picture in ("benchmark.png", "growth.png"):
        assert (tmp_path / "out" / picture).stat().st_size > 1000
    for heading in ("Of floor", "at most"):
        assert heading in done.output


def test_the_fast_recipe_runs_no_more_windows_than_the_published_one(tiny) -> None:
    same, fewer = cases.lattice(tiny, Job())
    assert same.plain == fewer.plain == 72
    assert 0 < fewer.ours < same.ours <= same.plain
    for figure in (same, fewer):
        assert figure.unit == "windows"
        assert figure.ratio == figure.plain / figure.ours


def test_json_for_machines(monkeypatch, ct) -> None:
    only(monkeypatch, cases.head)
    done = CliRunner().invoke(app, ["--json", "--ct", str(ct)])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert {figure["unit"] for figure in document["figures"]} == {"CPU s", "wall s"}
    assert all(figure["agreement"] == 1.0 for figure in document["figures"])


def wrong_head(features: Tensor, numbers: Tensor) -> Tensor:
    return universal_head(features, numbers).flip(1)  # classes in the wrong order


def wrong_windows(image, setting):
    return ring(image, setting) & np.uint32(0x7FFFFFFF)  # one class lost


def wrong_input(volume):
    prepared = ours(volume)
    return replace(prepared, image=np.roll(prepared.image, 1, axis=0))  # one voxel to the side


universal_head, ring, ours = universal.apply_head, tasks.aggregate_by_ring, tasks.input_by_ours


@pytest.mark.parametrize(
    ("case", "module", "name", "wrong", "metric"),
    [
        (cases.head, universal, "apply_head", wrong_head, "Universal head"),
        (cases.windows, tasks, "aggregate_by_ring", wrong_windows, "Windows to masks"),
        (cases.resampling, tasks, "input_by_ours", wrong_input, "CT 16 x 18 x 20"),
    ],
)
def test_a_wrong_result_makes_the_command_fail(monkeypatch, ct, case, module, name, wrong, metric) -> None:
    only(monkeypatch, case)
    monkeypatch.setattr(module, name, wrong)
    done = CliRunner().invoke(app, ["--ct", str(ct)], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "Results differ from the published ones" in done.stderr
    assert metric in done.stderr


def test_a_wrong_onnx_runtime_makes_the_command_fail(monkeypatch, tiny, ct) -> None:
    from GenesisSegmentLib.engine.inference import runtimes

    only(monkeypatch, cases.starter)
    real = runtimes.apply_head
    monkeypatch.setattr(runtimes, "apply_head", lambda *arguments: -real(*arguments))
    if any(figure.plain is None for figure in cases.starter(tiny, Job())):
        pytest.skip("the starter is not installed")
    done = CliRunner().invoke(app, ["--ct", str(ct)])
    assert done.exit_code == 1
    assert "Starter" in done.stderr


def test_a_starter_that_is_not_there_is_said_and_no_failure(monkeypatch) -> None:
    from GenesisSegmentLib.core.errors import ModelError
    from GenesisSegmentLib.engine.models.store import ModelStore

    def missing(self, name):
        raise ModelError("The file of the model starter is missing.", "Install GenesisSegment again.")

    only(monkeypatch, cases.starter)
    monkeypatch.setattr(ModelStore, "resolve", missing)
    done = CliRunner().invoke(app, env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "not measured" in done.output
    assert "The file of the model starter is missing." in done.output


@pytest.mark.parametrize(("broken", "is_failure"), [("bf16", False), ("folded", True)])
def test_only_bfloat16_may_find_other_masks_and_is_off_then(monkeypatch, broken, is_failure) -> None:
    from GenesisSegmentLib.engine.inference import paths

    real = paths.forward
    monkeypatch.setattr(
        paths, "forward", lambda n, i, c, chosen: real(n, i, c, chosen) * (-1 if broken in chosen else 1)
    )
    compared = [f for f in cases.network(TINY, Job()) if f.agreement is not None and broken in f.metric]
    assert compared
    assert all(figure.note.startswith("off") for figure in compared)
    assert all_agree(compared) is not is_failure


def test_the_published_head_is_a_loop_over_the_classes() -> None:
    """The baseline itself against the plainest form."""
    torch.manual_seed(0)
    features, numbers = torch.randn(1, 8, 3, 4, 5), torch.randn(1, 6, 153)
    found = tasks.published_head(features, numbers)
    for index, p in enumerate(numbers[0]):
        y = F.relu(F.conv3d(features, p[0:64].reshape(8, 8, 1, 1, 1), p[136:144]))
        y = F.relu(F.conv3d(y, p[64:128].reshape(8, 8, 1, 1, 1), p[144:152]))
        y = F.conv3d(y, p[128:136].reshape(1, 8, 1, 1, 1), p[152:153])
        torch.testing.assert_close(found[:, index], y[:, 0], rtol=1e-4, atol=1e-4)


def test_both_ways_run_in_turn() -> None:
    order: list[str] = []
    found = measure.race(lambda: order.append("A"), lambda: order.append("B"), 3, lambda: None)
    assert "".join(order) == "ABABAB"
    assert found.plain.wall > 0
    assert found.ours.cpu > 0


def test_the_benchmark_can_be_cancelled() -> None:
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        cases.run(TINY, job)


def test_disagreement_is_below_the_least() -> None:
    figure = Figure("x", 2.0, 1.0, "s", 2.0, 0.98, "", 0.99)
    assert not figure.agrees
    assert not all_agree([Figure("y", 2.0, 1.0, "s", 2.0, None), figure])
    assert replace(figure, agreement=0.99).agrees
    assert replace(figure, agreement=None).agrees


def test_the_plot_can_be_drawn_without_any_ratio(tmp_path) -> None:
    plot_figures(tmp_path / "empty.png", [Figure.not_measured("x", "not installed")])
    assert (tmp_path / "empty.png").is_file()


def test_peak_memory_is_measured_in_a_process_of_its_own(monkeypatch) -> None:
    """The ring takes a fraction of what keeping all logits takes: here 32 classes of 1.2 million voxels."""
    monkeypatch.undo()
    setting = replace(TINY, aggregate_shape=(64, 64, 300), aggregate_window=32)
    figure = measure.memory_figure("m", ("aggregate-monai", "aggregate-ring"), setting, lambda: None)
    all_logits = 4 * 32 * 64 * 64 * 300 / measure.MIB
    assert figure.plain > all_logits
    assert figure.ours < all_logits / 2
    assert figure.plain * measure.MIB < GIB  # the parent's memory is not counted in
    assert figure.ratio == pytest.approx(figure.plain / figure.ours)


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a program that fails")
def test_a_process_that_fails_is_an_error(monkeypatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(measure.sys, "executable", shutil.which("false"))
    with pytest.raises(GenesisError, match="could not be measured"):
        measure.peak_of("aggregate-ring", TINY)


def test_learning_has_rows_of_time_and_memory_for_every_mode(monkeypatch) -> None:
    from GenesisSegmentLib.engine.benchmark import learning

    monkeypatch.setattr(learning, "_network", lambda: a_network("unet", classes=32))
    figures = cases.run(replace(TINY, learning_side=16), Job(), is_learning=True)
    for mode in ("all", "decoder", "head of it", "head, cached features"):
        rows = [f for f in figures if f": {mode}" in f.metric]
        assert {row.unit for row in rows} == {"CPU s", "wall s", "MB"}
        assert all(row.ratio == pytest.approx(row.plain / row.ours) for row in rows)
    assert len({f.plain for f in figures if f.unit == "CPU s"}) == 1  # all against the same plain steps
    assert any("Making a cached lesson" in f.metric for f in figures)


def test_a_step_of_the_benchmark_learns_only_what_its_mode_learns(monkeypatch) -> None:
    """What is timed is a real step: parameters change, frozen ones do not."""
    from GenesisSegmentLib.engine.benchmark import learning
    from GenesisSegmentLib.engine.learning.network import learns

    made = []
    monkeypatch.setattr(learning, "_network", lambda real=learning._network: made.append(real()) or made[-1])
    step = learning.our_step(replace(TINY, learning_side=16), "head")
    network = made[0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert "controller.weight" in changed
    assert all(learns(name, "head") for name in changed)
