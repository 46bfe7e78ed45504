"""What a person must see before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """What a licence allows, in a sentence or two, and where its text is. None: not known."""

    name: str
    url: str | None
    holder: str | None
    commercial_use: bool | None
    clinical_use: bool | None
    redistribution: bool | None
    summary: str


@dataclass(frozen=True)
class RemoteFile:
    """A file at a host. ``url`` None: it comes with GenesisSegment. Size and SHA-256 None: the publisher states none.

    ``page`` is the host's page for people.
    """

    file: str
    url: str | None
    page: str | None
    size_bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class Offer:
    """A download that is about to be proposed: what, from where, how large, on what terms.

    ``by_hand`` is a sentence that says how to get the file into place without a download by the program.
    """

    title: str
    remote: RemoteFile
    licence: Licence
    by_hand: str


Consent = Callable[[Offer], bool]
"""Shows an offer to the person; true only if they agreed to it."""
