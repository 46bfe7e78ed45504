"""Networks on devices: torch, and ONNX Runtime for models that come as ONNX files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import ModelError, ResourceError
from ...core.i18n import _
from ...core.jobs import Advance, Job
from .head import apply_head
from .paths import PLAIN, arrange, forward, stages_to_fold
from .spec import Array

if TYPE_CHECKING:
    import torch

_NETWORK_SHARE = 0.9
"""Of the work of an ONNX model on a window; the rest is the head."""
_TICK_S = 0.2
_TRIAL_SIDE = 32
"""Of the window that tells how fast an ONNX model is before its first large one; it costs a few hundredths of that."""
_LARGE = 20 * _TRIAL_SIDE**3


def nobody(share: float) -> None:
    """Where nobody listens to the progress."""


class TorchRuntime:
    """A torch network on the CPU or one GPU, one window per forward, in fp32.

    Logits are handed over on ``ring_device``, which the memory plan may move to the CPU. ``job`` is asked before every
    layer, so that a cancelled run ends within the time of one layer, and progress is told there. ``find_paths`` says
    which fast paths passed their self-test on this device; it is asked once, by the first ``prepare`` that wants them.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        device: str,
        job: Job,
        find_paths: Callable[[torch.nn.Module, Advance], frozenset[str]] = lambda network, advance: PLAIN,
    ) -> None:
        import torch

        self._torch = torch
        self.device = self.ring_device = device
        self.notes: tuple[str, ...] = ()
        self._network = network.to(device).eval()
        self._find_paths, self._paths = find_paths, PLAIN
        self._found: frozenset[str] | None = None
        self._job = job
        self._advance: Advance = nobody
        layers = [layer for layer in self._network.modules() if not list(layer.children())]
        layers += stages_to_fold(self._network)
        self._layers, self._entered = max(1, len(layers)), 0
        for layer in layers:
            layer.register_forward_pre_hook(self._enter)

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        """See :class:`.spec.Runtime`."""
        if not is_plain and self._found is None:
            self._found = self._find_paths(self._network, advance)
            self._paths = PLAIN  # as it is left
        wanted = PLAIN if is_plain or self._found is None else self._found
        if wanted != self._paths:  # to bring weights into another form takes a second
            arrange(self._network, wanted)
            self._paths = wanted

    def logits(self, window: np.ndarray, channels: tuple[int, ...], advance: Advance = nobody) -> Array:
        """See :class:`.spec.Runtime`; the share done is that of the layers entered."""
        image = self._torch.from_numpy(np.ascontiguousarray(window))[None, None].to(self.device)
        self._advance, self._entered = advance, 0
        try:
            found = forward(self._network, image, channels, self._paths)[0].to(self.ring_device)
            self._layers = max(1, self._entered)  # a folded network enters fewer
            return found
        finally:
            self._advance = nobody

    def features(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`..refine.features.Seeing`.

        Raises:
            ModelError: the network has no heads of the universal model.
        """
        torch = self._torch
        if not hasattr(self._network, "class_numbers"):
            raise ModelError(
                _("This model has no head that learns by itself."), _("Use the starter or a universal model.")
            )
        image = torch.from_numpy(np.ascontiguousarray(window))[None, None].to(self.device)
        with torch.no_grad():
            features, numbers = self._network.features(image)  # type: ignore[operator]
        return features[0].float().cpu().numpy(), numbers[0].float().cpu().numpy()

    def zeros(self, shape: tuple[int, ...], half: bool) -> Array:
        """See :class:`.spec.Runtime`."""
        torch = self._torch
        return torch.zeros(shape, dtype=torch.float16 if half else torch.float32, device=self.ring_device)

    def to_array(self, values: np.ndarray) -> Array:
        """See :class:`.spec.Runtime`."""
        return self._torch.from_numpy(values).to(self.ring_device)

    def to_numpy(self, values: Array) -> np.ndarray:
        """See :class:`.spec.Runtime`."""
        return values.float().cpu().numpy()

    def _enter(self, *_: object) -> None:
        """Before every layer; one that is used several times counts every time."""
        self._job.check()
        self._advance(min(1.0, self._entered / self._layers))
        self._entered += 1


class DeviceMemoryError(ResourceError):
    """The device ran out of memory in the middle of a run."""


@contextmanager
def out_of_memory_explained(device: str) -> Iterator[None]:
    """Turns the out-of-memory errors of torch and numpy into one that says what to do; needs no torch itself.

    Raises:
        DeviceMemoryError: the memory of a GPU ran out.
        ResourceError: the main memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(error, torch.OutOfMemoryError):
            raise DeviceMemoryError(
                _("{device} ran out of memory.").format(device=device),
                _("Close other programs that use it, ask for fewer classes, or choose the CPU (--device cpu)."),
            ) from error
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            raise ResourceError(
                _("The main memory ran out."),
                _("Close other programs, ask for fewer classes, crop the CT, or use a coarser model."),
            ) from error
        raise


class OnnxRuntime:
    """A model in ONNX form that gives head features and class numbers; the head itself is applied here.

    Needs no torch. A GPU provider that ONNX Runtime dropped without a word is found out: an error where the GPU was
    asked for, a note where it was only preferred.

    A session does not say how far it is. Its progress is an estimate: the time that has passed over the time that the
    window should take at the pace of the last one, and never more than nine tenths of the window.
    """

    def __init__(self, path: Path, device: str, job: Job, is_required: bool = False) -> None:
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # what Windows records; elsewhere see GenesisSegmentLib/__init__.py
        wanted = _providers(device, onnxruntime.get_available_providers())
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime raises classes of its own that share no base but Exception
            raise ModelError(
                _("{file} is not a model that ONNX Runtime can load: {reason}").format(file=path.name, reason=error),
                _("Install the model again."),
            ) from error
        got = self._session.get_providers()
        self.device = device if "CUDAExecutionProvider" in got else "cpu"
        self.ring_device = "cpu"
        self.notes = fall_back_notes(device, wanted, got)
        if self.notes and is_required:
            raise ResourceError(self.notes[0], _("Repair the installation, or choose the CPU (--device cpu)."))
        self._job = job
        self._run_options = onnxruntime.RunOptions()
        self._pace: float | None = None
        """Seconds per voxel of the last window."""
        job.on_cancel(self._stop)

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        """See :class:`.spec.Runtime`; there are no fast paths here."""

    def logits(self, window: np.ndarray, channels: tuple[int, ...], advance: Advance = nobody) -> np.ndarray:
        """See :class:`.spec.Runtime`; advances by an estimate in the network, and truly in the head."""
        self._job.check()

        def network(share: float) -> None:
            advance(_NETWORK_SHARE * min(1.0, share))

        def head(share: float) -> None:
            self._job.check()
            advance(_NETWORK_SHARE + (1 - _NETWORK_SHARE) * share)

        image = np.ascontiguousarray(window, dtype=np.float32)[None, None]
        try:
            if self._pace is None and image.size > _LARGE and self._takes_any_size():
                self._run(np.ascontiguousarray(image[..., :_TRIAL_SIDE, :_TRIAL_SIDE, :_TRIAL_SIDE]), nobody)
            features, numbers = self._run(image, network)
        except Exception:  # a terminated run surfaces as one of onnxruntime's own exceptions
            self._job.check()
            raise
        return apply_head(features[0], numbers[0, list(channels)], head)

    def features(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`..refine.features.Seeing`."""
        features, numbers = self._run(np.ascontiguousarray(window, dtype=np.float32)[None, None], nobody)
        return features[0], numbers[0]

    def _run(self, image: np.ndarray, advance: Advance) -> list[np.ndarray]:
        """Features and class numbers. The session works on a thread of its own, so that this one can report."""
        started = time.perf_counter()
        expected = None if self._pace is None else self._pace * image.size
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._session.run, ["features", "numbers"], {"image": image}, self._run_options)
            try:
                while not wait([running], timeout=_TICK_S).done:
                    if expected:
                        advance((time.perf_counter() - started) / expected)
            except BaseException:
                self._stop()
                raise
            found = running.result()
        self._pace = (time.perf_counter() - started) / image.size
        return found

    def _takes_any_size(self) -> bool:
        return not any(isinstance(side, int) for side in self._session.get_inputs()[0].shape[2:])

    def zeros(self, shape: tuple[int, ...], half: bool) -> np.ndarray:
        """See :class:`.spec.Runtime`."""
        return np.zeros(shape, dtype=np.float16 if half else np.float32)

    def to_array(self, values: np.ndarray) -> np.ndarray:
        """See :class:`.spec.Runtime`."""
        return values

    def to_numpy(self, values: np.ndarray) -> np.ndarray:
        """See :class:`.spec.Runtime`."""
        return values.astype(np.float32, copy=False)

    def _stop(self) -> None:
        self._run_options.terminate = True


def _providers(device: str, available: list[str]) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise ResourceError(
            _("This ONNX Runtime has no GPU support."),
            _("Install the extra gpu (onnxruntime-gpu in place of onnxruntime), or choose the CPU (--device cpu)."),
        )
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def fall_back_notes(device: str, wanted: list[str], got: list[str]) -> tuple[str, ...]:
    """A sentence when the GPU was wanted and the CPU came."""
    if "CUDAExecutionProvider" in wanted and "CUDAExecutionProvider" not in got:
        what = _(
            "ONNX Runtime could not use {device} and fell back to the CPU: CUDA or cuDNN is missing or does not fit. "
            "genesis-segment info says more."
        )
        return (what.format(device=device),)
    return ()
