"""The click network as a file for ONNX Runtime, with half-precision weights."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch

from ...core.files import atomic_file
from ..refine.channels import CHANNELS
from ..starter.onnx_file import forget_origin, halve
from .network import MULTIPLE, ClickNet

INPUT, OUTPUT = "channels", "logits"


def export_onnx(network: ClickNet, target: Path) -> None:
    """Writes ``channels`` (1, 11, X, Y, Z) -> ``logits`` (1, 1, X, Y, Z); sides are multiples of 16."""
    sides = {2 + axis: MULTIPLE * torch.export.Dim(f"n{axis}", min=1, max=32) for axis in range(3)}
    program = torch.onnx.export(
        network.eval(),
        (torch.rand(1, CHANNELS, 3 * MULTIPLE, 2 * MULTIPLE, 4 * MULTIPLE),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=(sides,),
        dynamo=True,
        optimize=True,
        verbose=False,
    )
    assert program is not None  # it is None only for the exporter that dynamo=True replaces
    document = program.model_proto
    forget_origin(document)
    halve(document)
    onnx.checker.check_model(document)
    with atomic_file(target) as path:
        onnx.save(document, str(path))
