"""What the study of annotation says: the share that is needed, what is saved, the tables and the picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from GenesisSegmentLib.engine.studies.__main__ import app
from GenesisSegmentLib.engine.studies.report import draw_starts, saving_sentence, starts_report
from GenesisSegmentLib.engine.studies.savings import saved_share, share_needed
from GenesisSegmentLib.engine.studies.starts import StartRun


def test_the_share_that_is_needed_is_read_between_two_measured_ones() -> None:
    assert share_needed({1.0: 0.9, 0.5: 0.8, 0.25: 0.6}, 0.8) == 0.5
    assert share_needed({1.0: 0.9, 0.5: 0.8, 0.25: 0.6}, 0.85) == pytest.approx(0.75)
    assert share_needed({1.0: 0.9, 0.5: 0.8, 0.25: 0.6}, 0.7) == pytest.approx(0.375)


def test_a_goal_that_is_reached_at_once_or_never() -> None:
    scores = {1.0: 0.9, 0.5: 0.8, 0.1: 0.7}
    assert share_needed(scores, 0.7) == 0.1
    assert share_needed(scores, 0.2) == 0.1
    assert share_needed(scores, 0.91) is None
    assert share_needed(scores, 0.9) == 1.0
    assert share_needed({}, 0.5) is None


def test_a_lucky_small_share_does_not_count_when_a_larger_one_falls_short() -> None:
    assert share_needed({1.0: 0.9, 0.5: 0.7, 0.1: 0.85}, 0.8) == pytest.approx(0.75)


def test_what_is_saved_is_counted_against_all_labels_from_scratch() -> None:
    assert saved_share({1.0: 0.9, 0.5: 0.8}, {1.0: 0.8, 0.5: 0.1}) == 0.5
    assert saved_share({1.0: 0.7, 0.5: 0.6}, {1.0: 0.8}) is None
    with pytest.raises(ValueError, match="all labels"):
        saved_share({1.0: 0.9}, {0.5: 0.8})


def start_run(start: str, share: float, seed: int, value: float) -> StartRun:
    return StartRun(start, share, seed, 2, share, [1.0], {"liver": value, "spleen": value})  # type: ignore[arg-type]


RUNS = [
    start_run("scratch", 1.0, 0, 0.8),
    start_run("scratch", 1.0, 1, 0.9),
    start_run("scratch", 0.5, 0, 0.5),
    start_run("genesis", 1.0, 0, 0.9),
    start_run("genesis", 1.0, 1, 0.88),
    start_run("genesis", 0.5, 0, 0.8),
]


def test_report_of_the_starts_gives_means_ranges_and_what_is_saved(tmp_path: Path) -> None:
    text = starts_report(RUNS)
    assert "| 100% | 100% | 0.850 (0.800 to 0.900) | 0.890 (0.880 to 0.900) | +0.040 (-0.020 to +0.100) |" in text
    assert "| 50% | 50% | 0.500 | 0.800 | +0.300 |" in text
    assert "| liver | 0.85 | 0.89 | 0.50 | 0.80 |" in text
    # 0.85 lies between 0.80 at 50 % and 0.89 at 100 %
    assert "78% of the labels bring what all of them bring from scratch (saved, by seed: 50%, none;" in text
    assert "From scratch, 100% of them bring as much" in text
    draw_starts(tmp_path / "starts.png", RUNS)
    assert (tmp_path / "starts.png").stat().st_size > 1000


def test_report_says_when_nothing_is_saved_or_too_little_is_known() -> None:
    worse = [start_run("scratch", 1.0, 0, 0.9), start_run("genesis", 1.0, 0, 0.8)]
    assert "no share of the labels reaches" in saving_sentence(worse)
    assert "Too little" in saving_sentence(RUNS[:3])
    redundant = [*worse, start_run("scratch", 0.5, 0, 0.91), start_run("genesis", 1.0, 1, 1.0)]
    assert "From scratch, 50% of them bring as much" in saving_sentence(redundant)
    at_once = [start_run("scratch", 1.0, 0, 0.5), start_run("genesis", 1.0, 0, 0.8), start_run("genesis", 0.1, 0, 0.6)]
    assert "at most 10% of the labels" in saving_sentence(at_once)


def test_command_shows_what_was_run(tmp_path: Path) -> None:
    folder = tmp_path / "starts"
    folder.mkdir()
    for run in RUNS:
        (folder / f"{run.start}-{round(100 * run.share)}-{run.seed}.json").write_text(json.dumps(vars(run)))
    ended = CliRunner().invoke(app, ["annotation", str(tmp_path), "-o", str(tmp_path), "--report-only"])
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "annotation.md").read_text() == starts_report(RUNS)
    assert (tmp_path / "annotation.png").is_file()
