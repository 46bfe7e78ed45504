"""How long a person waits for what a prompt does: previews, answers, propagation, and the way through the worker."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from ...core.errors import GenesisError, ModelError
from ...core.geometry import Box, Geometry
from ...core.jobs import Job
from ...core.prompts import Prompt, extent
from ...core.protocol import IN_BETWEEN, Done, Refine, Refined, new_id
from ...core.refining_messages import SEGMENT
from ...core.volume import Source, Volume
from ...core.worker_client import WorkerClient
from ...core.worker_process import Launch
from ..refine.clicks import open_clicks
from ..refine.draft import Draft
from ..refine.refiner import Refiner
from ..refine.regions import LARGE, SMALL, region_around
from .figures import Figure
from .setting import Setting

LIMITS_MS = {("preview", SMALL): 30.0, ("preview", LARGE): 60.0, ("answer", SMALL): 150.0, ("answer", LARGE): 400.0}
PROPAGATE_S = 1.5
_STROKES = 40
_SHAPE, _SPACING = (220, 220, 160), (0.8, 0.8, 1.2)
_RADIUS_MM = 55.0
_PATIENCE_S = 60.0


def refining(setting: Setting, job: Job) -> Iterable[Figure]:
    """Prompts on the rim of an organ whose proposal lies beside it, 40 strokes of each size."""
    volume, draft = organ_and_proposal()
    refiner = Refiner(volume, open_clicks())
    has_network = open_clicks() is not None
    for side in (SMALL, LARGE):
        strokes = strokes_of(side, volume.geometry)
        yield from _waits("preview", side, [lambda s=s: refiner.preview(draft, [s]) for s in strokes], job)  # type: ignore[misc]
        if has_network:
            yield from _waits("answer", side, [lambda s=s: refiner.answer(draft, [s]) for s in strokes], job)  # type: ignore[misc]
        else:
            yield Figure.not_measured(_metric("answer", side), "there is no click network")
    yield from _through_the_worker(volume, draft, has_network, job)
    yield from _propagation(setting, job)


def organ_and_proposal() -> tuple[Volume, Draft]:
    """A ball of 40 HU more than the tissue around it, with noise, and one of its size 5 mm beside it."""
    i, j, k = (s * (np.arange(n) - n / 2) for n, s in zip(_SHAPE, _SPACING, strict=True))
    distance2 = [(i - moved)[:, None, None] ** 2 + (j**2)[:, None] + k**2 for moved in (0.0, 5.0)]
    truth, proposal = (d < _RADIUS_MM**2 for d in distance2)
    hu = np.where(truth, 100, np.where(distance2[0] < 80.0**2, 60, -1000)) + np.random.default_rng(0).normal(
        0, 18, _SHAPE
    )
    matrix = np.diag([*_SPACING, 1.0])
    volume = Volume(np.asfortranarray(hu, dtype=np.int16), Geometry(_SHAPE, matrix), Source(Path("ball"), "ball"))
    return volume, Draft.whole(np.asfortranarray(proposal))


def strokes_of(side: int, geometry: Geometry) -> list[Prompt]:
    """Points and scribbles on the rim of the organ that are worked on in a region of ``side`` voxels."""
    rng = np.random.default_rng(side)
    found: list[Prompt] = []
    while len(found) < _STROKES:
        a, b = rng.uniform(0, 2 * np.pi), rng.uniform(-0.8, 0.8)
        length = 0.0 if side == SMALL and rng.random() < 0.4 else rng.uniform(0.1, 0.9 if side == LARGE else 0.4)
        turns = np.linspace(a, a + length, 1 if length == 0 else 30)
        rim = _RADIUS_MM * np.stack(
            [np.cos(b) * np.cos(turns), np.cos(b) * np.sin(turns), np.sin(b) + 0 * turns], axis=1
        )
        points = tuple(map(tuple, (rim / np.array(_SPACING) + np.array(_SHAPE) / 2).tolist()))
        is_positive = bool(rng.random() < 0.5)
        stroke = Prompt("point", points, is_positive) if length == 0 else Prompt("scribble", points, is_positive, 1.5)
        box = extent(stroke, geometry)
        if box is not None:
            region = region_around(box, geometry)
            if region.side == side and region.is_native:
                found.append(stroke)
    return found


def _metric(step: str, side: int) -> str:
    return f"Prompt, {step}, {side}^3"


def _waits(step: str, side: int, calls: Sequence[Callable[[], object]], job: Job, how: str = "") -> list[Figure]:
    """The median and the 95th percentile of the wall times, and the same of the processor's."""
    calls[0]()
    wall, cpu = [], []
    for call in calls:
        job.check()
        started, used = time.perf_counter(), time.process_time()
        call()
        wall.append(1000 * (time.perf_counter() - started))
        cpu.append(1000 * (time.process_time() - used))
    metric, note = _metric(step, side) + how, f"{len(calls)} strokes"
    median, late = np.percentile(wall, 50), np.percentile(wall, 95)
    limit = None if how else LIMITS_MS[step, side]
    figures = [
        Figure(metric, None, float(late), "ms, 95 of 100", None, None, note, limit=limit),
        Figure(metric, None, float(median), "ms, median", None, None, note),
    ]
    if not how:
        for share, unit in ((95, "CPU ms, 95 of 100"), (50, "CPU ms, median")):
            figures.append(Figure(metric, None, float(np.percentile(cpu, share)), unit, None, None, note))
    return figures


def _through_the_worker(volume: Volume, draft: Draft, has_network: bool, job: Job) -> Iterable[Figure]:
    """From the message to the mask that is read back, in the process that Slicer would start."""
    library = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (library, os.environ.get("PYTHONPATH"))))
    package = __package__.partition(".")[0]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": path}
        launch = Launch((sys.executable, "-m", f"{package}.worker"), Path(folder) / "worker.log", environment)
        client = WorkerClient(launch, Path(folder) / "bulk")
        try:
            loaded = _wait_for(client, client.send_volume(volume, "organ"), job)
            if not isinstance(loaded, Done):
                raise GenesisError(f"The worker did not take the CT: {loaded}")
            file = _held(client, draft)
            for side in (SMALL, LARGE):
                strokes = strokes_of(side, volume.geometry)
                for step in ("preview", "answer") if has_network else ("preview",):
                    calls = [lambda s=s, k=step: _asked(client, draft.box, file, s, k, job) for s in strokes]  # type: ignore[misc]
                    yield from _waits(step, side, calls, job, ", through the worker")
        finally:
            client.close()


def _held(client: WorkerClient, draft: Draft) -> str:
    pieces = client.holding(draft.mask * np.uint8(SEGMENT))
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return str(end.value)


def _asked(client: WorkerClient, box: Box, file: str, stroke: Prompt, step: str, job: Job) -> None:
    command = Refine(new_id(), "organ", box.start, box.stop, file, (stroke,), step)  # type: ignore[arg-type]
    found = _wait_for(client, client.send(command), job)
    if not isinstance(found, Refined):
        raise GenesisError(f"The worker did not answer a prompt: {found}")
    if found.file:
        np.count_nonzero(client.mask(found)[1])
    client.release(found.id)


def _wait_for(client: WorkerClient, command: str, job: Job) -> object:
    stop = time.monotonic() + _PATIENCE_S
    while time.monotonic() < stop:
        job.check()
        for event in client.pump():
            if event.id == command and not isinstance(event, IN_BETWEEN):
                return event
        time.sleep(0.0005)
    raise GenesisError("The worker did not answer.", "Run the benchmark again.")


def _propagation(setting: Setting, job: Job) -> Iterable[Figure]:
    """A class of a whole CT, drawn anew by a head that learned from two scribbles; the features are there."""
    from ..inference.spec import ModelSpec, RunOptions
    from ..models.store import ModelStore
    from ..open_model import open_runtime, open_segmenter
    from ..refine.features import Features
    from ..refine.propagate import propagated
    from .tasks import a_ct

    metric = "Propagate one class, whole CT, starter, features kept"
    try:
        model = ModelStore.of_this_person().resolve("starter")
    except ModelError as error:
        yield Figure.not_measured(metric, error.what)
        return
    volume = a_ct(setting, setting.scan_phantom_mm)
    segmentation = open_segmenter(model, Job(), device="cpu").segment(volume, RunOptions()).segmentation
    index = max(segmentation.present(), key=lambda c: int(np.count_nonzero(segmentation.mask(c))), default=0)
    if not index:
        yield Figure.not_measured(metric, "the starter found nothing in this CT")
        return
    mask = segmentation.mask(index)
    i, j, k = (float(n) for n in np.argwhere(mask).mean(axis=0))
    prompts = [
        Prompt("scribble", ((i, j, k), (i + 5, j, k))),
        Prompt("scribble", ((i, j + 9, k), (i + 5, j + 9, k)), False),
    ]
    features = Features(volume, ModelSpec.of(model.name, model.facts), open_runtime(model, Job(), device="cpu"))
    features.around(volume.geometry)
    wall, cpu = [], []
    for _ in range(setting.rounds + 1):
        job.check()
        started, used = time.perf_counter(), time.process_time()
        propagated(volume, Draft.whole(mask), prompts, index, features)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    note = f"{' x '.join(map(str, volume.geometry.shape))} voxels"
    yield Figure(metric, None, max(wall[1:]), "wall s, slowest", None, None, note, limit=PROPAGATE_S)
    yield Figure(metric, None, float(np.median(cpu)), "CPU s, median", None, None, note)
