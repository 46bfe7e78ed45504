"""The click network at work: ONNX Runtime on the CPU or a GPU, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ...core.errors import ModelError
from ...core.files import sha256_of
from ...core.i18n import _
from ...core.resources import resource
from .channels import CHANNELS, channels

FILE = "genesis_click.onnx"
FACTS = "genesis_click.json"


class OnnxClicks:
    """Answers prompts in a region of the CT; what :class:`.draft.Clicks` asks for.

    Not thread-safe: the input is written where that of the call before was.
    """

    def __init__(self, path: Path, device: str = "cpu", threads: int = 0) -> None:
        """Args:
            path: the ONNX file.
            device: "cpu", or "cuda:0"; where ONNX Runtime has no GPU support, the CPU is used.
            threads: of the CPU; 0 means as many as there are cores.

        Raises:
            ModelError: the file cannot be loaded.
        """
        import onnxruntime

        onnxruntime.disable_telemetry_events()  # what Windows records; elsewhere see GenesisSegmentLib/__init__.py
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        wanted = ["CUDAExecutionProvider"] * (device != "cpu") + ["CPUExecutionProvider"]
        providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own that share no base but Exception
            what = _("{file} is not a model that ONNX Runtime can load: {reason}").format(file=path.name, reason=error)
            raise ModelError(what, _("Install GenesisSegment again.")) from error
        self._input = self._session.get_inputs()[0].name
        self._buffers: dict[tuple[int, ...], np.ndarray] = {}

    def logits(
        self,
        hu: np.ndarray,
        mask: np.ndarray,
        inside: np.ndarray,
        outside: np.ndarray,
        spacing_mm: tuple[float, float, float],
    ) -> np.ndarray:
        """See :class:`.draft.Clicks`; the sides must be multiples of 16."""
        if hu.shape not in self._buffers:
            self._buffers = {hu.shape: np.empty((CHANNELS, *hu.shape), dtype=np.float32)}
        seen = channels(hu, mask, inside, outside, spacing_mm, self._buffers[hu.shape])
        return self._session.run(None, {self._input: seen[None]})[0][0, 0]


def shipped_file(models: Path | None = None) -> Path | None:
    """The file of the click network that comes with GenesisSegment, or None where it comes without.

    Raises:
        ModelError: the file is not the one that was shipped.
    """
    folder = models or resource("Models")
    path, facts = folder / FILE, folder / FACTS
    if not path.is_file() or not facts.is_file():
        return None
    if sha256_of(path) != json.loads(facts.read_text(encoding="utf-8"))["sha256"]:
        raise ModelError(
            _("{file} is damaged: its SHA-256 is not the one in {facts}.").format(file=path.name, facts=facts.name),
            _("Install GenesisSegment again."),
        )
    return path


def open_clicks(device: str = "cpu", threads: int = 0, models: Path | None = None) -> OnnxClicks | None:
    """The shipped click network, or None where GenesisSegment comes without.

    Raises:
        ModelError: its file is damaged.
    """
    path = shipped_file(models)
    return None if path is None else OnnxClicks(path, device, threads)
