"""How time and memory grow with the windows of a CT, its voxels and the classes: linear, where it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...core.jobs import Job
from ..inference.ring import BitSink, slide
from . import tasks, whole
from .figures import Curve, Figure
from .measure import in_turn, peak_of
from .setting import Setting
from .whole import exact_paths, runtime_of

LINEAR = 1.15
"""Most of a power that still counts as linear."""


def growth(setting: Setting, job: Job) -> Iterator[Figure]:
    """Curves, measured from small to large."""
    yield _figure("Growth of time with windows", _windows(setting, job), "the universal U-Net, fp32")
    for name, x, settings in (
        ("voxels", "million voxels", _longer(setting)),
        ("classes", "classes", _more_classes(setting)),
    ):
        xs = tuple(s.classes if name == "classes" else float(np.prod(s.aggregate_shape)) / 1e6 for s in settings)
        images = [tasks.aggregate_image(s) for s in settings]
        costs = in_turn(
            [lambda i=i, s=s: tasks.aggregate_by_ring(i, s) for i, s in zip(images, settings, strict=True)],  # type: ignore[misc]
            setting.rounds,
            job.check,
        )
        note = "windows to bits, with a stand-in for the network"
        yield _figure(f"Growth of time with {name}", Curve(x, "CPU s", xs, tuple(c.cpu for c in costs)), note)
        peaks = []
        for each in settings:
            job.check()
            peaks.append(max(peak_of("aggregate-ring", each), 0.1))
        yield _figure(f"Growth of memory with {name}", Curve(x, "peak MB", xs, tuple(peaks)), note)


def _figure(metric: str, curve: Curve, note: str) -> Figure:
    return Figure(metric, None, curve.power, "power", None, None, note, limit=LINEAR, curve=curve)


def _longer(setting: Setting) -> list[Setting]:
    """Images of growing length."""
    side = setting.growth_side
    shapes = [(side, side, side * step) for step in setting.growth_steps]
    return [replace(setting, aggregate_shape=shape, aggregate_window=side // 2) for shape in shapes]


def _more_classes(setting: Setting) -> list[Setting]:
    longest = _longer(setting)[-1]
    return [replace(longest, classes=32 * step // setting.growth_steps[-1]) for step in setting.growth_steps]


def _windows(setting: Setting, job: Job) -> Curve:
    """Images of whole windows side by side, through the network."""
    side, steps = setting.whole_window, setting.growth_steps
    runtime = runtime_of(whole.universal_network(), exact_paths())
    image = np.random.default_rng(0).random((side, side, side * steps[-1]), dtype=np.float32)

    def run(count: int) -> None:
        part = image[..., : side * count]
        sink = BitSink(part.shape, tasks.CLASSES)  # type: ignore[arg-type]
        channels = tasks.UNIVERSAL.channels(tasks.CLASSES)
        slide(part, runtime, channels, (side, side, side), 0.0, sink, lambda share: job.check())

    ways = [lambda n=n: run(n) for n in steps]  # type: ignore[misc]
    rounds = 1 if setting.is_full else setting.rounds
    costs = in_turn(ways, rounds, job.check, is_warmed=not setting.is_full)
    return Curve("windows", "CPU s", tuple(map(float, steps)), tuple(c.cpu for c in costs))
