"""The part of :mod:`.protocol` that belongs to prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .prompts import Prompt

Step = Literal["preview", "answer", "propagate"]
Index = tuple[int, int, int]
SEGMENT, CLOSED = 1, 2
"""Bits of the voxels that a prompt is about: the segment as it is, and those that it may not take."""


@dataclass(frozen=True)
class Refine:
    """Corrects a segment of a loaded CT as prompts say. Answer: :class:`Refined`.

    ``volume`` is a fingerprint. ``file`` holds the box ``start``..``stop`` of its grid, outside of which nothing is
    known and nothing changes: raw uint8, i fastest, of bits ``SEGMENT`` and ``CLOSED``. It stays as it is as long as it
    has this name. ``class_index`` is 0 for a segment of the person's own. ``folder`` is
    an existing folder that takes the answer (the client gives one where it is empty). ``model`` is what proposed the
    segment, for the step "propagate".

    Of several previews that wait, only the newest is made; the others end in a failure "cancelled".
    """

    type: ClassVar[str] = "refine"
    id: str
    volume: str
    start: Index
    stop: Index
    file: str
    prompts: tuple[Prompt, ...]
    step: Step = "answer"
    class_index: int = 0
    model: str = ""
    device: str = "auto"
    folder: str = ""


@dataclass(frozen=True)
class Refined:
    """The segment as it is to be in the box ``start``..``stop``, outside of which it stays: raw uint8 0/1, i fastest.

    The box is the smallest that holds every change; where nothing changes, ``file`` is "" and the box is empty.
    ``seconds`` per stage.
    """

    type: ClassVar[str] = "refined"
    id: str
    start: Index
    stop: Index
    file: str
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] | None = None
