"""Every failure has one of the known codes, by which others decide and could say it in another language."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from GenesisSegmentLib.core import errors
from GenesisSegmentLib.core.errors import GenesisError
from GenesisSegmentLib.core.protocol import FAILURE_CODES, Failure, decode
from GenesisSegmentLib.worker.faults import explained

LIBRARY = Path(errors.__file__).parents[1]


def types_of_errors(kind: type = GenesisError) -> list[type]:
    return [kind, *(found for child in kind.__subclasses__() for found in types_of_errors(child))]


def test_each_type_of_error_has_a_code_of_its_own_that_is_known():
    found = [kind for kind in types_of_errors() if kind.__module__ == errors.__name__]
    codes = [kind.code for kind in found]
    assert len(found) == 11
    assert len(set(codes)) == len(codes)
    importlib.import_module("GenesisSegmentLib.engine.postprocess")  # has one of its own
    rooms = tuple(f"GenesisSegmentLib.{room}." for room in ("core", "engine", "worker"))
    assert {kind.code for kind in types_of_errors() if kind.__module__.startswith(rooms)} <= FAILURE_CODES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModuleNotFoundError("No module named 'monai'", name="monai"), "setup"),
        (ImportError("DLL load failed", name="torch"), "setup"),
        (MemoryError(), "resource"),
        (RuntimeError("CUDA out of memory"), "resource"),
        (RuntimeError("CUDA error: an illegal memory access"), "resource"),
        (ZeroDivisionError(), "fault"),
    ],
)
def test_error_without_a_type_has_a_known_code(error, code):
    assert explained("a", error, "").code == code
    assert code in FAILURE_CODES


@pytest.mark.parametrize(
    "line", [b'{"v":2,"type":"hello","id":"a"}', b'{"v":1,"type":"x","id":"a"}', b'{"v":1,"type":"hello"}']
)
def test_message_that_is_not_understood_has_a_known_code(line):
    assert decode(line).code in FAILURE_CODES


def test_no_code_is_written_that_is_not_known():
    written = []
    for file in [path for room in ("core", "worker") for path in (LIBRARY / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_failure = isinstance(node, ast.Call) and getattr(node.func, "id", "") == Failure.__name__
            if is_failure and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                written.append(node.args[1].value)
    assert len(written) >= 8
    assert set(written) <= FAILURE_CODES
