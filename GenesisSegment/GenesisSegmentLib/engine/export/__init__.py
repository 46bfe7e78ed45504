"""Everything that goes out: a segmentation in the format that the target's suffix asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import GeometryError
from ...core.i18n import _
from ...core.segmentation import Segmentation
from ...core.volume import Volume
from .dicomseg import no_segments, write_dicom_seg
from .labelmap import write_label_map
from .masks import write_masks
from .segnrrd import write_seg_nrrd
from .targets import Format, check_target, format_of

__all__ = ["Format", "check_target", "format_of", "why_unwritten", "write_segmentation"]


def why_unwritten(segmentation: Segmentation, target: Path) -> str:
    """Why the format that ``target`` asks for has no file for this segmentation, as a sentence; empty where it has."""
    return no_segments() if format_of(target) is Format.DICOM_SEG and not segmentation.present() else ""


def write_segmentation(
    segmentation: Segmentation, volume: Volume, target: Path, *, paint_order: Sequence[int] | None = None
) -> tuple[Path, ...]:
    """Writes a segmentation of ``volume`` and returns the files written.

    ``.seg.nrrd``: Slicer's segmentation. ``.nii.gz``, ``.nii``, ``.nrrd``, ``.mha``: a label map painted in
    ``paint_order`` (class numbers; later ones hide earlier ones; ascending by default) with a JSON value table.
    ``.dcm``: DICOM SEG. A folder or a name without suffix: one mask per class with a JSON value table. The files have
    the volume's grid; they appear whole or not at all.

    Raises:
        OutputError: the format is not known or cannot hold this (see :func:`why_unwritten`), disk full, read-only or
            no permission.
        GeometryError: the segmentation does not lie on the volume's grid.
        InputError: the paint order leaves out a computed class.
    """
    if not segmentation.geometry.matches(volume.geometry):
        raise GeometryError(
            _("The segmentation does not lie on the grid of the image."), _("Segment this image again.")
        )
    on_grid = replace(segmentation, geometry=volume.geometry)
    match format_of(target):
        case Format.SEG_NRRD:
            return write_seg_nrrd(on_grid, target)
        case Format.LABEL_MAP:
            return write_label_map(on_grid, target, paint_order)
        case Format.DICOM_SEG:
            return write_dicom_seg(on_grid, volume, target)
        case Format.FOLDER:
            return write_masks(on_grid, target)
