"""Has the texts of the library translated by Slicer."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import slicer.i18n

from ..core.i18n import set_translator


def install() -> None:
    """Every text that goes through :func:`..core.i18n._` is translated from now on."""
    set_translator(_translated)


def _translated(text: str) -> str:
    # `slicer.i18n.tr` takes the file of its caller for the context of a text, which would be core/i18n.py for all.
    caller = sys._getframe(2).f_code.co_filename
    return slicer.i18n.translate(_context(caller), text)


@cache
def _context(file: str) -> str:
    """How Slicer's tools name the texts of a file of a package: ``folder.file``."""
    path = Path(file)
    return f"{path.parent.name}.{path.stem}"
