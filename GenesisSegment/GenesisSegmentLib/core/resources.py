"""Finds the files of ``Resources`` in a checkout, in a Python installation and in a Slicer installation."""

from __future__ import annotations

from pathlib import Path

from .errors import GenesisError
from .i18n import _

_MARKER = "GenesisSegmentClasses.json"
_LIBRARY = Path(__file__).resolve().parents[1]


def candidates(library: Path) -> tuple[Path, ...]:
    """Where ``Resources`` may lie for a library folder: wheel, Slicer module folder, checkout."""
    return library / "Resources", library.parent / "Resources", library.parent.parent / "Resources"


def resource(relative: str = "", library: Path = _LIBRARY) -> Path:
    """Path of a resource, by its name below ``Resources``.

    Raises:
        GenesisError: the installation is incomplete.
    """
    for folder in candidates(library):
        if (folder / _MARKER).is_file():
            return folder / relative
    raise GenesisError(
        _("The resources of GenesisSegment were not found beside {library}.").format(library=library),
        _("Install GenesisSegment again."),
    )
