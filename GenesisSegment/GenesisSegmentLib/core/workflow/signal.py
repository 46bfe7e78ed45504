"""A signal between Python objects: Qt's own cannot be declared in Python inside Slicer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls everyone who is connected, in the order of connecting."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Has ``slot`` called from now on; once, however often it is connected."""
        if slot not in self._slots:
            self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Stops calling ``slot``; nothing happens where it was not connected."""
        if slot in self._slots:
            self._slots.remove(slot)

    def emit(self, *arguments: Any) -> None:
        """Calls them with these arguments."""
        for slot in tuple(self._slots):
            slot(*arguments)
