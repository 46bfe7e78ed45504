"""Model versions for tests: descriptions of the starter, with a few bytes in place of its file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from GenesisSegmentLib.engine.learning.versions import Version
from GenesisSegmentLib.engine.models.catalogue import load_catalogue

ENTRY = load_catalogue()["starter"]


def fill(content: bytes = b"weights") -> Callable[[Path], None]:
    """Brings the file of :func:`a_version` into the folder of a version."""

    def write(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(content)

    return write


def a_version(content: bytes = b"weights", **changes: Any) -> Version:
    """A promoted version of the starter whose file holds ``content``."""
    made = Version(
        title="Starter, learned further",
        parent="starter",
        base_model="starter",
        state="promoted",
        facts=ENTRY.facts,
        labels=("liver",),
        file="model.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        created="2026-01-01T00:00:00+00:00",
        licence=ENTRY.licence,
    )
    return replace(made, **changes)
