"""Settings of this machine and person, kept by Slicer; what belongs to a scene is kept with the scene instead."""

from __future__ import annotations

import qt

_GROUP = "GenesisSegment"


class Settings:
    """A :class:`~..core.workflow.ports.SettingsPort` on ``QSettings``."""

    def get(self, key: str, default: str) -> str:
        """The kept text, or the default."""
        value = qt.QSettings().value(f"{_GROUP}/{key}", default)
        return default if value is None else str(value)

    def set(self, key: str, value: str) -> None:
        """Keeps a text."""
        qt.QSettings().setValue(f"{_GROUP}/{key}", value)
