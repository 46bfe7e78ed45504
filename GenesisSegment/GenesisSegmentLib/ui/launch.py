"""How the worker process is started inside Slicer, and where its files lie."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import slicer

from ..core.i18n import _
from ..core.worker_process import Launch

_PROGRAM = "PythonSlicer"
_LIBRARY = Path(__file__).resolve().parents[2]
_FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE")
"""Set for another Python, these make Slicer's own load a standard library that does not fit it. Its launcher sets anew
what it needs."""


def worker_launch() -> Launch:
    """The process that segments."""
    return _launch("GenesisSegmentLib.worker", log_file())


def learner_launch() -> Launch:
    """The process that learns."""
    launch = _launch("GenesisSegmentLib.worker.learner", log_file().with_name("learner.log"))
    return replace(launch, title=_("The learning process"))


def _launch(module: str, log: Path) -> Launch:
    """Runs a module of the library in Slicer's Python, which Slicer puts on its PATH.

    Where it is missing, the start of the process says so.
    """
    program = shutil.which(_PROGRAM) or _PROGRAM
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    environment.update(PYTHONPATH=str(_LIBRARY), PYTHONNOUSERSITE="1")
    return Launch((program, "-m", module), log, environment)


def log_file() -> Path:
    """Where the worker's log lies."""
    return Path(slicer.app.cachePath) / "GenesisSegment" / "worker.log"


def bulk_folder() -> Path:
    """Where CTs and results are handed over as files."""
    return Path(slicer.app.temporaryPath) / "GenesisSegment"
