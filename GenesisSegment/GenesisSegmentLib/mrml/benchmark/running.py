"""How long the controller holds the main thread up during a run, and what a command costs on its way."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import slicer

from ...core.geometry import Box
from ...core.protocol import Done, Unload, new_id
from ...core.worker_client import WorkerClient
from ...core.worker_process import Launch
from ...core.workflow.controller import Controller
from ...core.workflow.ports import SetupReport
from ...core.workflow.states import State
from ..editing import Edit
from ..nodes import PARTIAL, parts_of
from .labels import Shape
from .results import LOCAL_TARGET_MS
from .row import Row, Seconds, timed
from .stage import Stage

CALLBACK_TARGET_MS, COMMAND_TARGET_MS = 16.0, 10.0
_TICK_S, _PATIENCE_S, _COMMANDS = 0.1, 120.0, 50


class ReadySetup:
    """Everything is installed."""

    def check(self, runtime: str) -> SetupReport:
        """Nothing is missing."""
        return SetupReport((), 100.0)

    def install(self, runtime: str, report: Callable[[str], None]) -> SetupReport:
        """Nothing to do."""
        return self.check(runtime)

    def agree(self, title: str, text: str) -> bool:
        """Nobody is asked."""
        return True


class Settings(dict[str, str]):
    """Settings of this run alone."""

    def set(self, key: str, value: str) -> None:
        """Keeps a text."""
        self[key] = value


def callbacks(shape: Shape) -> list[Row]:
    """The longest callback of each kind while a real process plays a run; of the calling thread alone."""
    stage = Stage(shape)
    slicer.mrmlScene = stage.mrml
    with tempfile.TemporaryDirectory(prefix="genesis-benchmark-") as folder:
        worker = WorkerClient(launch(Path(folder), f"{__package__}.echo"), Path(folder))
        controller = Controller(stage.scene, worker, ReadySetup(), Settings(), time.monotonic)
        try:
            costs = _run(controller, stage)
        finally:
            controller.close()
            time.sleep(1)  # the process ends, and its files go, in the background
    return [_callback(name, costs[name], target) for name, target in _KINDS]


def commands(_shape: Shape) -> list[Row]:
    """What a command and its answer take: of this process, all threads together, and from end to end by the clock."""
    with tempfile.TemporaryDirectory(prefix="genesis-benchmark-") as folder:
        client = WorkerClient(launch(Path(folder), f"{__package__}.echo"), Path(folder))
        try:
            _ask(client)  # the process starts
            costs = [timed(lambda: _ask(client))[1] for _n in range(_COMMANDS)]
        finally:
            client.close()
            time.sleep(1)
    wall = median(cost.wall for cost in costs)
    return [Row("A command and its answer", 1000 * wall, "ms", COMMAND_TARGET_MS, wall, note="by the clock; median")]


_CHOOSE, _QUIET, _COPY = "Choosing the CT", "Ticks, the estimate among them", "Ticks that copy the CT"
_EARLY, _IMPORT = "Ticks that show an early organ", "Putting the result in (announced)"
_COUNT, _LOCK = "Ticks that count changes and find overlaps", "Locking a structure"
_SHOW = "Showing what was changed in a structure"
_RESET = "Giving a structure back its proposal"
_EDGE = "The same, where the image that segments share grew or shrinks"
_NOTES = {
    _RESET: "ticks; Slicer's undo state and its write have one each",
    _EDGE: "ticks; Slicer copies the whole image for the undo state, and again to crop it",
}
_KINDS = (
    (_CHOOSE, None),
    (_QUIET, CALLBACK_TARGET_MS),
    (_COPY, CALLBACK_TARGET_MS),
    (_EARLY, CALLBACK_TARGET_MS),
    (_IMPORT, None),
    (_COUNT, CALLBACK_TARGET_MS),
    (_SHOW, CALLBACK_TARGET_MS),
    (_LOCK, CALLBACK_TARGET_MS),
    (_RESET, LOCAL_TARGET_MS),
    (_EDGE, None),
)
"""The last has no target: what it takes, about 30 ms a tick, is one call of Slicer's own that cannot be cut."""


def _run(controller: Controller, stage: Stage) -> dict[str, list[Seconds]]:
    costs: dict[str, list[Seconds]] = {name: [] for name, _target in _KINDS}
    volume_id = stage.volume.GetID()
    controller.start()
    costs[_CHOOSE].append(timed(lambda: controller.choose_volume(volume_id))[1])
    for _n in range(10):  # the choice settles, and the estimate is asked for
        costs[_QUIET].append(timed(controller.tick)[1])
        time.sleep(_TICK_S)
    costs[_COPY].append(timed(controller.segment)[1])
    costs[_COPY] += _work(controller)
    end = time.monotonic() + _PATIENCE_S
    while controller.view.state is State.PREDICTING and time.monotonic() < end:
        before, was_working = _early(stage), controller.view.is_working
        cost = timed(controller.tick)[1]
        if controller.view.state is not State.PREDICTING:
            costs[_IMPORT].append(cost)
        else:
            is_quiet = _early(stage) == before and not (was_working or controller.view.is_working)
            costs[_QUIET if is_quiet else _EARLY].append(cost)
        time.sleep(0 if controller.view.is_working else _TICK_S)
    if controller.view.state is not State.REVIEWING:
        raise SystemExit(controller.view.status.text)
    _review(controller, stage, costs)
    return costs


def _review(controller: Controller, stage: Stage, costs: dict[str, list[Seconds]]) -> None:
    """Some voxels are changed, and all that follows is done: every voxel is looked at for it."""
    sides = stage.labels.shape
    middle, corner = (
        Box(start, tuple(a + min(64, n // 2) for a, n in zip(start, sides, strict=True)))  # type: ignore[arg-type]
        for start in (tuple(n // 2 for n in sides), (0, 0, 0))
    )
    _change(controller, stage, corner)
    costs[_COUNT].append(timed(lambda: controller.show_export(True))[1])
    end = time.monotonic() + 1.5  # counting waits for a second of rest
    while time.monotonic() < end:
        costs[_COUNT] += [timed(controller.tick)[1], *_work(controller)]
        time.sleep(_TICK_S)
    controller.show_difference(True)
    for structure in ("spleen", "liver"):
        costs[_SHOW] += [timed(partial(controller.select_segment, structure))[1], *_work(controller)]
    for structure in ("spleen", "pancreas"):  # those that are locked already are looked at first
        _change(controller, stage, corner)
        costs[_LOCK] += [timed(partial(controller.set_locked, structure, True))[1], *_work(controller)]
    for kind, box in ((_EDGE, corner), (_RESET, middle)):  # the second change gives the structure an image of its own
        _change(controller, stage, box)
        costs[kind] += [timed(lambda: controller.reset_segment("liver"))[1], *_work(controller)]
        if "as the model proposed" not in controller.view.status.text:
            raise SystemExit(controller.view.status.text)


def _change(controller: Controller, stage: Stage, box: Box) -> None:
    """Adds a box to a structure."""
    edit = Edit(box, np.ones(box.shape, bool), np.zeros(box.shape, bool))
    stage.scene.write_segment(controller.view.correct.segmentation_id, "liver", edit)
    controller.segmentation_edited()


def _work(controller: Controller) -> list[Seconds]:
    """Ticks until no work is left."""
    costs, end = [], time.monotonic() + _PATIENCE_S
    while controller.view.is_working and time.monotonic() < end:
        costs.append(timed(controller.tick)[1])
    return costs


def _early(stage: Stage) -> int:
    nodes: list[Any] = parts_of(stage.mrml, stage.volume.GetID(), PARTIAL)
    return sum(node.GetSegmentation().GetNumberOfSegments() for node in nodes)


def _callback(name: str, costs: list[Seconds], target: float | None) -> Row:
    longest = max(costs, key=lambda cost: cost.thread)
    note = f"longest of {len(costs)} {_NOTES.get(name, '')}".strip() if len(costs) > 1 else ""
    return Row(name, 1000 * longest.thread, "ms", target, longest.wall, note=note)


def _ask(client: WorkerClient) -> None:
    job = client.send(Unload(new_id(), "nothing"))
    end = time.monotonic() + _PATIENCE_S
    while not any(isinstance(event, Done) and event.id == job for event in client.pump()):
        if time.monotonic() > end:
            raise SystemExit("The process of the benchmark does not answer.")
        time.sleep(0.0005)


def launch(folder: Path, module: str) -> Launch:
    """A module of the library as the worker, with its log in a folder."""
    library = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    return Launch((sys.executable, "-m", module), folder / "worker.log", {**os.environ, "PYTHONPATH": path})
