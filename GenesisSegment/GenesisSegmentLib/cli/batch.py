"""Runs cases one after the other; what was done before with the same settings is not repeated."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
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
    from ..engine.images.reading import CtInput
    from ..engine.inference.segmenter import Segmenter
    from ..engine.inference.spec import RunOptions

SUMMARY_NAME = "summary.csv"
_END_BYTES = 1 << 14


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

    def run_one(self, given: CtInput, target: Path, volume: Volume | None = None) -> Done:
        """Segments one input, or ``volume`` where it is at hand.

        Raises:
            GenesisError: it could not be done.
        """
        from ..engine.images.reading import locate

        name = name_of(given.path)
        self._bar.begin(0, name)
        located = given if volume is not None else locate(given, self._series)
        return self._run(name, located, target, volume, self._settings(located))

    def run_all(self, inputs: Sequence[CtInput], folder: Path, suffix: str) -> tuple[Outcome, ...]:
        """Segments all inputs into ``folder``; failures are kept and do not stop the others.

        What is no CT among the inputs that were found in a folder, not named by the person, is passed over.

        Raises:
            Cancelled: the job was cancelled; what is finished stays, and the next run goes on from there.
            OutputError: the summary could not be written.
        """
        for note in self._model.notes:
            print_note(note)
        outcomes: list[Outcome] = []
        names = names_of(inputs, dot="." if suffix else "_")  # a folder's name must not seem to have a suffix
        for number, (given, name) in enumerate(zip(inputs, names, strict=True)):
            self._bar.begin(number, name)
            outcomes.append(self._attempt(name, given, folder / f"{name}{suffix}"))
            write_summary(folder / SUMMARY_NAME, outcomes)
        return tuple(outcomes)

    def _attempt(self, name: str, given: CtInput, target: Path) -> Outcome:
        from ..engine.case_files import done_before
        from ..engine.images.reading import locate
        from ..engine.images.refusals import LabelMapError

        source, series = str(given.path), given.series.uid if given.series else ""
        try:
            located = locate(given, self._series)
            settings = self._settings(located)
            before = done_before(target, settings)
            if before is None:
                return self._run(name, located, target, None, settings)
            self._bar.skip()
            return Done(name, source, before, status="done before", series=series)
        except Cancelled:
            raise
        except GenesisError as error:
            is_skipped = error is given.refusal or (given.is_found and isinstance(error, LabelMapError))
            return NotDone(name, source, error, "skipped" if is_skipped else "failed", series)
        except Exception as error:  # a fault met in one case must not take the other cases with it
            return NotDone(name, source, fault(error), series=series)

    def _run(self, name: str, located: CtInput, target: Path, volume: Volume | None, settings: str) -> Done:
        from ..engine.case import segment_case
        from ..engine.images.reading import read_input

        if volume is None:
            volume = read_input(located)
        report, measurements = segment_case(
            volume, target, self._segmenter, self._options, self._model, self._job, settings
        )
        return Done(name, str(located.path), report, measurements, series=volume.source.series_uid)

    def _settings(self, located: CtInput) -> str:
        """Fingerprint of the program, the input's files, the model and the options.

        Raises:
            InputError: a file of the input is missing or cannot be read.
        """
        from ..engine.images.refusals import system_errors

        with system_errors(located.path):
            files = sorted(fingerprint(file) for file in located.files)
        facts = {
            "version": __version__,
            "files": files,
            "model": self._model.sha256,
            "options": asdict(self._options),
            "series": self._series,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def fingerprint(file: Path) -> tuple[str, int, int, str]:
    """What changes with a file: its place, size, time, and a SHA-256 of its beginning and its end.

    The ends show what size and time do not, such as another scan copied here with the time of the first; to read large
    files in full would take longer than to look at all others.

    Raises:
        OSError: it cannot be read.
    """
    stat = file.stat()
    with file.open("rb") as stream:
        digest = hashlib.sha256(stream.read(_END_BYTES))
        stream.seek(max(_END_BYTES, stat.st_size - _END_BYTES))
        digest.update(stream.read(_END_BYTES))
    return str(file.absolute()), stat.st_size, stat.st_mtime_ns, digest.hexdigest()


def names_of(inputs: Sequence[CtInput], dot: str = ".") -> list[str]:
    """A name for each input, unique among those that get results.

    A series is named after the folder that holds it; where several share one, by their numbers.
    """
    cts = [each for each in inputs if each.refusal is None]
    shared = Counter(each.path for each in cts if each.series)
    places = [
        each.path / f"series-{each.series.number}" if each.series and shared[each.path] > 1 else each.path
        for each in cts
    ]
    names = dict(zip(map(id, cts), unique_names(places, dot), strict=True))
    return [names.get(id(each), name_of(each.path)) for each in inputs]


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
