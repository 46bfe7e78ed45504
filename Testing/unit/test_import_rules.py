"""The arrows between the rooms of the library, read from the imports themselves."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import GenesisSegmentLib

LIBRARY = Path(GenesisSegmentLib.__file__).parent
PACKAGE = LIBRARY.name
MODULES = sorted(LIBRARY.rglob("*.py"))

ROOMS = {
    "core": {"core"},
    "engine": {"engine", "core"},
    "worker": {"worker", "engine", "core"},
    "cli": {"cli", "engine", "core"},
    "mrml": {"mrml", "core"},
    "ui": {"ui", "mrml", "core"},
}
SLICER = {"slicer", "vtk", "vtkmodules", "qt", "ctk", "PythonQt"}
QT = {"qt", "ctk", "PythonQt"}
DEEP_LEARNING = {"torch", "monai", "onnxruntime"}
FORBIDDEN = {
    "core": SLICER | DEEP_LEARNING,
    "engine": SLICER,
    "worker": SLICER,
    "cli": SLICER,
    "mrml": QT | DEEP_LEARNING,
    "ui": DEEP_LEARNING,
}
NEEDS_THE_BENCH = {"ui", "mrml"}
"""Imported by the tests of these rooms, on Slicer's libraries and the stand-ins of Qt."""
LOADERS = {"import_module", "__import__", "optional_import"}
START_UP_IS_FREE_OF = ("torch", "monai", "matplotlib", "highdicom")


def imported_names(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Absolute dotted names that a module imports, anywhere in it; ``package`` is the one it lies in."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = (*base, *(node.module.split(".") if node.module else ()))
            yield from (".".join((*stem, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in LOADERS:
                yield str(node.args[0].value)


def breaches(source: str, package: tuple[str, ...]) -> list[str]:
    """The imports of a module that its room does not allow."""
    room = package[1] if len(package) > 1 else ""
    found = []
    for name in imported_names(source, package):
        top, *rest = name.split(".")
        if top == PACKAGE:
            target = rest[0] if rest and rest[0] in ROOMS else ""
            allowed = not target or target in ROOMS.get(room, set())
        elif room == "core":
            allowed = top in sys.stdlib_module_names or top == "numpy"
        else:
            allowed = top not in FORBIDDEN.get(room, SLICER | DEEP_LEARNING)
        if not allowed:
            found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_module_imports_only_what_its_room_allows(path):
    package = (PACKAGE, *path.relative_to(LIBRARY).parent.parts)
    assert breaches(path.read_text(encoding="utf-8"), package) == []


def test_every_module_lies_in_a_known_room():
    rooms = {path.relative_to(LIBRARY).parts[0] for path in MODULES} - {"__init__.py"}
    assert rooms <= set(ROOMS)


@pytest.mark.parametrize(
    ("room", "source", "breach"),
    [
        ("core", "import scipy", "scipy"),
        ("core", "from ..engine import networks", "GenesisSegmentLib.engine.networks"),
        ("core", "def f():\n    import torch.nn", "torch.nn"),
        ("engine", "import vtk", "vtk"),
        ("engine", "from GenesisSegmentLib.cli import app", "GenesisSegmentLib.cli.app"),
        ("engine", "from .. import worker", "GenesisSegmentLib.worker"),
        ("cli", "from ..worker.loop import run", "GenesisSegmentLib.worker.loop.run"),
        ("worker", "import slicer", "slicer"),
        ("ui", "from GenesisSegmentLib.engine.measure import measure", "GenesisSegmentLib.engine.measure.measure"),
        ("ui", "import importlib\nimportlib.import_module('torch')", "torch"),
        ("mrml", "import qt", "qt"),
        ("mrml", "import onnxruntime as ort", "onnxruntime"),
    ],
)
def test_breach_of_each_rule_is_found(room, source, breach):
    assert breaches(source, (PACKAGE, room)) == [breach]


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("core", "import json\nimport numpy as np\nfrom .errors import InputError\nfrom . import geometry"),
        ("engine", "import torch\nfrom ..core import geometry\nfrom .. import core"),
        ("ui", "import qt, slicer\nfrom ..mrml import volumes"),
        ("mrml", "import vtk, slicer\nfrom ..core.geometry import Geometry"),
    ],
)
def test_what_a_room_may_import_is_no_breach(room, source):
    assert breaches(source, (PACKAGE, room)) == []


def test_every_module_can_be_imported():
    for path in MODULES:
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        if parts[-1] != "__main__" and parts[0] not in NEEDS_THE_BENCH:
            importlib.import_module(".".join((PACKAGE, *(part for part in parts if part != "__init__"))))


def test_start_of_the_command_line_loads_no_heavy_package():
    code = "import sys, GenesisSegmentLib.cli.app; print(*(m for m in sys.argv[1:] if m in sys.modules))"
    command = [sys.executable, "-c", code, *START_UP_IS_FREE_OF]
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
