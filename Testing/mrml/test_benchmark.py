"""The module's benchmark on a small CT: it measures every part, and the command line shows targets beside figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import GenesisSegmentLib
from GenesisSegmentLib.core.errors import GenesisError

LIBRARY = Path(GenesisSegmentLib.__file__).parents[1]
TARGETS = {"of plain": 2, "MB": 1, "ms": 16}


@pytest.fixture(scope="module")
def document():
    command = [sys.executable, "-m", "GenesisSegmentLib.mrml.benchmark", "--shape", "48", "48", "40"]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def test_every_part_is_measured(document):
    assert document["shape"] == [48, 48, 40]
    units = [row["unit"] for row in document["rows"]]
    assert {unit: units.count(unit) for unit in set(units)} == TARGETS
    times = [row for row in document["rows"] if row["unit"] != "MB"]
    assert all(row["value"] > 0 and row["wall_s"] > 0 for row in times)


def test_figure_beyond_its_target_is_marked():
    from GenesisSegmentLib.mrml.benchmark.row import Row

    assert Row("a", 16.0, "ms", 16.0).is_met
    assert not Row("a", 16.1, "ms", 16.0).is_met
    assert not Row("a", None, "ms", 16.0).is_met
    assert Row("a", 99.0, "ms").is_met


def test_table_of_the_command_line_shows_target_and_figure(document):
    from rich.console import Console

    from GenesisSegmentLib.cli.module_benchmark import target_table

    console = Console(width=300, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(target_table(document["rows"]))
    text = console.export_text()
    assert "<= 0.05" in text
    assert all(row["name"] in text for row in document["rows"])


def test_command_line_says_what_is_missing(monkeypatch):
    import importlib.util

    from GenesisSegmentLib.cli.module_benchmark import module_benchmark

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GenesisError, match="slicer-core") as caught:
        module_benchmark(False, None, True)
    assert "pip" in caught.value.remedy
