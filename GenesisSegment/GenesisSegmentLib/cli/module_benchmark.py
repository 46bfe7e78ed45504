"""``genesis-segment benchmark --module``: the Slicer module's figures, measured by a child process.

The command line itself imports nothing of Slicer.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from ..core.errors import GenesisError
from ..core.files import atomic_file
from .console import err, out, print_json

_MODULE = "GenesisSegmentLib.mrml.benchmark"


def module_benchmark(full: bool, output: Path | None, as_json: bool) -> bool:
    """Measures and prints; whether every target was reached.

    Raises:
        GenesisError: slicer-core is not installed, or the measuring failed.
        OutputError: the file could not be written.
    """
    document = _measured(full)
    if output:
        with atomic_file(output / "module.json") as temporary:
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        err.print(f"Figures: {output / 'module.json'}", soft_wrap=True, highlight=False)
    if as_json:
        print_json(document)
        return all(row["is_met"] for row in document["rows"])
    by = " x ".join(map(str, document["shape"]))
    out.print(f"CT of {by} voxels, 32 classes; times are processor time where not said otherwise")
    out.print(target_table(document["rows"]))
    if not full:
        out.print("[dim]The targets are for --full: 512 x 512 x 300.[/]")
    return all(row["is_met"] for row in document["rows"])


def target_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row per figure, its target beside it."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("What", overflow="fold")
    for heading in ("Plain, CPU s", "Ours, CPU s", "Wall s", "Figure", "Target"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        figure = _number(row["value"]) if row["is_met"] else f"[bold red]{_number(row['value'])}[/]"
        numbers = (_number(row[key]) for key in ("plain", "ours", "wall_s"))
        target = f"<= {_number(row['target'])}" if row["target"] is not None else ""
        table.add_row(escape(row["name"]), *numbers, figure, target, row["unit"], f"[dim]{escape(row['note'])}[/]")
    return table


def _measured(full: bool) -> dict[str, Any]:
    if importlib.util.find_spec("slicer_core") is None:
        raise GenesisError(
            "The module's figures need Slicer's libraries (the package slicer-core), which are not installed.",
            'Install it: pip install "slicer-core>=5.12.4,<5.14"',
        )
    library = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", _MODULE, *(["--full"] if full else [])]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except (IndexError, ValueError):
        raise GenesisError(
            f"The module could not be measured: exit code {done.returncode}.", "See the messages above."
        ) from None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
