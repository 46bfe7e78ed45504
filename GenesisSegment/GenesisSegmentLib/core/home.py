"""The folder where models, corrections and settings of this person are kept, the same for every version.

Computed without a library, because Slicer's own process needs it when nothing is installed yet; a test compares it
with what platformdirs says.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME_VARIABLE, STORE_VARIABLE = "GENESIS_SEGMENT_HOME", "GENESIS_SEGMENT_STORE"
_NAME = "GenesisSegment"
DATABASE_NAME, BLOBS_NAME = "cases.sqlite", "blobs"
"""What lies in the folder of the case store, beside the salt."""


def data_home() -> Path:
    """The user's data folder, or the folder that the environment variable ``GENESIS_SEGMENT_HOME`` names.

    There is no version in the path: a newer release finds what an older one kept.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return _of_this_system() / _NAME


def store_folder() -> Path:
    """Where accepted cases are kept: ``cases`` in the data folder, or what ``GENESIS_SEGMENT_STORE`` names."""
    chosen = os.environ.get(STORE_VARIABLE)
    return Path(chosen).expanduser().absolute() if chosen else data_home() / "cases"


def outbox_folder() -> Path:
    """Where accepted corrections wait until they are in the store."""
    return data_home() / "outbox"


def versions_folder() -> Path:
    """Where the models are that learning made."""
    return data_home() / "versions"


def _of_this_system() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    given = os.environ.get("XDG_DATA_HOME", "")
    if Path(given).is_absolute():  # relative ones are to be ignored (XDG Base Directory Specification)
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path.home() / ".local" / "share"
