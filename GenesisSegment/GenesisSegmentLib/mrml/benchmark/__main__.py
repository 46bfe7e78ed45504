"""Measures each part in a process of its own and prints the rows as JSON.

Needs Slicer's libraries without the application: the package slicer-core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

QUICK, FULL = (256, 256, 150), (512, 512, 300)
PARTS = ("whole_results", "memory", "local_writes", "callbacks", "commands", "prompts")


def main() -> int:
    """Exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="GenesisSegmentLib.mrml.benchmark", description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=QUICK, metavar="N")
    parser.add_argument("--full", action="store_true", help=f"the size that the targets are for: {FULL}")
    parser.add_argument("--part", choices=PARTS, help="this part alone, in this process")
    arguments = parser.parse_args()
    shape = FULL if arguments.full else tuple(arguments.shape)
    rows = (
        _measured(arguments.part, shape) if arguments.part else [row for part in PARTS for row in _child(part, shape)]
    )
    print(json.dumps({"shape": list(shape), "rows": rows}))
    return 0 if all(row["is_met"] for row in rows) else 1


def _measured(part: str, shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    from . import prompts, results, running

    home = {"callbacks": running, "commands": running, "prompts": prompts}.get(part, results)
    work = getattr(home, part)
    return [{**asdict(row), "is_met": row.is_met} for row in work(shape)]


def _child(part: str, shape: tuple[int, int, int]) -> list[dict[str, Any]]:
    """The rows of a part, measured in a fresh process, whose memory no other part has grown."""
    print(f"Measuring: {part.replace('_', ' ')}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", __package__, "--part", part, "--shape", *map(str, shape)]
    library = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])["rows"]
    except (IndexError, KeyError, ValueError):
        raise SystemExit(f"{part} could not be measured: exit code {done.returncode}.") from None


if __name__ == "__main__":
    sys.exit(main())
