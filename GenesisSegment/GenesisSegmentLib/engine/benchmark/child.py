"""A process that runs one task and prints the peak of its memory: ``python -m ....child TASK SETTING``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from . import tasks
from .setting import Setting


def _aggregate(way: Callable[..., object], setting: Setting) -> Callable[[], object]:
    image = tasks.aggregate_image(setting)
    return lambda: way(image, setting)


def _resample(way: Callable[..., object], setting: Setting) -> Callable[[], object]:
    volume = tasks.a_ct(setting, setting.resample_phantom_mm)
    return lambda: way(volume)


def _step(task: str, setting: Setting) -> Callable[[], object]:
    from .learning import ways

    return next(way for way in ways() if way.task == task).prepare(setting)


TASKS: dict[str, Callable[[Setting], Callable[[], object]]] = {
    "aggregate-monai": lambda setting: _aggregate(tasks.aggregate_by_monai, setting),
    "aggregate-ring": lambda setting: _aggregate(tasks.aggregate_by_ring, setting),
    "resample-monai": lambda setting: _resample(tasks.input_by_monai, setting),
    "resample-ours": lambda setting: _resample(tasks.input_by_ours, setting),
    "learn-plain": lambda setting: _step("learn-plain", setting),
    "learn-all": lambda setting: _step("learn-all", setting),
    "learn-decoder": lambda setting: _step("learn-decoder", setting),
    "learn-head": lambda setting: _step("learn-head", setting),
    "learn-cached": lambda setting: _step("learn-cached", setting),
}


def peak_bytes() -> int:
    """The most memory that this process has held so far.

    Linux counts the parent's memory into ``ru_maxrss`` when it starts a child, so the kernel's own mark is read there.
    """
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main(task: str, arguments: str) -> None:
    """Prepares the task, then runs it."""
    if task.endswith("monai"):
        import monai.inferers
        import monai.transforms  # noqa: F401  loaded before the idle memory is read

    values = json.loads(arguments)
    values["ct"] = Path(values["ct"]) if values["ct"] else None
    values["aggregate_shape"] = tuple(values["aggregate_shape"])
    work = TASKS[task](Setting(**values))
    idle = psutil.Process().memory_info().rss
    result = work()
    print(json.dumps({"peak_bytes": peak_bytes() - idle}))
    del result


if __name__ == "__main__":
    main(*sys.argv[1:])
