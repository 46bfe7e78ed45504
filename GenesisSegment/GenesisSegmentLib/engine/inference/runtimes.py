"""Networks on devices: torch, and ONNX Runtime for models that come as ONNX files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import ModelError, ResourceError
from ...core.jobs import Advance, Job
from .head import apply_head
from .paths import PLAIN, arrange, forward
from .spec import Array

if TYPE_CHECKING:
    import torch


class TorchRuntime:
    """A torch network on the CPU or one GPU, one window per forward, in fp32.

    Logits are handed over on ``ring_device``, which the memory plan may move to the CPU. ``job`` is asked before every
    layer, so that a cancelled run ends within the time of one layer. ``find_paths`` says which fast paths passed their
    self-test on this device; it is asked once, by the first ``prepare`` that wants them.
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
        for layer in self._network.modules():
            if not list(layer.children()):
                layer.register_forward_pre_hook(lambda *_: job.check())

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        """See :class:`.spec.Runtime`."""
        if not is_plain and self._found is None:
            self._found = self._find_paths(self._network, advance)
        self._paths = PLAIN if is_plain or self._found is None else self._found
        arrange(self._network, self._paths)

    def logits(self, window: np.ndarray, channels: tuple[int, ...]) -> Array:
        """See :class:`.spec.Runtime`."""
        image = self._torch.from_numpy(np.ascontiguousarray(window))[None, None].to(self.device)
        return forward(self._network, image, channels, self._paths)[0].to(self.ring_device)

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
                f"{device} ran out of memory.",
                "Close other programs that use it, ask for fewer classes, or use --device cpu.",
            ) from error
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            raise ResourceError(
                "The main memory ran out.",
                "Close other programs, ask for fewer classes, crop the CT, or use a coarser model.",
            ) from error
        raise


class OnnxRuntime:
    """A model in ONNX form that gives head features and class numbers; the head itself is applied here.

    Needs no torch. A GPU provider that ONNX Runtime dropped without a word is found out: an error where the GPU was
    asked for, a note where it was only preferred.
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
                f"{path.name} is not a model that ONNX Runtime can load: {error}", "Install the model again."
            ) from error
        got = self._session.get_providers()
        self.device = device if "CUDAExecutionProvider" in got else "cpu"
        self.ring_device = "cpu"
        self.notes = fall_back_notes(device, wanted, got)
        if self.notes and is_required:
            raise ResourceError(self.notes[0], "Repair the installation, or choose --device cpu.")
        self._job = job
        self._run_options = onnxruntime.RunOptions()
        job.on_cancel(self._stop)

    def prepare(self, is_plain: bool, advance: Advance) -> None:
        """See :class:`.spec.Runtime`; there are no fast paths here."""

    def logits(self, window: np.ndarray, channels: tuple[int, ...]) -> np.ndarray:
        """See :class:`.spec.Runtime`."""
        self._job.check()
        feed = {"image": np.ascontiguousarray(window, dtype=np.float32)[None, None]}
        try:
            features, numbers = self._session.run(["features", "numbers"], feed, self._run_options)
        except Exception:  # a terminated run surfaces as one of onnxruntime's own exceptions
            self._job.check()
            raise
        return apply_head(features[0], numbers[0, list(channels)], self._job.check)

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
            "This ONNX Runtime has no GPU support.",
            "Install the extra gpu (onnxruntime-gpu in place of onnxruntime), or choose --device cpu.",
        )
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def fall_back_notes(device: str, wanted: list[str], got: list[str]) -> tuple[str, ...]:
    """A sentence when the GPU was wanted and the CPU came."""
    if "CUDAExecutionProvider" in wanted and "CUDAExecutionProvider" not in got:
        return (
            f"ONNX Runtime could not use {device} and fell back to the CPU: CUDA or cuDNN is missing or does not fit. "
            "genesis-segment info says more.",
        )
    return ()
