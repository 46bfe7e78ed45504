"""The collaborators of the controller as plain objects: a scene, a scripted worker, a set-up, settings, a clock."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from GenesisSegmentLib.core.classes import class_table
from GenesisSegmentLib.core.errors import ConsentError, InputError
from GenesisSegmentLib.core.geometry import Box, Geometry
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
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models
from GenesisSegmentLib.core.workflow.controller import Controller
from GenesisSegmentLib.core.workflow.ports import Guarded, Package, SceneParameters, SegmentState, SetupReport, Snapshot

SHAPE = (5, 4, 3)
CPU = DeviceInfo("cpu", "x86_64, 8 threads", 12_000_000_000, 16_000_000_000)
GPU = DeviceInfo("cuda:0", "A graphics card", 22_000_000_000, 24_000_000_000)
GOOD = Package("onnxruntime>=1.20", "Runs the starter.", "1.22", True, 0, "MIT")
LACKING = Package("onnxruntime>=1.20", "Runs the starter.", None, False, 25, "MIT")


def volume() -> Volume:
    geometry = Geometry(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))
    return Volume(np.zeros(SHAPE, dtype=np.int16), geometry, Source(Path("ct"), "ct"))


def segment_state(index: int, **changes) -> SegmentState:
    structure = class_table()[index]
    state = SegmentState(structure.slug, structure.name, structure.color, index, False, False, True, 0)
    return replace(state, **changes)


class FakeClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeScene:
    """Volumes by ID with their fingerprints; results by volume. ``calls`` are the writes, in order."""

    def __init__(self) -> None:
        self.fingerprints = {"ct1": "f1", "ct2": "f2"}
        self.problems: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.dicom: set[str] = set()
        self.taken: tuple[str, ...] = ()
        """Names of protected segments that something was taken from."""
        self.unmarked: tuple[str, ...] = ()
        """Names of those whose marks undo took."""
        self.results: dict[str, str] = {}
        self.rows: dict[str, list[SegmentState]] = {}
        self.overlaps: tuple[tuple[int, int], ...] = ()
        self.versions: dict[str, int] = {}
        """How often voxels were changed."""
        self.parameters = SceneParameters()
        self.calls: list[tuple] = []
        self.written: list[tuple[str, str]] = []
        """Fingerprint of the snapshot and of the volume at the time of each write."""
        self.surfaces: set[str] = set()
        """Segmentations that 3D shows, and those whose surfaces were taken away."""
        self.suspended: set[str] = set()
        self.refusing: set[str] = set()
        """Methods that raise."""
        self.when_writing = lambda: None
        self.clock, self.pieces, self.piece_s = FakeClock(), 1, 0.0

    def _refuse(self, name: str) -> None:
        if name in self.refusing:
            raise InputError(f"{name} is not possible.", "Do something else.")

    def _in_pieces(self) -> Pieces[None]:
        """Takes ``pieces`` pieces, each of which lets ``piece_s`` seconds pass."""
        for _n in range(self.pieces):
            self.clock.now += self.piece_s
            yield

    def copying(self, volume_id: str) -> Pieces[Snapshot]:
        self._refuse("copying")
        if volume_id not in self.fingerprints:
            raise InputError("The CT is gone.")
        return self._copy(volume_id)

    def _copy(self, volume_id: str) -> Pieces[Snapshot]:
        yield from self._in_pieces()
        self._refuse("copy")
        if volume_id not in self.fingerprints:
            raise InputError("The CT is gone.")
        return Snapshot(volume_id, volume(), self.fingerprints[volume_id])

    def problem(self, volume_id: str) -> str:
        self._refuse("problem")
        return self.problems.get(volume_id, "")

    def note(self, volume_id: str) -> str:
        return self.notes.get(volume_id, "")

    def geometry(self, volume_id: str) -> Geometry:
        self._refuse("geometry")
        return volume().geometry

    def is_dicom(self, volume_id: str) -> bool:
        return volume_id in self.dicom

    def fingerprint(self, volume_id: str) -> str | None:
        return self.fingerprints.get(volume_id)

    def segmentation_of(self, volume_id: str) -> str | None:
        return self.results.get(volume_id)

    def writing_partial(self, snapshot, class_index, box, mask) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("write_partial")
        self.calls.append(("write_partial", snapshot.node_id, class_index, box, int(mask.sum())))

    def discard_partials(self, snapshot) -> None:
        self.calls.append(("discard_partials", snapshot.node_id))

    def write_result(self, snapshot, layers, text, measurements) -> str:
        self._refuse("write_result")
        now = self.fingerprint(snapshot.node_id)
        self.written.append((snapshot.fingerprint, str(now)))
        classes = [c for layer in layers for c in layer.classes]
        self.calls.append(("write_result", snapshot.node_id, tuple(classes), text, measurements))
        self.add_result(snapshot.node_id, classes)
        self.when_writing()
        return self.results[snapshot.node_id]

    def add_result(self, volume_id: str, classes) -> None:
        self.results[volume_id] = f"seg-{volume_id}"
        self.rows[self.results[volume_id]] = [segment_state(c) for c in sorted(classes)]

    def remove(self, volume_id: str) -> None:
        self.fingerprints.pop(volume_id, None)
        self.results.pop(volume_id, None)

    def segments(self, segmentation_id):
        return tuple(self.rows[segmentation_id])

    def counting(self, segmentation_id) -> Pieces[None]:
        yield from self._in_pieces()
        self.calls.append(("count_changes", segmentation_id))

    def _change(self, segmentation_id, segment_id, **changes) -> None:
        rows = self.rows[segmentation_id]
        self.rows[segmentation_id] = [replace(r, **changes) if r.segment_id == segment_id else r for r in rows]

    def set_locked(self, segmentation_id, segment_id, is_locked) -> None:
        self._change(segmentation_id, segment_id, is_locked=is_locked)

    def set_reviewed(self, segmentation_id, segment_id, is_reviewed) -> None:
        self._change(segmentation_id, segment_id, is_reviewed=is_reviewed)

    def guarding(self, segmentation_id, is_in_editor) -> Pieces[Guarded]:
        yield from self._in_pieces()
        taken, self.taken, unmarked, self.unmarked = self.taken, (), self.unmarked, ()
        if taken:
            self.calls.append(("put_back", taken))
        return Guarded(taken, unmarked, bool(taken) and not is_in_editor)

    def forget_guarded(self) -> None:
        self.taken = self.unmarked = ()

    def set_visible(self, segmentation_id, segment_id, is_visible) -> None:
        self._change(segmentation_id, segment_id, is_visible=is_visible)

    def version(self, segmentation_id):
        self._refuse("version")
        return self.versions.get(segmentation_id, 0), tuple(self.rows[segmentation_id])

    def add_segment(self, segmentation_id, class_index) -> str:
        self._refuse("add_segment")
        self.calls.append(("add_segment", class_index))
        state = (
            segment_state(class_index) if class_index else replace(segment_state(1), segment_id="own", class_index=0)
        )
        self.rows[segmentation_id].append(state)
        return state.segment_id

    def reading_surroundings(self, segmentation_id, segment_id, box) -> Pieces[np.ndarray]:
        yield from self._in_pieces()
        self._refuse("surroundings")
        self.calls.append(("surroundings", segment_id, box))
        return np.ones(box.shape, np.uint8)

    def redrawing(self, segmentation_id, segment_id, box, mask) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("redrawing")
        self.calls.append(("redraw", segment_id, box, int(mask.sum())))
        self.change_voxels(segmentation_id)

    def change_voxels(self, segmentation_id) -> None:
        self.versions[segmentation_id] = self.versions.get(segmentation_id, 0) + 1

    def showing_preview(self, segmentation_id, box, mask) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("showing_preview")
        self.calls.append(("show_preview", box))

    def hide_preview(self, segmentation_id) -> None:
        self.calls.append(("hide_preview", segmentation_id))

    def resetting(self, segmentation_id, segment_id) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("resetting")
        self.calls.append(("reset", segment_id))
        self._change(segmentation_id, segment_id, changed_voxels=0)

    def show_proposal(self, segmentation_id, is_shown) -> None:
        self.calls.append(("show_proposal", is_shown))

    def showing_difference(self, segmentation_id, segment_id) -> Pieces[None]:
        yield from self._in_pieces()
        self._refuse("showing_difference")
        self.calls.append(("show_difference", segment_id))

    def hide_difference(self, segmentation_id) -> None:
        self.calls.append(("hide_difference", segmentation_id))

    def suspend_3d(self, segmentation_id) -> None:
        self.calls.append(("suspend_3d", segmentation_id))
        self.suspended |= self.surfaces
        self.surfaces = set()

    def is_3d_suspended(self, segmentation_id) -> bool:
        return segmentation_id in self.suspended

    def update_3d(self, segmentation_id) -> None:
        self.calls.append(("update_3d", segmentation_id))
        self.surfaces.add(segmentation_id)
        self.suspended.discard(segmentation_id)

    def finding_overlaps(self, segmentation_id):
        yield from self._in_pieces()
        return self.overlaps

    def preparing_export(self, segmentation_id, volume_id, request) -> Pieces[FakeExport]:
        yield from self._in_pieces()
        self._refuse("export")
        self.calls.append(("prepare_export", segmentation_id))
        return FakeExport(self, request)

    def load_parameters(self) -> SceneParameters:
        kept = self.parameters
        return kept if kept.volume_id in self.fingerprints else replace(kept, volume_id=None)

    def save_parameters(self, parameters) -> None:
        self.parameters = parameters

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


class FakeExport:
    """What the scene copied; its files are written in pieces, or given up between them."""

    def __init__(self, scene: FakeScene, request) -> None:
        self._scene, self._request = scene, request

    def writing(self, report) -> Pieces[tuple[Path, ...]]:
        is_done = False
        try:
            for n, key in enumerate(self._request.formats):
                report(f"Exporting: {key}", n / len(self._request.formats))
                yield from self._scene._in_pieces()
            self._scene._refuse("writing")
            is_done = True
        finally:
            self._scene.calls.append(("export" if is_done else "give_up", self._request))
        return tuple(self._request.folder / f"result.{key}" for key in self._request.formats)


class ScriptedWorker:
    """Answers at once where it is told to (``is_prompt``); otherwise the test says what comes, in any order."""

    def __init__(self) -> None:
        self.commands: list[object] = []
        self.handed: list[tuple[str, str]] = []
        self.cancelled: list[str] = []
        self.released: list[str] = []
        self.held: list[tuple[int, ...]] = []
        """Shapes of the boxes that prompts are about."""
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
