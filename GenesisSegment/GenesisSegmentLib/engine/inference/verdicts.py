"""What was found out about the fast paths of this machine, and where it is remembered."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.files import atomic_file
from ...core.home import data_home


@dataclass(frozen=True)
class PathVerdict:
    """Whether a fast path is on, and why (not).

    ``speedup`` is the time without it over the time with it; ``agreement`` the lowest Dice of a class. None: not tried.
    """

    name: str
    is_on: bool
    why: str
    speedup: float | None = None
    agreement: float | None = None


def passed(verdicts: Iterable[PathVerdict]) -> frozenset[str]:
    """The names of the paths that are on."""
    return frozenset(v.name for v in verdicts if v.is_on)


class VerdictFile:
    """The remembered verdicts: by what they hold for, as one JSON file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or data_home() / "fast_paths.json"

    def all(self) -> dict[str, tuple[PathVerdict, ...]]:
        """Everything remembered; nothing where the file is absent or damaged."""
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            return {key: tuple(PathVerdict(**v) for v in verdicts) for key, verdicts in document.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def remember(self, key: str, verdicts: Iterable[PathVerdict]) -> None:
        """Adds or replaces the verdicts for ``key``.

        Raises:
            OutputError: the file could not be written.
        """
        known = {**self.all(), key: tuple(verdicts)}
        with atomic_file(self._path) as temporary:
            document = {k: [asdict(v) for v in verdicts] for k, verdicts in known.items()}
            temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
