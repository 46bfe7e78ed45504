"""What a target asks for, by its suffix, and whether it can be written at all."""

from __future__ import annotations

import tempfile
from enum import Enum
from pathlib import Path

from ...core.classes import structures
from ...core.errors import OutputError
from ...core.files import output_errors
from ...core.i18n import _
from ...core.leftovers import TEMPORARY_PREFIX
from ...core.volume import Volume
from .dicomseg import check_source

MASK_SUFFIX = ".nii.gz"
FOLDER_TABLE = "segmentation.json"
"""Name of the value table in a folder of masks."""


class Format(Enum):
    """The forms in which a segmentation goes out."""

    SEG_NRRD = "Slicer segmentation"
    LABEL_MAP = "label map"
    DICOM_SEG = "DICOM SEG"
    FOLDER = "folder of masks"


SUFFIXES = {
    ".seg.nrrd": Format.SEG_NRRD,
    ".nii.gz": Format.LABEL_MAP,
    ".nii": Format.LABEL_MAP,
    ".nrrd": Format.LABEL_MAP,
    ".mha": Format.LABEL_MAP,
    ".dcm": Format.DICOM_SEG,
}
"""Known suffixes; a longer one comes before its own ending."""


def suffix_of(target: Path) -> str:
    """The known suffix that ``target`` ends with, in lower case, or an empty string."""
    return next((suffix for suffix in SUFFIXES if target.name.lower().endswith(suffix)), "")


def format_of(target: Path) -> Format:
    """The format that ``target`` asks for: an existing folder or a name without suffix means one mask per class.

    Raises:
        OutputError: the suffix is not known.
    """
    if target.is_dir():
        return Format.FOLDER
    if suffix := suffix_of(target):
        return SUFFIXES[suffix]
    if target.suffix:
        raise OutputError(
            _('"{suffix}" of {file} is not a format that can be written.').format(
                suffix=target.suffix, file=target.name
            ),
            _("Use {suffixes}, or a name without suffix for a folder with one mask per class.").format(
                suffixes=", ".join(SUFFIXES)
            ),
        )
    return Format.FOLDER


def table_path(target: Path) -> Path:
    """Where the value table of a label map or a folder of masks lies."""
    if format_of(target) is Format.FOLDER:
        return target / FOLDER_TABLE
    return target.with_name(target.name[: -len(suffix_of(target))] + ".json")


def mask_path(folder: Path, slug: str) -> Path:
    """Where the mask of a class lies in a folder of masks."""
    return folder / (slug + MASK_SUFFIX)


def check_target(target: Path, volume: Volume, own: tuple[str, ...] = ()) -> None:
    """Finds out, before the long work, whether a segmentation of ``volume`` can be written to ``target``.

    ``own`` are the names of the classes from 33 on.

    Raises:
        OutputError: unknown suffix, no permission, read-only or full disk, a file where a folder is needed, a target
            that would replace the image itself, or DICOM SEG without a DICOM series or without highdicom.
    """
    kind = format_of(target)
    if kind is Format.DICOM_SEG:
        check_source(volume)
    _check_not_the_input(target, kind, volume, own)
    _check_writable(target, kind)


def _check_not_the_input(target: Path, kind: Format, volume: Volume, own: tuple[str, ...]) -> None:
    outputs = [target]
    if kind is Format.FOLDER:
        outputs += [mask_path(target, structure.slug) for structure in structures(own).values()]
    if kind in (Format.FOLDER, Format.LABEL_MAP):
        outputs.append(table_path(target))
    inputs = {path.resolve() for path in (*volume.source.files, volume.source.path) if path.is_file()}
    for output in outputs:
        if output.resolve() in inputs:
            raise OutputError(
                _("{output} is the image itself and would be replaced.").format(output=output),
                _("Choose another name or folder."),
            )


def _check_writable(target: Path, kind: Format) -> None:
    folder = target if kind is Format.FOLDER else target.parent
    with output_errors(target):
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(prefix=TEMPORARY_PREFIX, dir=folder) as probe:
            probe.write(b"\0")
            probe.flush()
