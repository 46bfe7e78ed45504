"""From a model's file to a segmenter on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.errors import ModelError
from ..core.i18n import _
from ..core.jobs import Advance, Job
from .devices import RuntimeName, ThisMachine, choose_device
from .inference.segmenter import Segmenter
from .inference.spec import ModelSpec, Runtime

if TYPE_CHECKING:
    import torch

    from .inference.verdicts import PathVerdict
    from .models.store import ResolvedModel


def open_segmenter(
    model: ResolvedModel, job: Job, *, runtime: RuntimeName | None = None, device: str = "auto"
) -> Segmenter:
    """A segmenter for ``model``; without ``runtime``, ONNX Runtime for an ONNX file and torch for a checkpoint.

    Raises:
        ModelError: the model is not for whole CTs, or not in a form that the runtime can load.
        ResourceError: the device does not exist.
    """
    spec = ModelSpec.of(model.name, model.facts)
    name = _runtime_name(model, runtime)
    chosen = choose_device(device, name)
    return Segmenter(spec, _opener(model, name, device, job), chosen, ThisMachine(), job)


def load_network(model: ResolvedModel) -> torch.nn.Module:
    """The torch network of a model, in evaluation mode, on the CPU.

    Raises:
        ModelError: the file does not hold exactly this network's weights.
    """
    if model.path.suffix != ".onnx":
        from .checkpoints import load

        return load(model.path).network()
    from .networks import build
    from .starter.onnx_file import load_onnx_weights

    network = build(model.facts.architecture, **model.facts.options)
    network.load_state_dict(load_onnx_weights(model.path))
    return network.eval()


def verdicts_for(model: ResolvedModel, device: str, job: Job) -> tuple[PathVerdict, ...]:
    """Which fast paths of torch may be used with ``model`` on ``device``: remembered, or found out now."""
    from .inference.selftest import fast_paths

    return fast_paths(load_network(model), model.sha256, device, advance=lambda share: job.check())


def _runtime_name(model: ResolvedModel, asked: RuntimeName | None) -> RuntimeName:
    is_onnx = model.path.suffix == ".onnx"
    name: RuntimeName = asked or ("onnx" if is_onnx else "torch")
    if name == "onnx" and not is_onnx:
        raise ModelError(
            _("{title} is not in ONNX form.").format(title=model.title), _("Use --runtime torch with this model.")
        )
    return name


def _opener(model: ResolvedModel, runtime: RuntimeName, wanted: str, job: Job) -> Callable[[str], Runtime]:
    from .inference.runtimes import OnnxRuntime, TorchRuntime
    from .inference.selftest import fast_paths
    from .inference.verdicts import passed

    def open_runtime(device: str) -> Runtime:
        if runtime == "onnx":
            return OnnxRuntime(model.path, device, job, is_required=wanted not in ("auto", "cpu"))

        def find_paths(network: torch.nn.Module, advance: Advance) -> frozenset[str]:
            return passed(fast_paths(network, model.sha256, device, advance=advance))

        return TorchRuntime(load_network(model), device, job, find_paths)

    return open_runtime
