"""The starter as one file for both runtimes: ONNX with half-precision weights that keep their torch names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from ...core.errors import ModelError
from ...core.files import atomic_file
from ..networks.universal import UniversalModel

PREFIX = "model."
HALF = "half:"
_SMALLEST_HALF = 1024
"""Tensors with fewer numbers stay in single precision: norms and biases cost nothing and matter more."""


class _HeadInputs(nn.Module):
    """What the file computes: the head itself is applied outside, for the requested classes only."""

    def __init__(self, model: UniversalModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.features(image)


def export_onnx(model: UniversalModel, target: Path, example: tuple[int, int, int] = (32, 40, 48)) -> None:
    """Writes ``image`` (1, 1, X, Y, Z) -> ``features`` (1, 8, X, Y, Z), ``numbers`` (1, classes, 153), any X, Y, Z."""
    side = {2 + axis: torch.export.Dim.DYNAMIC for axis in range(3)}
    program = torch.onnx.export(
        _HeadInputs(model).eval(),
        (torch.rand(1, 1, *example),),
        input_names=["image"],
        output_names=["features", "numbers"],
        dynamic_shapes=(side,),
        dynamo=True,
        optimize=True,
        verbose=False,
    )
    assert program is not None  # it is None only for the exporter that dynamo=True replaces
    document = program.model_proto
    forget_origin(document)
    _keep_folded(document, model)
    halve(document)
    onnx.checker.check_model(document)
    with atomic_file(target) as path:
        onnx.save(document, str(path))


def load_onnx_weights(path: Path) -> dict[str, Tensor]:
    """The torch state dict that an exported file holds, in single precision.

    Raises:
        ModelError: the file is damaged or was not written by :func:`export_onnx`.
    """
    try:
        document = onnx.load(str(path))
    except Exception as error:  # protobuf's decoding errors share no public base with onnx's
        raise ModelError(f"{path.name} is not a readable ONNX file: {error}", "Install the model again.") from error
    weights = {}
    for tensor in document.graph.initializer:
        name = tensor.name.removeprefix(HALF)
        if name.startswith(PREFIX):
            weights[name.removeprefix(PREFIX)] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    if not weights:
        raise ModelError(f"{path.name} holds no weights under their torch names.", "Use --runtime onnx with this file.")
    return weights


def forget_origin(document: onnx.ModelProto) -> None:
    """Drops what the exporter notes about source lines: paths of the machine it ran on."""
    for node in document.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del document.graph.value_info[:]


def _keep_folded(document: onnx.ModelProto, model: UniversalModel) -> None:
    """Adds the parameters that the exporter merged into constants, unused by the graph, so that none is missing."""
    there = {tensor.name for tensor in document.graph.initializer}
    for name, value in model.state_dict().items():
        if PREFIX + name not in there:
            document.graph.initializer.append(numpy_helper.from_array(value.detach().numpy(), PREFIX + name))


def halve(document: onnx.ModelProto) -> None:
    """Stores large weights in half precision; a Cast at the start brings each back, and is folded at load."""
    graph = document.graph
    casts = []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size >= _SMALLEST_HALF:
            half = numpy_helper.from_array(values.astype(np.float16), HALF + tensor.name)
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT))
            graph.initializer.remove(tensor)
            graph.initializer.append(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
