"""A worker that computes nothing: it answers commands, and plays a run with early organs and a result of 32 classes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np

from ...core.bulk import read_volume, write_layers, write_mask
from ...core.classes import all_classes
from ...core.layers import Layer
from ...core.protocol import (
    HEARTBEAT_SECONDS,
    Done,
    Estimate,
    Estimated,
    Event,
    Heartbeat,
    LoadVolume,
    Message,
    Partial,
    Progress,
    Result,
    Segment,
    decode,
    encode,
)
from ...core.reports import LayerFile
from ...core.wire import LineSplitter
from .labels import Shape, ellipsoids

_STEPS, _STEP_S = 40, 0.05
_EARLY = {6: (0.55, 0.45, 0.5), 16: (0.35, 0.5, 0.8), 1: (0.2, 0.25, 0.4)}
"""Share of each side of the CT that the box of an early organ takes: liver, a lung, spleen."""


class Echo:
    """Answers on stdout what comes on stdin."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape] = {}
        self._lock = threading.Lock()
        self._jobs: tuple[str, ...] = ()
        """What is being answered: a client takes a job that no heartbeat names for lost."""

    def serve(self) -> None:
        """Until stdin ends."""
        threading.Thread(target=self._beat, daemon=True).start()
        splitter = LineSplitter()
        while data := os.read(0, 1 << 16):
            for line in splitter.feed(data):
                message = decode(line)
                if message is not None:
                    self._jobs = (message.id,)
                    self._send(self._answer(message))
                    self._jobs = ()

    def _answer(self, command: Message) -> Event:
        if isinstance(command, LoadVolume):
            volume = read_volume(Path(command.folder), command.fingerprint)
            self._shapes[command.fingerprint] = volume.geometry.shape
        if isinstance(command, Estimate):
            return Estimated(command.id, 12.0, 2**30, 0, "cpu")
        if isinstance(command, Segment):
            return self._segment(command)
        return Done(command.id)

    def _segment(self, command: Segment) -> Event:
        shape, folder = self._shapes[command.volume], Path(command.folder)
        layer = Layer(ellipsoids(shape), all_classes())
        early = iter(_EARLY.items())
        for step in range(_STEPS):
            self._send(Progress(command.id, "network", step / _STEPS, 1.0))
            if step % 10 == 9 and (organ := next(early, None)):
                self._give(command, folder, shape, *organ)
            time.sleep(_STEP_S)
        (file,) = write_layers(folder, (layer,))
        return Result(
            id=command.id,
            volume=command.volume,
            shape=shape,
            layers=(LayerFile(str(file), layer.classes),),
            classes=layer.classes,
            present=layer.classes,
            measurements=(),
            notes=(),
            device="cpu",
            model=command.model,
            model_title="Echo",
            model_sha256="",
            recipe=command.recipe,
            postprocess=command.postprocess,
            windows=1,
        )

    def _give(
        self, command: Segment, folder: Path, shape: Shape, index: int, share: tuple[float, float, float]
    ) -> None:
        sides = [max(1, int(n * s)) for n, s in zip(shape, share, strict=True)]
        start = tuple((n - side) // 2 for n, side in zip(shape, sides, strict=True))
        stop = tuple(a + side for a, side in zip(start, sides, strict=True))
        file = folder / f"class-{index}.u1"
        write_mask(file, np.ones(sides, np.uint8, order="F"))
        self._send(Partial(command.id, index, start, stop, str(file)))  # type: ignore[arg-type]

    def _beat(self) -> None:
        while True:
            self._send(Heartbeat("", "busy" if self._jobs else "idle", self._jobs))
            time.sleep(HEARTBEAT_SECONDS)

    def _send(self, event: Event) -> None:
        with self._lock:
            rest = memoryview(encode(event))
            while rest:
                rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    Echo().serve()
