"""A worker that speaks the real protocol and segments nothing: it misbehaves as it is told.

``python fake_worker.py [--on TYPE=BEHAVIOUR]...``. Behaviours of a command:

    answer          as the real one would (the default); ``segment`` sends progress, partials and a result
    busy            never answers, obeys a cancel
    deaf            never answers, ignores a cancel
    hang            falls silent altogether: no answer, no heartbeat
    burn            uses the processor, for ever
    forget          drops the command without an answer
    late:SECONDS    answers after that time, whether cancelled or not
    nonsense        answers between garbage, half lines and a huge line
    newer           answers in a version of the protocol that does not exist
    error:CODE      answers with an error
    exit:CODE       writes its last words and exits
    die:SIGNAL      dies of a signal, such as SIGKILL (which is what running out of memory looks like)

``--silent`` never says anything. ``--speaks VERSION`` says everything in another version of the protocol.
``--once FILE``: misbehaves only in the first process that finds FILE missing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.bulk import read_mask, read_volume, write_layers, write_mask
from GenesisSegmentLib.core.errors import Cancelled, GenesisError
from GenesisSegmentLib.core.geometry import Box, Geometry
from GenesisSegmentLib.core.layers import pack_layers
from GenesisSegmentLib.core.prompts import told
from GenesisSegmentLib.core.protocol import (
    VERSION,
    Cancel,
    Done,
    Estimate,
    Estimated,
    Event,
    Failure,
    Heartbeat,
    Hello,
    ListModels,
    LoadVolume,
    Message,
    Models,
    Partial,
    Progress,
    Ready,
    Refine,
    Refined,
    Result,
    Segment,
    SelfTest,
    Shutdown,
    Tested,
    decode,
    encode,
)
from GenesisSegmentLib.core.refining_messages import CLOSED, SEGMENT
from GenesisSegmentLib.core.reports import DeviceInfo, LayerFile, MeasurementRow, ModelInfo, Package
from GenesisSegmentLib.core.segmentation import BITS, Segmentation, class_boxes
from GenesisSegmentLib.core.wire import LineSplitter

KIDNEY, LIVER, TUMOR = 2, 6, 26
OFFERED = (KIDNEY, LIVER, TUMOR)


def fake_segmentation(geometry: Geometry, classes: tuple[int, ...] | None = None) -> Segmentation:
    """What the fake finds: a kidney on low i with a tumour inside, a liver on high i; boxes, in thirds of the grid."""
    bits = np.zeros(geometry.shape, dtype=BITS)
    i, j, k = (max(1, n // 3) for n in geometry.shape)
    wanted = OFFERED if classes is None else classes
    for index, where in (
        (KIDNEY, np.s_[:i, :j, :k]),
        (TUMOR, np.s_[: max(1, i // 2), :j, :k]),
        (LIVER, np.s_[-i:, :j, :k]),
    ):
        if index in wanted:
            bits[where] |= BITS(1 << (index - 1))
    return Segmentation(bits, geometry, tuple(sorted(wanted)))


class FakeWorker:
    def __init__(self, options: argparse.Namespace) -> None:
        self._heartbeat = options.heartbeat
        self._pause = options.pause
        self._is_silent, self._speaks = options.silent, options.speaks
        self._behaviours = dict(rule.split("=", 1) for rule in options.on)
        if options.once is not None:
            if options.once.exists():
                self._behaviours = {}
            options.once.touch()
        self._volumes: dict[str, LoadVolume] = {}
        self._jobs: dict[str, threading.Event] = {}
        self._deaf: set[str] = set()
        self._lock = threading.Lock()

    def serve(self) -> int:
        threading.Thread(target=self._beat, daemon=True).start()
        splitter = LineSplitter()
        while data := os.read(0, 1 << 16):
            for line in splitter.feed(data):
                message = decode(line)
                if isinstance(message, Shutdown):
                    return 0
                if message is not None:
                    self._take(message)
        return 0

    def _take(self, message: Message) -> None:
        if isinstance(message, Failure):
            self._send(message)
        elif isinstance(message, Cancel):
            if message.target in self._jobs and message.target not in self._deaf:
                self._jobs[message.target].set()
            self._send(Done(message.id))
        else:
            self._jobs[message.id] = threading.Event()
            if message.type in self._behaviours or isinstance(message, Segment):
                threading.Thread(target=self._perform, args=(message,), daemon=True).start()
            else:
                self._perform(message)

    def _perform(self, command: Message) -> None:
        behaviour, _, detail = self._behaviours.get(command.type, "answer").partition(":")
        getattr(self, f"_be_{behaviour}")(command, detail)
        self._jobs.pop(command.id, None)

    # --- Behaviours -------------------------------------------------------------------------------------------------

    def _be_answer(self, command: Message, detail: str) -> None:
        try:
            event = self._answer(command)
        except GenesisError as error:
            event = Failure.of(command.id, error)
        self._send(event)

    def _be_busy(self, command: Message, detail: str) -> None:
        self._send(Progress(command.id, "network", 0.1))
        self._jobs[command.id].wait()
        self._send(Failure.of(command.id, Cancelled()))

    def _be_deaf(self, command: Message, detail: str) -> None:
        self._deaf.add(command.id)
        self._send(Progress(command.id, "network", 0.1))
        threading.Event().wait()

    def _be_hang(self, command: Message, detail: str) -> None:
        self._send(Progress(command.id, "network", 0.1))
        with self._lock:
            threading.Event().wait()

    def _be_burn(self, command: Message, detail: str) -> None:
        while True:
            pass

    def _be_forget(self, command: Message, detail: str) -> None:
        return

    def _be_late(self, command: Message, detail: str) -> None:
        self._deaf.add(command.id)
        time.sleep(float(detail))
        self._be_answer(command, "")

    def _be_nonsense(self, command: Message, detail: str) -> None:
        self._write(b"\x00\xff\xfe garbage \x80\n[1, 2]\nnull\n" + b"\n" * 3 + b'{"v":1,"id":5,"type":[]}\n')
        self._write(b"x" * 20_000_000 + b"\n")
        self._write(b'{"v":1,"id":"half","type":"resu')
        self._be_answer(command, "")
        self._write(b'{"v":1,"type":"not of this world","id":"x"}\n' + b"[" * 100_000 + b"\n")

    def _be_newer(self, command: Message, detail: str) -> None:
        self._write(json.dumps({"v": VERSION + 1, "id": command.id, "type": "done"}).encode() + b"\n")

    def _be_error(self, command: Message, detail: str) -> None:
        self._send(Failure(command.id, detail, "It was told to fail.", "Tell it otherwise."))

    def _be_exit(self, command: Message, detail: str) -> None:
        print("The last words of the worker.", file=sys.stderr, flush=True)
        os._exit(int(detail))

    def _be_die(self, command: Message, detail: str) -> None:
        os.kill(os.getpid(), getattr(signal, detail))
        threading.Event().wait()

    # --- Answers ----------------------------------------------------------------------------------------------------

    def _answer(self, command: Message) -> Event:
        if isinstance(command, Hello):
            packages = (Package("numpy", np.__version__, "engine", "ok"),)
            devices = (DeviceInfo("cpu", "a processor", 2**33, 2**34), DeviceInfo("cuda:0", "a GPU", 2**32, 2**33))
            return Ready(command.id, "0", "3", os.getpid(), ("onnx", "torch"), devices, packages)
        if isinstance(command, LoadVolume):
            read_volume(Path(command.folder), command.fingerprint)
            self._volumes[command.fingerprint] = command
        if isinstance(command, Estimate):
            return Estimated(command.id, 12.0, 2**30, 0, "cpu", ("An estimate that is made up.",))
        if isinstance(command, SelfTest):
            return Tested(command.id, True, "cpu", 0.1, ("The fake runs on cpu.",))
        if isinstance(command, ListModels):
            return Models(command.id, (a_model(),))
        if isinstance(command, Segment):
            return self._segment(command)
        if isinstance(command, Refine):
            return self._refine(command)
        return Done(command.id)

    def _refine(self, command: Refine) -> Event:
        """Takes prompts by their word: what they cover, and nothing else."""
        loaded = self._volumes[command.volume]
        geometry = read_volume(Path(loaded.folder), loaded.fingerprint).geometry
        box = Box(command.start, command.stop)
        bits = read_mask(Path(command.file), box)
        before, closed = (bits & SEGMENT) != 0, (bits & CLOSED) != 0
        said = told(command.prompts, geometry, box)
        after = (before | (said.inside & ~closed)) & ~said.outside
        changed = Box.around(before != after)
        if changed is None:
            return Refined(command.id, (0, 0, 0), (0, 0, 0), "")
        file = Path(command.folder) / "refined.u1"
        write_mask(file, after[changed.slices])
        start, stop = (tuple(a + b for a, b in zip(box.start, e, strict=True)) for e in (changed.start, changed.stop))
        return Refined(command.id, start, stop, str(file))

    def _segment(self, command: Segment) -> Event:
        loaded = self._volumes.get(command.volume)
        if loaded is None:
            return Failure(command.id, "input", "The CT is not loaded.", "Choose the CT again.")
        volume = read_volume(Path(loaded.folder), loaded.fingerprint)
        segmentation = fake_segmentation(volume.geometry, command.classes)
        folder = Path(command.folder)
        boxes = class_boxes(segmentation.bits)
        for n, (index, box) in enumerate(boxes.items(), 1):
            self._send(Progress(command.id, "network", n / (len(boxes) + 1), 1.0))
            if self._jobs[command.id].wait(self._pause):
                raise Cancelled
            file = folder / f"class-{index}.u1"
            write_mask(file, segmentation.mask(index)[box.slices])
            self._send(Partial(command.id, index, box.start, box.stop, str(file)))
        layers = pack_layers(segmentation)
        files = write_layers(folder, layers)
        rows = (
            MeasurementRow(index, f"class {index}", None, int(segmentation.mask(index).sum()), 1.0, 40.0, 5.0, False)
            for index in segmentation.classes
        )
        return Result(
            id=command.id,
            volume=command.volume,
            shape=segmentation.geometry.shape,
            layers=tuple(LayerFile(str(f), layer.classes) for f, layer in zip(files, layers, strict=True)),
            classes=segmentation.classes,
            present=segmentation.present(),
            measurements=tuple(rows),
            notes=("This is the fake worker.",),
            device="cpu",
            model=command.model,
            model_title="Fake",
            model_sha256="0" * 64,
            recipe=command.recipe,
            postprocess=command.postprocess,
            windows=1,
            seconds={"network": 0.1},
        )

    # --- Out --------------------------------------------------------------------------------------------------------

    def _beat(self) -> None:
        while True:
            jobs = tuple(self._jobs)
            self._send(Heartbeat("", "busy" if jobs else "idle", jobs, os.getpid()))
            time.sleep(self._heartbeat)

    def _send(self, event: Event) -> None:
        self._write(encode(event).replace(b'{"v":%d' % VERSION, b'{"v":%d' % self._speaks, 1))

    def _write(self, data: bytes) -> None:
        if self._is_silent:
            return
        with self._lock:
            while data:
                data = data[os.write(1, data) :]


def a_model() -> ModelInfo:
    """The one model of the fake."""
    return ModelInfo(
        id="starter",
        title="Starter",
        purpose="Nothing.",
        note="Starter: not for clinical use.",
        state="bundled",
        usable_for="segmentation",
        offered=OFFERED,
        is_onnx=True,
        size_bytes=1000,
        licence="Apache-2.0",
        licence_url=None,
        licence_summary="Free to use.",
        commercial_use=True,
        clinical_use=False,
        url=None,
        page=None,
        citation="",
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--on", action="append", default=[], metavar="TYPE=BEHAVIOUR")
    parser.add_argument("--silent", action="store_true")
    parser.add_argument("--speaks", type=int, default=VERSION)
    parser.add_argument("--once", type=Path)
    parser.add_argument("--heartbeat", type=float, default=0.05)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds before each class of a result")
    return FakeWorker(parser.parse_args()).serve()


if __name__ == "__main__":
    sys.exit(main())
