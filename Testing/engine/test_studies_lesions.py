"""The study of synthetic lesions: what is learnt from, what is counted, and that a run is not repeated."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from GenesisSegmentLib.engine.studies import lesions
from GenesisSegmentLib.engine.studies.lesion_report import report
from GenesisSegmentLib.engine.studies.lesion_scans import Scan
from GenesisSegmentLib.engine.studies.lesions import LesionRun, Study, crops, lesion_runs, measured

SHAPE = (40, 36, 44)


def a_scan(name: str = "scan", lesion: tuple[int, ...] | None = None, unsure: bool = False) -> Scan:
    """A lung in soft tissue; with a ``lesion`` of 5 x 5 x 5 voxels around a place."""
    lungs = np.zeros(SHAPE, bool)
    lungs[6:34, 6:30, 6:38] = True
    ct = np.where(lungs, -850, 40).astype(np.int16)
    mask, doubtful = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    if lesion:
        mask[tuple(slice(m - 2, m + 3) for m in lesion)] = True
        ct[mask] = 40
    if unsure:
        doubtful[20:24, 20:24, 20:24] = True
    return Scan(name, ct, lungs, mask, doubtful)


class BrightIsLesion(nn.Module):
    """Calls everything above -300 HU a lesion."""

    def forward(self, image: Tensor) -> Tensor:
        """(1, 1, X, Y, Z) -> logits of the same shape."""
        return image


def test_what_lies_beyond_the_lungs_is_neither_seen_nor_counted() -> None:
    scan = a_scan(lesion=(20, 18, 20))
    found, false = measured(BrightIsLesion(), scan)
    assert [each.is_found for each in found] == [True]
    assert found[0].dice == 1.0
    assert false == 1  # the wall of the lung, which this network takes for a lesion as far as it is looked at
    shell = scan.near & ~scan.lungs
    mask = lesions.predicted(BrightIsLesion(), scan.ct, scan.near)
    assert (mask == (scan.lesion | shell)).all()


def test_findings_that_touch_no_lesion_are_counted_one_by_one() -> None:
    scan = a_scan(lesion=(20, 18, 20))
    scan.__dict__["near"] = scan.lungs  # without the wall
    scan.ct[8:11, 8:11, 8:11] = 40
    scan.ct[28:31, 24:27, 30:33] = 40
    scan.ct[30, 8, 8] = 40  # one voxel is too small
    found, false = measured(BrightIsLesion(), scan)
    assert false == 2
    assert found[0].dice == 1.0
    assert abs(found[0].mm - (6 / np.pi * 125 * 27) ** (1 / 3)) < 0.1


def test_crops_of_marked_scans_show_the_mark_and_others_a_planted_lesion() -> None:
    marked = list(islice(crops([a_scan(lesion=(20, 18, 20))], np.random.default_rng(0)), 12))
    planted = list(islice(crops([a_scan(unsure=True)], np.random.default_rng(0)), 12))
    for material in (marked, planted):
        with_lesion = [each for each in material if each[1].any()]
        assert len(with_lesion) >= 6
        for image, lesion, known in with_lesion:
            assert image.shape == lesion.shape == known.shape == (32, 32, 32)
            assert known[lesion].all()
            assert image[lesion].mean() > image[known & ~lesion].mean()
    assert all(lesion.sum() <= 125 for _image, lesion, _known in marked)
    assert any((~known & (image > -1)).any() for image, _lesion, known in planted)  # what is unsure teaches nothing


def test_a_network_learns_to_find_lesions_and_the_same_seed_gives_the_same() -> None:
    def losses(steps: int) -> float:
        with lesions.repeatable(3):
            network = lesions.make_network()
            return lesions.train(network, crops([a_scan()], np.random.default_rng(1)), steps)

    assert losses(12) == losses(12)
    assert losses(60) < losses(6)


def test_runs_that_are_there_are_not_run_again_and_no_patient_learns_what_it_judges(
    tmp_path: Path, monkeypatch
) -> None:
    study_scans = {name: a_scan(name, (20, 18, 20)) for name in lesions.MARKED}
    trained: list[set[str]] = []

    class Small(Study):
        marked = study_scans
        open = (a_scan("open"),)
        judge = a_scan("judge")

    def fake_crops(scans: list[Scan], rng: np.random.Generator):
        trained.append({scan.name for scan in scans})
        return crops(scans, rng)

    monkeypatch.setattr(lesions, "Study", Small)
    monkeypatch.setattr(lesions, "crops", fake_crops)
    monkeypatch.setattr(lesions, "PLANTED", 2)
    told: list[str] = []
    runs = lesion_runs(tmp_path, tmp_path, 1, 2, told.append)
    assert [run.away for run in runs] == ["all", *lesions.MARKED]
    assert trained[0] == {"open"}
    for run, names in zip(runs[1:], trained[1:], strict=True):
        assert names == set(lesions.MARKED) - {run.away}
        assert {each["scan"] for each in run.lesions} == {run.away}
    assert {each["scan"] for each in runs[0].lesions} == set(lesions.MARKED)
    again = lesion_runs(tmp_path, tmp_path, 1, 2, told.append)
    assert len(trained) == 5
    assert [vars(run) for run in again] == [vars(run) for run in runs]
    json.dumps([vars(run) for run in runs])


def test_the_table_counts_over_seeds() -> None:
    def run(way: str, seed: int, is_found: bool) -> LesionRun:
        each = {"scan": "a", "mm": 25.0, "is_found": is_found, "dice": 0.5}
        return LesionRun(way, "all", seed, 9, 0.1, [each], [each, {**each, "mm": 8.0}], {"a": seed})

    text = report([run("synthetic", 0, True), run("synthetic", 1, False), run("marked", 0, True)])
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines() if " | " in line}
    assert lines["marked by a person: a, 25 mm"] == ["1 of 2, Dice 0.50", "1 of 1, Dice 0.50 |"]
    assert lines["planted into a CT kept apart, under 10 mm"][0] == "1 of 2, Dice 0.50"
    assert lines["planted into a CT kept apart, 10 to 20 mm"][0] == ""
    assert lines["a"][0] == "0.5 (0 to 1)"
