"""Durations, sizes and lists in words."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..errors import GenesisError
from ..i18n import _

_MANY = 4
_log = logging.getLogger(__name__)


def duration_text(seconds: float) -> str:
    """A duration as people say it: no more exact than an estimate is."""
    if seconds < 1:
        return _("less than 1 s")
    if seconds < 90:
        return _("{count} s").format(count=round(seconds) if seconds < 20 else 5 * round(seconds / 5))
    minutes = round(seconds / 60)
    if minutes < 90:
        return _("{count} min").format(count=minutes)
    return _("{hours} h {minutes} min").format(hours=minutes // 60, minutes=minutes % 60)


def time_left_text(seconds: float | None) -> str:
    """What stands beside the progress bar; "" where it cannot be told."""
    if seconds is None:
        return ""
    return _("almost done") if seconds < 1 else _("about {duration} left").format(duration=duration_text(seconds))


def size_text(size_bytes: float) -> str:
    """A size in MB or GB."""
    if size_bytes < 0.95e9:
        return _("{count} MB").format(count=max(1, round(size_bytes / 1e6)))
    return _("{count} GB").format(count=f"{size_bytes / 1e9:.1f}")


def names_text(names: Sequence[str], most: int = _MANY) -> str:
    """A few names, and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return _("{names} and {count} more").format(names=", ".join(names[: most - 1]), count=len(names) - most + 1)


def sentences(*parts: str) -> str:
    """Sentences in one text; empty ones are left out."""
    return " ".join(part for part in parts if part)


FAULTS = (
    GenesisError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What VTK, numpy, the files and a mistake of ours can raise where the panel must go on and tell the person."""


def unexpected(what: str, error: Exception) -> str:
    """What went wrong and what to do, for an error of any kind; one that was not foreseen is logged in full."""
    if isinstance(error, GenesisError):
        return str(error)
    _log.error("%s", what, exc_info=error)
    if isinstance(error, MemoryError):
        why = _("There is not enough memory. Close other programs or data, ask for fewer classes, or crop the CT.")
    else:
        reason = str(error) or type(error).__name__
        why = _("The reason: {reason}. Try again; if it comes back, report it with Slicer's log.").format(
            reason=reason.rstrip(".")
        )
    return sentences(what, why)


def stage_text(stage: str) -> str:
    """What the worker is doing; a stage that is not known is shown as it is called."""
    return {
        "preparing": _("Preparing the CT"),
        "network": _("Finding the structures"),
        "cleaning": _("Cleaning up"),
        "restoring": _("Bringing the result to the CT's grid"),
        "writing": _("Measuring, and handing the result over"),
        "checking fast paths": _("Trying out what is fast on this device"),
        "download": _("Downloading"),
        "check": _("Checking the file"),
    }.get(stage, stage.capitalize())
