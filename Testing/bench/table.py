"""`slicer_names.json`: the names of Slicer, CTK and qMRML that may be used, and where each was seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TABLE: dict[str, Any] = json.loads((Path(__file__).parent / "slicer_names.json").read_text(encoding="utf-8"))


def lineage(cls: str) -> list[str]:
    """A class and its bases as far as the table has them, then the first that it has not (a class of Qt)."""
    found = [cls]
    while found[-1] in TABLE["classes"]:
        found.append(TABLE["classes"][found[-1]]["base"])
    return found


def signals(cls: str) -> set[str]:
    """Signatures of the signals that a class of the table and its bases in the table have."""
    return {each for name in lineage(cls)[:-1] for each in TABLE["classes"][name]["signals"]}
