"""What a prompt takes from the mouse to the voxels: scene, controller, the real worker process, and back."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import slicer

from ...core.pieces import finished
from ...core.strokes import Stroke
from ...core.worker_client import WorkerClient
from ...core.workflow.controller import Controller
from .labels import Shape
from .results import LOCAL_TARGET_MS
from .row import Row, Seconds, timed
from .running import ReadySetup, Settings, launch
from .stage import TEXT, Stage

_STROKES, _PATIENCE_S = 20, 120.0
_NOTE = "the longest; Slicer's undo state and its write have one each"
_RIGHT, _UP = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def prompts(shape: Shape) -> list[Row]:
    """Previews and answers of clicks on the surface of an organ: by the clock from end to end, and the longest tick."""
    stage = Stage(shape)
    slicer.mrmlScene = stage.mrml
    volume_id = stage.volume.GetID()
    stage.scene.write_result(finished(stage.scene.copying(volume_id)), stage.layers, TEXT, [])
    with tempfile.TemporaryDirectory(prefix="genesis-benchmark-") as folder:
        worker = WorkerClient(launch(Path(folder), "GenesisSegmentLib.worker"), Path(folder))
        controller = Controller(stage.scene, worker, ReadySetup(), Settings(), time.monotonic)
        try:
            controller.start()
            controller.choose_volume(volume_id)
            controller.select_segment("liver")
            controller.choose_tool("point")
            return _rows(controller, _clicks(stage))
        finally:
            controller.close()
            time.sleep(1)  # the process ends, and its files go, in the background


def _rows(controller: Controller, clicks: Iterator[Stroke]) -> list[Row]:
    ticks: list[Seconds] = []
    _answered(controller, ticks, next(clicks), True)  # the process starts, and takes the CT
    previews, answers = [], []
    ticks.clear()
    for stroke in clicks:
        _answered(controller, [], stroke, False)  # the box around the click is handed over
        previews.append(_answered(controller, ticks, stroke, False))
        answers.append(_answered(controller, ticks, stroke, True))
    longest = max(ticks, key=lambda cost: cost.thread)
    return [
        _by_the_clock("A preview, from the mouse to the view", previews),
        _by_the_clock("An answer, from the mouse to the voxels", answers),
        Row("Ticks while prompts are answered", 1000 * longest.thread, "ms", LOCAL_TARGET_MS, longest.wall, note=_NOTE),
    ]


def _by_the_clock(name: str, seconds: list[float]) -> Row:
    longest, middle = (float(np.percentile(seconds, share)) for share in (95, 50))
    note = f"by the clock; 95th percentile of {len(seconds)}; median {1000 * middle:.0f} ms"
    return Row(name, 1000 * longest, "ms", wall_s=longest, note=note)


def _clicks(stage: Stage) -> Iterator[Stroke]:
    """Positions on the surface of the liver, as the table of classes numbers it."""
    labels, random = stage.labels, np.random.default_rng(0)
    inside = labels == 6
    edge = np.argwhere(inside[1:, 1:-1, 1:-1] & ~inside[:-1, 1:-1, 1:-1]) + 1
    grid = stage.scene.geometry(stage.volume.GetID())
    for index in edge[random.integers(0, len(edge), _STROKES + 1)]:
        place = grid.ijk_to_ras[:3, :3] @ index + grid.origin
        yield Stroke((tuple(place.tolist()),), _RIGHT, _UP)


def _answered(controller: Controller, ticks: list[Seconds], stroke: Stroke, is_done: bool) -> float:
    """Seconds until everything that a stroke asks for was done."""
    started = time.perf_counter()
    ticks.append(timed(lambda: controller.draw(stroke, is_done))[1])
    while controller.view.is_working:
        ticks.append(timed(controller.tick)[1])
        if controller.view.status.kind == "error" or time.perf_counter() - started > _PATIENCE_S:
            raise SystemExit(controller.view.status.text)
        time.sleep(0.001)
    return time.perf_counter() - started
