"""Kills what keeps corrections at random moments, and looks whether anything was lost or is half there."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from durability.proof import SHARES, Proof, prove, table


def main() -> int:
    """Exit code 0 if nothing was lost and nothing was half there."""
    parser = argparse.ArgumentParser(prog="prove_durability", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="how often something is killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed kills at the same lines (default: 1)")
    parser.add_argument("--only", choices=sorted(SHARES), help="kill this alone, and leave faults of disks out")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="durability-") as folder:
        proof = prove(Path(folder), arguments.runs, arguments.seed, arguments.only, _say)
    print(table(proof))
    if arguments.json:
        arguments.json.write_text(json.dumps(proof.document(), indent=1) + "\n", encoding="utf-8")
    return 1 if proof.problems else 0


def _say(proof: Proof) -> None:
    line = f"{proof.runs} of {proof.planned} runs, {len(proof.problems)} problems, {proof.seconds:.0f} s"
    if sys.stderr.isatty():
        print(f"\r{line}", end="\n" if proof.runs == proof.planned else "", file=sys.stderr, flush=True)
    elif proof.runs % 20 == 0 or proof.runs == proof.planned:
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
