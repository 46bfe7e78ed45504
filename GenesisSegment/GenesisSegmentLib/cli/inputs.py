"""What ``segment`` was given: one CT, or a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .console import UsageError

if TYPE_CHECKING:
    from ..engine.images.reading import CtInput


@dataclass(frozen=True)
class Inputs:
    """The CTs to segment, and what was found beside them."""

    all: tuple[CtInput, ...]

    @property
    def is_batch(self) -> bool:
        """Whether results go into a folder, one after the other."""
        return len(self.all) > 1 or any(each.is_found for each in self.all)


def gather(given: Sequence[Path], out: Path, series: str | None = None) -> Inputs:
    """The inputs among the files and folders that the person named; results in the folder ``out`` are none.

    Where ``out`` names one file, a folder with DICOM files alone stands for the one CT in it.

    Raises:
        InputError: a path does not exist, there is no CT in it, or not the wanted series.
    """
    from ..engine.export.targets import suffix_of
    from ..engine.images.reading import CtInput, find_inputs

    found: list[CtInput] = []
    for path in given:
        listed = find_inputs(path, series, None if _is_inside(path, out) else out)
        is_dicom = path.is_dir() and all(each.series or each.refusal for each in listed)
        if is_dicom and len(given) == 1 and suffix_of(out) and not out.is_dir():
            listed = (CtInput(path),)
        found += listed
    unique: dict[object, CtInput] = {}
    for each in found:  # named comes before found
        key = (each.path.resolve(), each.series.uid if each.series else "")
        if key not in unique or not each.is_found:
            unique[key] = each
    return Inputs(tuple(unique.values()))


def check_series(series: str | None, inputs: Inputs, is_sample: bool) -> None:
    """Refuses ``--series`` where there is nothing to choose: for the sample, and for files that are not DICOM.

    Raises:
        UsageError: names the first of them.
    """
    from ..engine.images.reading import is_volume_file

    if series is None:
        return
    volumes = (str(each.path) for each in inputs.all if is_volume_file(each.path))
    name = "the sample" if is_sample else next(volumes, None)
    if name is not None:
        raise UsageError(
            f"--series chooses among DICOM series, and {name} is not DICOM.",
            "Leave it out, or give DICOM inputs alone.",
        )


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a folder is ``folder`` or lies in it."""
    return path.is_dir() and path.resolve().is_relative_to(folder.resolve())
