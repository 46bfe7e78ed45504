"""What the tests of the command line share: the command in this process or another, and CTs whose answer is known."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import GenesisSegmentLib
from GenesisSegmentLib.cli.app import main

LIVER, SPLEEN = 6, 1
BODY_HU, BLOB_HU, AIR_HU = 40, 300, -1000
BODY_MM, BLOB_MM, BLOB_AT = np.array([95.0, 75.0, 85.0]), 24.0, np.array([42.0, 18.0, -30.0])
"""Radii of the body; radius and RAS position of the blob, which lies off the middle along every axis."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on stdout, which must be nothing else."""
        return json.loads(self.out)


def run(*arguments: object) -> Ended:
    """The command in this process, with everything that ``main`` does about errors."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["genesis-segment", *map(str, arguments)])
        patch.setattr(os, "_exit", sys.exit)
        try:
            main()
        except SystemExit as end:
            return Ended(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command went on after its end")


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Another process that runs ``code`` and then the command with ``arguments``."""
    program = f"import sys\n{code}\nfrom GenesisSegmentLib.cli.app import main\nmain()"
    environment = os.environ | {"PYTHONPATH": str(Path(GenesisSegmentLib.__file__).parents[1])} | options.pop("env", {})
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **(pipes | options), env=environment)


def finish(process: subprocess.Popen[str]) -> Ended:
    """Waits for a process, which must end by itself."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, out, err)


HANG = """
import threading
from GenesisSegmentLib.engine import case
cases, write = [], case.write_overview
def hang(path, *others):
    cases.append(path)
    if len(cases) < {case}:
        return write(path, *others)
    path.write_bytes(b"half")
    print("half", file=sys.stderr, flush=True)
    threading.Event().wait()
case.write_overview = hang
"""
"""Code for :func:`start`: hangs while the picture of a case is half written, and says so."""


def wait_for_half(process: subprocess.Popen[str]) -> None:
    """Waits until ``HANG`` hangs."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line == "half\n":
            return
    raise AssertionError("".join(said))


def files_in(folder: Path) -> set[str]:
    """Every file in a folder and below it, hidden ones included."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def an_affine(spacing: tuple[float, float, float], shape: tuple[int, int, int], axes: np.ndarray) -> np.ndarray:
    """A grid around the origin whose axes run along the columns of ``axes``."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes @ np.diag(spacing)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape) - 1) / 2)
    return matrix


def positions(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """RAS positions (i, j, k, 3) in mm of all voxels."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def in_blob(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The voxels whose centre lies in the blob."""
    return np.linalg.norm(positions(shape, affine) - BLOB_AT, axis=-1) < BLOB_MM


def blob_ct(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """HU of a body with a bright blob on its left, in front and below the middle."""
    body = np.linalg.norm(positions(shape, affine) / BODY_MM, axis=-1) < 1
    voxels = np.where(body, BODY_HU, AIR_HU)
    voxels[in_blob(shape, affine)] = BLOB_HU
    return voxels.astype(np.int16)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Writes a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


def write_blob_ct(path: Path) -> Path:
    """A small blob CT on straight axes."""
    shape = (44, 36, 40)
    affine = an_affine((5.0, 5.0, 5.0), shape, np.eye(3))
    return write_nifti(path, blob_ct(shape, affine), affine)


def write_blob_model(path: Path, own: tuple[str, ...] = ()) -> Path:
    """A model in the form of the starter that takes everything brighter than 170 HU for liver and finds no spleen.

    Structures of one's ``own`` are the same as the liver.
    """
    count = 2 + len(own)
    numbers = np.zeros((1, count, 153), np.float32)  # first, second and third layer of the head, then their constants
    numbers[0, :, [0, 64]] = 1
    numbers[0, :, 128] = 40
    numbers[0, :, 152] = -100, *[-40 * 0.85] * (count - 1)
    kernel = np.zeros((8, 1, 1, 1, 1), np.float32)
    kernel[0] = 1
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "kernel"], ["features"], kernel_shape=[1, 1, 1]),
            helper.make_node("Identity", ["constant"], ["numbers"]),
        ],
        "blob",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, None, None, None])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 8, None, None, None]),
            helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [1, count, 153]),
        ],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(numbers, "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    facts = {
        "architecture": "starter",
        "classes": [SPLEEN, LIVER],
        "offered": [SPLEEN, LIVER],
        "own": list(own),
        "preprocessing": {
            "orientation": "RAS",
            "spacing_mm": [4.0, 4.0, 4.0],
            "intensity_hu": [-1000.0, -175.0, 250.0],
            "intensity_values": [0.0, 0.2, 1.0],
            "window": None,
            "overlap": None,
        },
    }
    path.with_suffix(".json").write_text(json.dumps(facts))
    return path
