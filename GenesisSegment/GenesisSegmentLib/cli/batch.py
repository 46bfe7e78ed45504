"""Runs cases one after the other; what was done before with the same settings is not repeated."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..core.errors import Cancelled, GenesisError
from ..core.jobs import Job
from .console import fault, print_note
from .outcomes import Done, NotDone, Outcome, write_summary
from .progress import CaseBar

if TYPE_CHECKING:
    from ..core.volume import Volume
    from ..engine.case import ModelLabel
    from ..engine.inference.segmenter import Segmenter
    from ..engine.inference.spec import RunOptions

SUMMARY_NAME = "summary.csv"


class Batch:
    """Segments inputs with one model and one set of options."""

    def __init__(
        self,
        segmenter: Segmenter,
        model: ModelLabel,
        options: RunOptions,
        job: Job,
        bar: CaseBar,
        series: str | None = None,
    ) -> None:
        self._segmenter, self._model, self._options, self._series = segmenter, model, options, series
        self._job, self._bar = job, bar

    def run_one(self, path: Path, target: Path, volume: Volume | None = None) -> Done:
        """Segments one input, or ``volume`` where it is at hand.

        Raises:
            GenesisError: it could not be done.
        """
        name = name_of(path)
        self._bar.begin(0, name)
        return self._run(name, path, target, volume)

    def run_all(
        self, paths: Sequence[Path], folder: Path, suffix: str, found: Collection[Path] = ()
    ) -> tuple[Outcome, ...]:
        """Segments all inputs into ``folder``; failures are kept and do not stop the others.

        Label maps among the paths that were ``found`` in a folder, not named by the person, are passed over.

        Raises:
            Cancelled: the job was cancelled; what is finished stays, and the next run goes on from there.
            OutputError: the summary could not be written.
        """
        for note in self._model.notes:
            print_note(note)
        outcomes: list[Outcome] = []
        names = unique_names(paths, dot="." if suffix else "_")  # a folder's name must not seem to have a suffix
        for number, (path, name) in enumerate(zip(paths, names, strict=True)):
            self._bar.begin(number, name)
            outcomes.append(self._attempt(name, path, folder / f"{name}{suffix}", path in found))
            write_summary(folder / SUMMARY_NAME, outcomes)
        return tuple(outcomes)

    def _attempt(self, name: str, path: Path, target: Path, is_found: bool) -> Outcome:
        from ..engine.case_files import done_before
        from ..engine.images.refusals import LabelMapError

        try:
            before = done_before(target, self._settings(path))
            if before is None:
                return self._run(name, path, target, None)
            self._bar.skip()
            return Done(name, str(path), before, status="done before")
        except Cancelled:
            raise
        except LabelMapError as error:
            return NotDone(name, str(path), error, "skipped" if is_found else "failed")
        except GenesisError as error:
            return NotDone(name, str(path), error)
        except Exception as error:  # a fault met in one case must not take the other cases with it
            return NotDone(name, str(path), fault(error))

    def _run(self, name: str, path: Path, target: Path, volume: Volume | None) -> Done:
        from ..engine.case import segment_case
        from ..engine.images.reading import read_volume

        settings = self._settings(path)
        if volume is None:
            volume = read_volume(path, self._series)
        report, measurements = segment_case(
            volume, target, self._segmenter, self._options, self._model, self._job, settings
        )
        return Done(name, str(path), report, measurements)

    def _settings(self, path: Path) -> str:
        """Fingerprint of the program, the input's files, the model and the options."""
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] if path.is_file() else []
        facts = {
            "version": __version__,
            "files": [(str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns) for p in files],
            "model": self._model.sha256,
            "options": asdict(self._options),
            "series": self._series,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def name_of(path: Path) -> str:
    """A short name for the results of an input: its file or folder name without suffix."""
    from ..engine.images.reading import VOLUME_SUFFIXES

    name = path.resolve().name if path.name in ("", ".", "..") else path.name
    suffix = next((s for s in (*VOLUME_SUFFIXES, ".dcm") if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)] or "ct"


def unique_names(paths: Sequence[Path], dot: str = ".") -> list[str]:
    """A name for each input; where two are alike, the folders above are put in front until they differ.

    Names that differ in case alone count as alike, as they do on many disks. Dots become ``dot``.
    """
    own = [name_of(path).replace(".", dot) for path in paths]
    names = own
    for depth in range(2, 12):
        counts = Counter(name.casefold() for name in names)
        if len(counts) == len(names):
            return names
        names = [
            "_".join((*(part.replace(".", dot) for part in _folders(path, depth)), short))
            if counts[name.casefold()] > 1
            else name
            for name, short, path in zip(names, own, paths, strict=True)
        ]
    return [f"{number:04d}_{name}" for number, name in enumerate(own, 1)]


def _folders(path: Path, depth: int) -> tuple[str, ...]:
    """The names of the folders that ``path`` lies in, the nearest ``depth - 1`` of them."""
    return tuple(part for part in path.absolute().parts[-depth:-1] if part != path.anchor)
