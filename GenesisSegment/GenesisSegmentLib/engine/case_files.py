"""The files of one case: where they lie, the report that describes them, and how they appear together or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.errors import OutputError
from ..core.files import atomic_file, atomic_folder
from .export import Format, format_of
from .export.former import is_as_left, make_room
from .export.targets import SUFFIXES, suffix_of

_SIDE_FILES = ("measurements.csv", "measurements.json", "overview.png", "report.json")


@dataclass(frozen=True)
class CasePaths:
    """Where the results of one CT go: all in ``folder``; ``segmentation`` is a file, or that folder, with masks."""

    folder: Path
    segmentation: Path
    measurements_csv: Path
    measurements_json: Path
    overview: Path
    report: Path

    @classmethod
    def beside(cls, target: Path) -> CasePaths:
        """Side files inside a folder of masks, or beside a single file under its name."""
        if format_of(target) is Format.FOLDER:
            return cls(target, target, *(target / name for name in _SIDE_FILES))
        stem = target.name[: -len(suffix_of(target))]
        return cls(target.parent, target, *(target.with_name(f"{stem}.{name}") for name in _SIDE_FILES))

    @property
    def is_folder_of_masks(self) -> bool:
        """Whether there is one mask per class."""
        return self.segmentation == self.folder

    def inside(self, folder: Path) -> CasePaths:
        """The same files in an existing folder."""
        return CasePaths.beside(folder if self.is_folder_of_masks else folder / self.segmentation.name)


@dataclass(frozen=True)
class CaseReport:
    """What was done to a CT, in numbers and names.

    ``segmentation`` (a file, or a folder of masks) and ``files`` are absolute paths, ``sha256`` checksums by file name.
    ``segmentation`` is None where the format cannot hold that nothing was found (DICOM SEG); ``notes`` say so.
    ``settings`` is a fingerprint of input, model and options: a batch skips a case that was done with the same.
    ``overlap`` is the share that windows overlap, None where the network saw the CT at once; ``is_everywhere`` says
    whether the whole body was searched, or the surroundings of what a coarse model saw.
    """

    source: str
    version: str
    model: str
    model_sha256: str
    recipe: str
    postprocess: str
    device: str
    windows: int
    seconds: dict[str, float]
    classes_computed: tuple[str, ...]
    classes_found: tuple[str, ...]
    segmentation: str | None
    files: tuple[str, ...]
    sha256: dict[str, str]
    notes: tuple[str, ...]
    settings: str
    overlap: float | None = None
    is_everywhere: bool = True


def write_report(path: Path, report: CaseReport) -> None:
    """Writes a report as JSON.

    Raises:
        OutputError: the file could not be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def read_report(path: Path) -> CaseReport | None:
    """The report of an earlier run; None where there is none, or one of another version."""
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
        return CaseReport(**fields)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def done_before(target: Path, settings: str) -> CaseReport | None:
    """The report of an earlier run with the same ``settings`` whose files are all there as it wrote them, or None."""
    paths = CasePaths.beside(target)
    report = read_report(paths.report)
    if report is None or report.settings != settings:
        return None
    if report.segmentation is None:
        done = format_of(target) is Format.DICOM_SEG
    else:
        done = paths.is_folder_of_masks or paths.segmentation.name in report.sha256
    if not done:  # in this format
        return None
    return report if all(is_as_left(paths.folder / name, digest) for name, digest in report.sha256.items()) else None


@contextmanager
def staged(paths: CasePaths) -> Iterator[CasePaths]:
    """Yields where to write the files of a case: they move to ``paths`` together when all are written.

    Raises:
        OutputError: they could not be written; nothing was.
    """
    with atomic_folder(paths.folder) as folder:
        try:
            yield paths.inside(folder)
        except OutputError as error:  # speak of the place that the person knows
            raise OutputError(error.what.replace(str(folder), str(paths.folder)), error.remedy) from error


def make_way(paths: CasePaths, names: Sequence[str]) -> tuple[str, ...]:
    """Clears the place for the segmentation files ``names`` and says in sentences what was kept.

    A file that an earlier run wrote and nobody changed may be replaced, and what is found no longer (a mask of a class,
    or everything in a DICOM SEG) goes, as it would pass for a result. Any other file may be somebody's work: it gets
    another name.
    """
    report = read_report(paths.report)
    earlier = report.sha256 if report else {}
    side = {path.name for path in (paths.measurements_csv, paths.measurements_json, paths.overview)}
    stale = (set(earlier) - side if paths.is_folder_of_masks else {paths.segmentation.name}) - set(names)
    return make_room(paths.folder, names, stale, earlier, SUFFIXES)
