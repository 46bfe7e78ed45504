"""The starter on a whole CT in a process of its own: how soon there are masks, files, and how much memory it takes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...core.errors import GenesisError, ModelError
from ...core.geometry import Geometry
from ...core.jobs import Job
from ...core.volume import Volume
from ..models.store import STARTER, ModelStore
from ..phantom import phantom_ct
from .figures import Figure
from .measure import MIB, run_child
from .setting import Setting

TASK = "starter-segment"
_SIZE_MM = (390.0, 280.0, 480.0)
"""Of the phantom."""
FIRST_S, WRITTEN_S, PEAK_MB, FILE_MB = 2.0, 10.0, 1430.0, 10.0
"""1430 MB of 1024 x 1024 bytes are 1.5 GB."""


def starter_ct(setting: Setting, job: Job) -> Iterator[Figure]:
    """As ``segment`` does it, from a CT in memory to written files."""
    name = f"Starter, CT of {' x '.join(map(str, setting.starter_shape))}, ONNX Runtime"
    try:
        model = ModelStore.of_this_person().resolve(STARTER)
    except ModelError as error:
        yield Figure.not_measured(name, error.what)
        return
    megabytes = model.path.stat().st_size / 1e6
    yield Figure("Starter, file", None, megabytes, "MB", None, None, limit=FILE_MB)
    job.check()
    try:
        found = run_child(TASK, setting)
    except GenesisError as error:
        yield Figure.not_measured(name, error.what)
        return
    note = "from a CT in memory; opening the model included"
    full = setting.is_full
    for what, key, unit, limit in (
        ("first mask", "first_s", "wall s", FIRST_S),
        ("first mask", "first_cpu_s", "CPU s", None),
        ("all written", "written_s", "wall s", WRITTEN_S),
        ("all written", "written_cpu_s", "CPU s", None),
    ):
        yield Figure(f"{name}: {what}", None, found[key], unit, None, None, note, limit=limit if full else None)
    peak = found["whole_bytes"] / MIB
    note = "all that the process held, the CT included"
    yield Figure(f"{name}: memory", None, peak, "MB", None, None, note, limit=PEAK_MB if full else None)


def large_ct(shape: tuple[int, int, int]) -> Volume:
    """The phantom on a fine grid, each voxel the nearest of a coarse one."""
    small = phantom_ct(3.0)
    index = [np.arange(n) * m // n for n, m in zip(shape, small.voxels.shape, strict=True)]
    spacing = [mm / n for mm, n in zip(_SIZE_MM, shape, strict=True)]
    matrix = small.geometry.ijk_to_ras.copy()
    matrix[:3, :3] = np.diag(spacing)
    return Volume(np.asfortranarray(small.voxels[np.ix_(*index)]), Geometry(shape, matrix), small.source)


def prepare(setting: Setting) -> Callable[[], dict[str, float]]:
    """What the child runs: the way of ``segment`` from the CT on, with the seconds of the first mask and of the end."""
    from ..case import ModelLabel, segment_case
    from ..inference.spec import RunOptions
    from ..open_model import open_segmenter

    volume, job = large_ct(setting.starter_shape), Job()
    model = ModelStore.of_this_person().resolve(STARTER)
    label = ModelLabel(model.name, model.title, model.sha256)

    def work() -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        found: dict[str, float] = {}

        def now(key: str) -> None:
            found.setdefault(f"{key}_s", time.perf_counter() - wall)
            found.setdefault(f"{key}_cpu_s", time.process_time() - cpu)

        segmenter = open_segmenter(model, job, runtime="onnx", device="cpu")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "ct.seg.nrrd"
            options = RunOptions()
            segment_case(volume, target, segmenter, options, label, job, "", on_class=lambda *_: now("first"))
            now("written")
        return {"first_s": found["written_s"], "first_cpu_s": found["written_cpu_s"], **found}

    return work
