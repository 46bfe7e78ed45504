"""The benchmark of whole CTs: what is raced is equal, the look finds the organ, rows are there as they are measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from GenesisSegmentLib.cli.benchmark import benchmark
from GenesisSegmentLib.core.errors import InputError
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.engine import benchmark as package
from GenesisSegmentLib.engine.benchmark import QUICK, Curve, Figure, all_agree, cases, plot_curves, starter_ct, whole
from GenesisSegmentLib.engine.benchmark.rate import gflop_of, rates
from GenesisSegmentLib.engine.inference.preprocess import model_input
from GenesisSegmentLib.engine.inference.sweep import Lattice
from GenesisSegmentLib.engine.networks import build
from GenesisSegmentLib.engine.networks.universal import UniversalModel
from learning_builders import a_network

TINY = replace(
    QUICK,
    whole_shape=(17, 17, 17),
    whole_window=16,
    whole_spacing_mm=17.0,
    conv_side=6,
    rounds=1,
    starter_shape=(48, 40, 40),
)

app = typer.Typer()
app.command()(benchmark)


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(package, "QUICK", TINY)
    monkeypatch.setattr(package, "FULL", TINY)
    monkeypatch.setattr(whole, "universal_network", small_network)


def small_network() -> UniversalModel:
    torch.manual_seed(0)
    return a_network("unet", classes=32)


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "universal_network", small_network)
        return list(whole.whole_ct(TINY, Job()))


def of(figures, *words: str) -> Figure:
    (found,) = [f for f in figures if all(word in f"{f.metric} {f.unit}" for word in words)]
    return found


def test_all_ways_are_measured_against_the_published_one(figures) -> None:
    half, quarter = of(figures, "fp32, overlap 0.5", "CPU"), of(figures, "fp32, overlap 0.25", "CPU")
    assert half.plain == quarter.plain
    assert half.agreement > 0.999
    assert half.least_agreement == whole.LEAST_EQUAL
    assert quarter.least_agreement == 0
    assert quarter.target == 12
    assert "random weights" in quarter.note
    part = of(figures, "the part of overlap")
    assert (part.plain, part.ours) == (half.ours, quarter.ours)
    assert part.ratio == pytest.approx(part.plain / part.ours)
    assert all_agree(figures)
    for figure in figures:
        if figure.unit == "CPU s" and "the part" not in figure.metric:
            assert figure.floor > 0
            assert figure.times_floor == pytest.approx(figure.ours / figure.floor)


def test_one_organ_takes_one_window_and_is_the_organ(figures) -> None:
    organ = of(figures, "One organ", "fp32", "CPU")
    assert organ.note.startswith("1 windows")
    assert organ.agreement == 1.0
    assert organ.plain == of(figures, "fp32, overlap 0.5", "CPU").plain


def test_the_quick_ct_is_between_boards_and_takes_fewer_windows_by_the_fast_recipe() -> None:
    scene, spec = whole.abdomen(QUICK), whole.spec_of(QUICK)
    assert scene.ct.voxels.shape == scene.spleen.shape == QUICK.whole_shape
    assert scene.spleen.any()
    assert (scene.marked.voxels[scene.spleen] > scene.marked.voxels[~scene.spleen].max()).all()
    prepared = model_input(scene.marked, spec)
    assert prepared.image.shape == QUICK.whole_shape  # the boards are in the published crop
    counts = [Lattice(prepared, spec.window, overlap, overlap == 0.5).everywhere().windows for overlap in (0.5, 0.25)]
    assert counts == [18, 8]


def test_wrong_masks_fail_the_command_and_slow_ones_do_not(monkeypatch) -> None:
    monkeypatch.setattr(cases, "CASES", {cases.whole_ct: 1.0})
    done = CliRunner().invoke(app, ["--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert any(f["target"] and f["ratio"] < f["target"] for f in document["figures"])  # far from it, at this size
    real = whole.our_bits
    monkeypatch.setattr(whole, "our_bits", lambda *given: real(*given) ^ np.uint32(1))  # one class inside out
    done = CliRunner().invoke(app, [], env={"COLUMNS": "300"})
    assert done.exit_code == 1
    assert "overlap 0.5" in done.stderr


def one_organ() -> list[Figure]:
    scene, network = whole.abdomen(TINY), whole.universal_network()
    return list(whole._one_organ(TINY, scene, whole.spec_of(TINY), network, whole.Cost(1.0, 1.0), Job()))


def test_a_wrong_look_costs_time_and_loses_nothing(monkeypatch) -> None:
    real = whole._Seen.find

    def elsewhere(self, volume, classes, advance):
        found = real(self, volume, classes, advance)
        return replace(found, bits=np.roll(found.bits, 8, axis=2))

    monkeypatch.setattr(whole._Seen, "find", elsewhere)
    figures = one_organ()
    assert all(figure.agreement == 1.0 for figure in figures)
    assert not any(figure.note.startswith("1 windows") for figure in figures)


def test_a_lost_organ_fails(monkeypatch) -> None:
    real = whole._spleen

    def lost(segmenter, volume):
        result = real(segmenter, volume)
        return replace(result, segmentation=replace(result.segmentation, bits=result.segmentation.bits * np.uint32(0)))

    monkeypatch.setattr(whole, "_spleen", lost)
    assert not all_agree(one_organ())


def a_case(setting, job):
    yield Figure("one", 2.0, 1.0, "s", 2.0, None)
    job.check()
    yield Figure("two", 3.0, 1.0, "s", 3.0, None)


def test_every_row_is_written_as_soon_as_it_is_there(monkeypatch, tmp_path) -> None:
    def stopped(setting, job):
        yield Figure("one", 2.0, 1.0, "s", 2.0, None)
        job.cancel()
        job.check()

    monkeypatch.setattr(cases, "CASES", {stopped: 1.0})
    done = CliRunner().invoke(app, ["--full", "-o", str(tmp_path)])
    assert done.exit_code != 0
    document = json.loads((tmp_path / "benchmark.json").read_text())
    assert [figure["metric"] for figure in document["figures"]] == ["one"]
    assert "one: 2 -> 1 s 2x" in done.stderr


def test_one_case_can_be_measured_alone(monkeypatch) -> None:
    monkeypatch.setattr(cases, "CASES", {a_case: 1.0, cases.head: 1.0})
    assert [figure.metric for figure in cases.run(TINY, Job(), only=["a_case"])] == ["one", "two"]
    with pytest.raises(InputError, match="no case nonsense"):
        cases.run(TINY, Job(), only=["a_case", "nonsense"])


def test_the_floor_is_the_arithmetic_of_the_folded_network() -> None:
    """FLOPs of a 96^3 window with 32 classes: convolutions 1116 G, head 8.6 G."""
    assert gflop_of(build("universal_unet"), 96) == pytest.approx(1124.3, abs=1)
    assert gflop_of(build("universal_unet"), 96, (0,)) == pytest.approx(1116.8, abs=1)
    machine = rates(6, 1)
    assert machine.gflop == pytest.approx(2 * 64 * 64 * 27 * 6**3 / 1e9)
    assert machine.share_equal > 0.9999
    assert machine.gflop_per_cpu_s(False) == pytest.approx(machine.gflop / min(machine.plain.cpu, machine.last.cpu))


def test_the_power_of_growth() -> None:
    assert Curve("n", "s", (1.0, 2.0, 8.0), (3.0, 6.0, 24.0)).power == pytest.approx(1)
    assert Curve("n", "s", (1.0, 4.0), (5.0, 5.0)).power == pytest.approx(0)
    assert Curve("n", "s", (2.0, 4.0), (1.0, 4.0)).power == pytest.approx(2)


def test_only_growth_has_a_plot_of_growth(tmp_path) -> None:
    plain = Figure("x", 2.0, 1.0, "s", 2.0, None)
    assert not plot_curves(tmp_path / "none.png", [plain])
    assert not (tmp_path / "none.png").exists()
    grown = [replace(plain, curve=Curve("n", "s", (1.0, 2.0), (3.0, 6.0)))] * 4
    assert plot_curves(tmp_path / "growth.png", [plain, *grown])
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_the_starter_s_way_to_files_is_measured_in_a_process_of_its_own(monkeypatch) -> None:
    figures = list(starter_ct.starter_ct(TINY, Job()))
    if any(figure.ours is None for figure in figures):
        pytest.skip(figures[-1].note)
    first, written = of(figures, "first mask", "wall"), of(figures, "all written", "wall")
    assert 0 < first.ours < written.ours
    assert of(figures, "memory").ours > 50
    assert of(figures, "file").ours <= of(figures, "file").limit == 10
    assert all(figure.limit is None for figure in figures if "file" not in figure.metric)  # meant for the full size
    measured = {"first_s": 1, "first_cpu_s": 1, "written_s": 2, "written_cpu_s": 2, "whole_bytes": 3}
    monkeypatch.setattr(starter_ct, "run_child", lambda task, setting: measured)
    full = list(starter_ct.starter_ct(replace(TINY, whole_window=96), Job()))
    assert of(full, "first mask", "wall").limit == 2
    assert of(full, "all written", "wall").limit == 10
