"""The file of a learned network: ONNX for the starter, so that both runtimes open it, else a torch checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from ...core.errors import LearningError, ModelError
from ...core.files import atomic_file
from ...core.i18n import _
from ...core.resources import resource
from ..models.catalogue import ModelFacts, facts_document, read_metadata
from ..networks import build
from ..networks.universal import UniversalModel
from ..starter.onnx_file import HALF, PREFIX, load_onnx_weights

STEM = "model"
_TEMPLATE = "Models/genesis_starter.onnx"
_TRIAL_SIDE = 16
_AGREEMENT = 1e-3
"""Largest difference of logits between the runtimes, relative to their range."""


def facts_of_network(
    facts: ModelFacts, network: UniversalModel, offered: tuple[int, ...], own: tuple[str, ...] = ()
) -> ModelFacts:
    """The facts of a model that was learned further; ``own`` are its channels beyond the class table."""
    options = dict(facts.options) | {"classes": network.classes}
    return replace(facts, options=options, offered=tuple(sorted(set(offered))), own=own)


def write_network(network: UniversalModel, facts: ModelFacts, folder: Path) -> Path:
    """Writes a network into ``folder`` as ``model.onnx`` with ``model.json`` beside it, or as ``model.pt``.

    ONNX where the network is the starter's: the weights of the shipped file are replaced, which needs no exporter, and
    both runtimes must give the same logits of a small window before the file is taken.

    Raises:
        LearningError: weights are not finite numbers.
        ModelError: the runtimes do not agree on the file.
        OutputError: it could not be written.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    bad = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if bad:
        raise LearningError(
            _("{count} weights are no numbers any more, {name} among them.").format(count=len(bad), name=bad[0]),
            _smaller(),
        )
    template = resource(_TEMPLATE)
    if facts.architecture == "starter" and facts.offered and _has_layout(state, template):
        path = folder / f"{STEM}.onnx"
        with atomic_file(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(facts_document(facts), indent=1) + "\n", encoding="utf-8")
        write_onnx(state, template, path)
        require_agreement(path)
        return path
    path = folder / f"{STEM}.pt"
    with atomic_file(path) as temporary:
        torch.save({"net": state}, temporary)
    return path


def write_onnx(state: Mapping[str, Tensor], template: Path, target: Path) -> None:
    """Writes the file ``template`` with the weights ``state`` in place of its own; more classes are taken, too.

    Weights that the exporter merged into constants of the graph are found by their values in the template.

    Raises:
        ModelError: the template has other weights, or a merged one cannot be told from others.
        OutputError: it could not be written.
    """
    document = onnx.load(str(template))
    tensors = {tensor.name: tensor for tensor in document.graph.initializer}
    used = _used(document)
    for key, value in state.items():
        name = _name_of(key, tensors)
        before, after = numpy_helper.to_array(tensors[name]), value.numpy()
        if name.removeprefix(HALF) not in used:
            merged = tensors[_merged(before, tensors, used)]
            first = next((n for n, side in enumerate(merged.dims) if side > 1), 0)
            _replace(merged, after.reshape([-1 if n == first else side for n, side in enumerate(merged.dims)]))
        _replace(tensors[name], after)
    _widen(document, next(len(v) for k, v in state.items() if k.startswith("organ_embedding")))
    onnx.checker.check_model(document)
    with atomic_file(target) as temporary:
        onnx.save(document, str(temporary))


def require_agreement(path: Path) -> None:
    """Raises a ModelError unless torch and ONNX Runtime compute the same from a file."""
    import onnxruntime

    facts = read_metadata(path.with_suffix(".json"))
    network = build(facts.architecture, **facts.options)
    network.load_state_dict(load_onnx_weights(path))
    assert isinstance(network, UniversalModel)
    image = np.random.default_rng(0).random((1, 1, _TRIAL_SIDE, _TRIAL_SIDE, _TRIAL_SIDE), dtype=np.float32)
    onnxruntime.disable_telemetry_events()  # what Windows records; elsewhere see GenesisSegmentLib/__init__.py
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it complains of the weights under torch names that the graph does not need
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = session.run(["features", "numbers"], {"image": image})
    with torch.inference_mode():
        expected = network.eval().features(torch.from_numpy(image))
    for name, one, other in zip(("features", "numbers"), found, expected, strict=True):
        true = other.numpy()
        if one.shape != true.shape or np.abs(one - true).max() > _AGREEMENT * max(1.0, float(np.abs(true).max())):
            raise ModelError(
                _("torch and ONNX Runtime do not agree on the {name} of the new model.").format(name=name),
                _("Report this."),
            )


def load_version_network(path: Path, facts: ModelFacts) -> nn.Module:
    """The torch network of a file that :func:`write_network` wrote, on the CPU, in evaluation mode.

    Raises:
        ModelError: it is damaged.
    """
    if path.suffix == ".onnx":
        network = build(facts.architecture, **facts.options)
        network.load_state_dict(load_onnx_weights(path))
        return network.eval()
    from ..checkpoints import load

    return load(path, facts.architecture).network()


def _has_layout(state: Mapping[str, Tensor], template: Path) -> bool:
    """Whether all shapes are those of the template, but for the number of classes."""
    own = load_onnx_weights(template)
    return own.keys() == state.keys() and all(
        value.shape[1:] == state[key].shape[1:]
        if key.startswith("organ_embedding")
        else value.shape == state[key].shape
        for key, value in own.items()
    )


def _name_of(key: str, tensors: Mapping[str, onnx.TensorProto]) -> str:
    for name in (PREFIX + key, HALF + PREFIX + key):
        if name in tensors:
            return name
    raise ModelError(_("The shipped model has no weight {key}.").format(key=key), _("Install GenesisSegment again."))


def _merged(values: np.ndarray, tensors: Mapping[str, onnx.TensorProto], used: set[str]) -> str:
    """The constant of the graph that holds ``values`` in another shape."""
    found = [
        name
        for name, tensor in tensors.items()
        if name.removeprefix(HALF) in used
        and not name.removeprefix(HALF).startswith(PREFIX)
        and tuple(n for n in tensor.dims if n > 1) == tuple(n for n in values.shape if n > 1)
        and np.array_equal(numpy_helper.to_array(tensor).ravel(), values.ravel())
    ]
    if len(found) != 1:
        raise ModelError(
            _("The shipped model has a weight that cannot be replaced."), _("Install GenesisSegment again.")
        )
    return found[0]


def _used(document: onnx.ModelProto) -> set[str]:
    """What the graph computes with; the names of weights in half precision are those that they are cast to."""
    nodes = [n for n in document.graph.node if not (n.op_type == "Cast" and n.input[0].startswith(HALF))]
    return {name for node in nodes for name in node.input}


def _replace(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    """Puts values into a tensor, in its precision.

    Raises:
        LearningError: they are too large for that precision.
    """
    kind = numpy_helper.to_array(tensor).dtype
    with np.errstate(over="ignore"):
        stored = values.astype(kind)
    if not np.isfinite(stored).all():
        name = tensor.name.removeprefix(HALF).removeprefix(PREFIX)
        raise LearningError(_("The weight {name} became too large to be stored.").format(name=name), _smaller())
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(stored), tensor.name))


def _smaller() -> str:
    return _("Run the round again with a smaller learning rate.")


def _widen(document: onnx.ModelProto, classes: int) -> None:
    """Has the graph repeat the context of a window for this many classes, and say so of its output."""
    tensors = {tensor.name: tensor for tensor in document.graph.initializer}
    (numbers,) = (o for o in document.graph.output if o.name == "numbers")
    rows = numbers.type.tensor_type.shape.dim[1]
    for node in document.graph.node:
        if node.op_type == "Expand" and node.input[1] in tensors:
            sizes = numpy_helper.to_array(tensors[node.input[1]]).copy()
            sizes[sizes == rows.dim_value] = classes
            _replace(tensors[node.input[1]], sizes)
    rows.dim_value = classes
