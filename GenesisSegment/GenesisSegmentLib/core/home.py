"""The folder where models, corrections and settings of this person are kept, the same for every version.

Computed without a library, because Slicer's own process needs it when nothing is installed yet; a test compares it
with what platformdirs says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME_VARIABLE = "GENESIS_SEGMENT_HOME"
_NAME = "GenesisSegment"


def data_home() -> Path:
    """The user's data folder, or the folder that the environment variable ``GENESIS_SEGMENT_HOME`` names.

    There is no version in the path: a newer release finds what an older one kept.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return _of_this_system() / _NAME


def _of_this_system() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    given = os.environ.get("XDG_DATA_HOME", "").strip()
    return Path(given) if given else home / ".local" / "share"
