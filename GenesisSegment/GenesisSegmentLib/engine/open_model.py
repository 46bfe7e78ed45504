"""From a model's file to a segmenter on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..core.errors import ModelError, ResourceError
from ..core.i18n import _
from ..core.jobs import Advance, Job
from .devices import RuntimeName, ThisMachine, choose_device
from .inference.segmenter import Segmenter
from .inference.spec import ModelSpec, RunOptions, Runtime

if TYPE_CHECKING:
    import torch

    from ..core.segmentation import Segmentation
    from ..core.volume import Volume
    from .inference.verdicts import PathVerdict
    from .models.store import ResolvedModel
    from .refine.features import Seeing


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
    finder = None if spec.window is None else StarterFinder(job)
    return Segmenter(spec, _opener(model, name, device, job), chosen, ThisMachine(), job, finder)


def open_runtime(model: ResolvedModel, job: Job, *, device: str = "auto") -> Seeing:
    """The network of ``model`` on a device, without all that a segmenter does around it.

    Raises:
        ModelError, ResourceError: see :func:`open_segmenter`.
    """
    name = _runtime_name(model, None)
    return cast("Seeing", _opener(model, name, device, job)(choose_device(device, name)))


class StarterFinder:
    """The bundled starter as a :class:`.inference.look.Finder`: it sees a whole CT in about a second on the CPU.

    It is opened by the first CT, and stops when ``job`` is cancelled.
    """

    title = "the starter"

    def __init__(self, job: Job) -> None:
        from .models.catalogue import load_catalogue

        self.offered = load_catalogue()["starter"].facts.drawn
        self._of, self._job = job, Job()
        self._segmenter: Segmenter | None = None
        job.on_cancel(lambda: self._job.cancel())

    def find(self, volume: Volume, classes: tuple[int, ...], advance: Advance) -> Segmentation:
        """See :class:`.inference.look.Finder`."""
        self._of.check()
        if self._segmenter is None or self._job.is_cancelled:
            # What was cancelled stays so, and holds on to its session: nothing of it is used again.
            self._job, self._segmenter = Job(), None
        self._job.report_to(lambda progress: advance(progress.fraction))
        segmenter = self._segmenter or self._opened()
        self._segmenter = None  # one that was broken off is not used again
        try:
            found = segmenter.segment(volume, RunOptions(classes)).segmentation
        except ImportError as error:
            raise ResourceError(
                _("A package that the starter needs is missing: {reason}.").format(reason=error),
                _("Install onnxruntime."),
            ) from error
        self._segmenter = segmenter
        return found

    def _opened(self) -> Segmenter:
        from .models.store import STARTER, ModelStore

        return open_segmenter(ModelStore.of_this_person().resolve(STARTER), self._job, device="cpu")


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
