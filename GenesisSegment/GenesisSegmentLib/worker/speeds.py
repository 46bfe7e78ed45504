"""How fast each model ran on this machine, remembered from earlier runs: what time estimates are made from."""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..core.errors import OutputError
from ..core.files import atomic_file
from ..core.home import data_home


@dataclass(frozen=True)
class Speed:
    """Seconds per voxel that goes through the network (each as often as windows cover it), and of everything else per
    voxel of the CT's own grid; None where that was not measured."""

    network: float
    rest: float | None = None


def speed_key(sha256: str, runtime: str, recipe: str, device: str) -> str:
    """What a speed holds for."""
    return f"{platform.node()} | {sha256} | {runtime} | {recipe} | {device}"


class Speeds:
    """The remembered speeds, as one JSON file in the user's data folder."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or data_home() / "speeds.json"

    def get(self, key: str) -> Speed | None:
        """The last speed; None where there is none, or the file is damaged."""
        return self._all().get(key)

    def remember(self, key: str, speed: Speed) -> None:
        """Adds or replaces a speed. What was measured before of ``rest`` is kept; without a disk, nothing is."""
        known = self._all()
        before = known.get(key)
        if speed.rest is None and before is not None:
            speed = Speed(speed.network, before.rest)
        known[key] = speed
        with suppress(OutputError), atomic_file(self._path) as temporary:
            document = {k: asdict(v) for k, v in known.items()}
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _all(self) -> dict[str, Speed]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            return {key: Speed(**value) for key, value in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}
