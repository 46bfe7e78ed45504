"""The folder where models, samples and settings of this person are kept, the same for every version."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

HOME_VARIABLE = "GENESIS_SEGMENT_HOME"


def data_home() -> Path:
    """The user's data folder, or the folder that the environment variable ``GENESIS_SEGMENT_HOME`` names.

    There is no version in the path: a newer release finds what an older one downloaded.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_data_dir("GenesisSegment", appauthor=False))
