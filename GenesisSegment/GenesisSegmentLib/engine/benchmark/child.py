"""A process that runs one task and prints the peak of its memory: ``python -m ....child TASK SETTING``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from .setting import Setting


def _aggregate(way: str, setting: Setting) -> Callable[[], object]:
    from . import tasks  # not above: each task loads what it needs, as that may be a part of what is measured

    image = tasks.aggregate_image(setting)
    return lambda: getattr(tasks, f"aggregate_by_{way}")(image, setting)


def _resample(way: str, setting: Setting) -> Callable[[], object]:
    from . import tasks

    volume = tasks.a_ct(setting, setting.resample_phantom_mm)
    return lambda: getattr(tasks, f"input_by_{way}")(volume)


def _window(setting: Setting, is_ours: bool) -> Callable[[], object]:
    import torch

    from ..inference.paths import PLAIN, arrange, forward
    from ..inference.selftest import sample_window
    from .tasks import published_head
    from .whole import exact_paths, universal_network

    network, image = universal_network(), torch.from_numpy(sample_window(setting.window_side))[None, None]
    paths = exact_paths() if is_ours else PLAIN
    arrange(network, paths)

    def work() -> torch.Tensor:
        if is_ours:
            return forward(network, image, None, paths)
        with torch.no_grad():
            return published_head(*network.features(image))

    return work


def _starter(setting: Setting) -> Callable[[], object]:
    from .starter_ct import prepare

    return prepare(setting)


def _step(task: str, setting: Setting) -> Callable[[], object]:
    from .learning import ways

    return next(way for way in ways() if way.task == task).prepare(setting)


def _level(name: str, is_narrow: bool, setting: Setting) -> Callable[[], object]:
    from .levels import prepare

    return prepare(name, is_narrow, setting)


def _level_tasks() -> dict[str, Callable[[Setting], Callable[[], object]]]:
    from .levels import NAMES, task

    pairs = [(name, is_narrow) for name in NAMES for is_narrow in (False, True)]
    return {task(name, is_narrow): partial(_level, name, is_narrow) for name, is_narrow in pairs}


TASKS: dict[str, Callable[[Setting], Callable[[], object]]] = {
    "aggregate-monai": lambda setting: _aggregate("monai", setting),
    "aggregate-ring": lambda setting: _aggregate("ring", setting),
    "resample-monai": lambda setting: _resample("monai", setting),
    "resample-ours": lambda setting: _resample("ours", setting),
    "window-published": lambda setting: _window(setting, is_ours=False),
    "window-ours": lambda setting: _window(setting, is_ours=True),
    "starter-segment": lambda setting: _starter(setting),
    "learn-plain": lambda setting: _step("learn-plain", setting),
    "learn-all": lambda setting: _step("learn-all", setting),
    "learn-decoder": lambda setting: _step("learn-decoder", setting),
    "learn-head": lambda setting: _step("learn-head", setting),
    "learn-cached": lambda setting: _step("learn-cached", setting),
    **_level_tasks(),
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
    for name in ("aggregate_shape", "starter_shape"):
        values[name] = tuple(values[name])
    work = TASKS[task](Setting(**values))
    idle = psutil.Process().memory_info().rss
    result = work()
    measured = result if isinstance(result, dict) else {}
    print(json.dumps({"peak_bytes": peak_bytes() - idle, "whole_bytes": peak_bytes(), **measured}))
    del result


if __name__ == "__main__":
    main(*sys.argv[1:])
