"""Typed errors that speak to the person: what happened and why, then what to do."""

from __future__ import annotations

from typing import ClassVar

from .i18n import _


class GenesisError(Exception):
    """Base of all errors that GenesisSegment raises on purpose.

    ``what`` is one sentence with the cause, ``remedy`` one sentence with what to do about it. ``code`` names the kind
    of error for machines, ``exit_code`` is what the command line returns for it.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy


class InputError(GenesisError):
    """The given image, series or label map cannot be used."""

    code = "input"
    exit_code = 3


class GeometryError(InputError):
    """The grid cannot be placed exactly in the patient: sheared, uneven, degenerate or absurd."""

    code = "geometry"


class ModelError(GenesisError):
    """A model or checkpoint is missing, damaged, unsafe or not what it claims to be."""

    code = "model"
    exit_code = 4


class ResourceError(GenesisError):
    """The machine has not enough memory, or the asked device is not there."""

    code = "resource"
    exit_code = 5


class OutputError(GenesisError):
    """A result could not be written; nothing half-written is left behind."""

    code = "output"
    exit_code = 6


class HoldoutError(GenesisError):
    """A case that only judges models was about to teach one; nothing was learned."""

    code = "holdout"


class LearningError(GenesisError):
    """Learning went wrong, such as a loss that is no number; no model came out of it."""

    code = "learning"


class NetworkError(GenesisError):
    """A download was not possible."""

    code = "network"
    exit_code = 7


class ConsentError(GenesisError):
    """The person did not agree, or could not be asked; nothing was done."""

    code = "consent"
    exit_code = 8


class Cancelled(GenesisError):
    """The person stopped the job."""

    code = "cancelled"
    exit_code = 130

    def __init__(self, remedy: str = "") -> None:
        super().__init__(_("The job was cancelled."), remedy or _("Nothing was written."))
