"""The collaborators of the controller as plain objects: a scene, a scripted worker, a set-up, settings, a clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from GenesisSegmentLib.core.errors import ConsentError, InputError
from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.layers import Layer
from GenesisSegmentLib.core.pieces import Pieces
from GenesisSegmentLib.core.protocol import (
    Done,
    Estimate,
    Estimated,
    Failure,
    Hello,
    ListModels,
    Models,
    Partial,
    Progress,
    Ready,
    Refine,
    Result,
    Segment,
    SelfTest,
    Tested,
    new_id,
)
from GenesisSegmentLib.core.reports import DeviceInfo, LayerFile, MeasurementRow
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models
from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.core.workflow.ports import Package, SetupReport
from scene_fakes import SHAPE, FakeClock, FakeScene

CPU = DeviceInfo("cpu", "x86_64, 8 threads", 12_000_000_000, 16_000_000_000)
GPU = DeviceInfo("cuda:0", "A graphics card", 22_000_000_000, 24_000_000_000)
GOOD = Package("onnxruntime>=1.20", "Runs the starter.", "1.22", True, 0, "MIT")
LACKING = Package("onnxruntime>=1.20", "Runs the starter.", None, False, 25, "MIT")


class ScriptedWorker:
    """Answers at once where it is told to (``is_prompt``); otherwise the test says what comes, in any order."""

    def __init__(self) -> None:
        self.commands: list[object] = []
        self.handed: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        self.released: list[str] = []
        self.held: list[tuple[int, ...]] = []
        """Shapes of the boxes that prompts are about."""
        self.swept: set[str] = set()
        """Fingerprints and files that were deleted behind its back."""
        self.stopped = self.closed = 0
        self.is_prompt = True
        self.devices = (CPU,)
        self.models = catalogue_models()
        self.estimate = (3.0, 1_200_000_000, 0)
        self.events: list[object] = []

    def send(self, command) -> str:
        self.commands.append(command)
        if self.is_prompt and (answer := self._answer(command)) is not None:
            self.events.append(answer)
        return command.id

    def _answer(self, command):
        if isinstance(command, Hello):
            return Ready(command.id, "1", "3.12", 1, ("onnx",), self.devices, ())
        if isinstance(command, ListModels):
            return Models(
                command.id, tuple(replace(m, state=m.state if m.url is None else "missing") for m in self.models)
            )
        if isinstance(command, Estimate):
            return Estimated(command.id, *self.estimate, self.devices[-1].name)
        if isinstance(command, SelfTest):
            return Tested(command.id, True, "cpu", 0.5, ("The model works on the processor.",))
        return None if isinstance(command, (Refine, Segment)) else Done(command.id)

    def send_volume(self, volume, fingerprint) -> str:
        job = new_id()
        self.swept.discard(fingerprint)
        self.handed.append((job, fingerprint))
        if self.is_prompt:
            self.events.append(Done(job))
        return job

    def pump(self) -> list:
        events, self.events = self.events, []
        return events

    def cancel(self, command_id) -> None:
        self.cancelled.append(command_id)

    def layers(self, result):
        self.released.append(result.id)
        return tuple(Layer(np.zeros(SHAPE, dtype=np.uint8), layer.classes) for layer in result.layers)

    def holding(self, bits) -> Pieces[str]:
        yield
        self.held.append(bits.shape)
        return f"held-{len(self.held)}"

    def holds(self, name) -> bool:
        return name not in self.swept

    def mask(self, partial):
        if partial.file == "gone":
            raise InputError("The file is gone.")
        box = Box(partial.start, partial.stop)
        return box, np.ones(box.shape, dtype=bool)

    def release(self, command_id) -> None:
        self.released.append(command_id)

    def stop(self) -> None:
        self.stopped += 1

    def close(self) -> None:
        self.closed += 1

    def last(self, kind: type):
        return next(command for command in reversed(self.commands) if isinstance(command, kind))

    def count(self, kind: type) -> int:
        return sum(isinstance(command, kind) for command in self.commands)


class FakeSetup:
    """``missing`` are the roads that lack a package; ``does`` is what installing does: "works", "refuses", an error."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.needs_restart = False
        self.outcome: object = "works"
        self.agrees = True
        self.asked: list[str] = []
        self.installed: list[str] = []

    def check(self, runtime: str) -> SetupReport:
        return SetupReport((LACKING if runtime in self.missing else GOOD,), 50.0, self.needs_restart)

    def install(self, runtime, report) -> SetupReport:
        if self.outcome == "refuses":
            raise ConsentError("The person said no.")
        report("Collecting onnxruntime")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        self.installed.append(runtime)
        self.missing.discard(runtime)
        return self.check(runtime)

    def agree(self, title: str, text: str) -> bool:
        self.asked.append(text)
        return self.agrees


class FakeSettings(dict):
    def get(self, key, default):
        return super().get(key, default)

    def set(self, key, value):
        self[key] = value


class Bench:
    """A controller with its fakes."""

    def __init__(self, is_started: bool = True) -> None:
        self.scene, self.worker, self.setup = FakeScene(), ScriptedWorker(), FakeSetup()
        self.settings, self.clock = FakeSettings(), FakeClock()
        self.scene.clock = self.clock
        self.controller = self.new_controller()
        self.views: list = []
        self.controller.changed.connect(self.views.append)
        if is_started:
            self.controller.start()

    def new_controller(self) -> Controller:
        return Controller(self.scene, self.worker, self.setup, self.settings, self.clock)

    @property
    def view(self):
        return self.controller.view

    @property
    def state(self):
        return self.view.state

    def wait(self, seconds: float = 0.1) -> None:
        """Lets time pass in ticks of 0.1 s."""
        for _ in range(max(1, round(seconds * 10))):
            self.clock.now += 0.1
            self.controller.tick()

    def say(self, *events) -> None:
        self.worker.events.extend(events)
        self.wait()

    def run(self, volume_id: str = "ct1") -> Segment:
        """Starts a run; the command that was sent."""
        self.controller.choose_volume(volume_id)
        self.controller.segment()
        return self.worker.last(Segment)

    def finish(self, command: Segment, **changes) -> None:
        self.say(result_of(command, **changes))

    def reviewing(self) -> None:
        self.finish(self.run())


def reviewing_bench() -> Bench:
    """A controller that shows a result, and a scene that has not been asked anything since."""
    bench = Bench()
    bench.reviewing()
    bench.scene.calls.clear()
    return bench


def result_of(command: Segment, **changes) -> Result:
    classes = command.classes or ()
    rows = (MeasurementRow(classes[0], "x", None, 4, 0.1, 40.0, 5.0, False),) if classes else ()
    result = Result(
        command.id, command.volume, SHAPE, (LayerFile("layer", classes),), classes, classes[:2], rows, (), "cpu",
        command.model, "Starter", "0" * 64, "fast", "safe", 1,
    )  # fmt: skip
    return replace(result, **changes)


def partial_of(command: Segment, **changes) -> Partial:
    partial = Partial(command.id, command.classes[0], (0, 0, 0), (2, 2, 2), "mask")
    return replace(partial, **changes)


def progress_of(command: Segment, fraction: float = 0.5) -> Progress:
    return Progress(command.id, "network", fraction, 12.0)


def lost(job: str, code: str = "worker_lost", is_cancelled: bool = False) -> Failure:
    return Failure(job, code, "The segmentation process ended.", "Try again.", "/log", is_cancelled)
