"""DICOM SEG through the exporter that Slicer itself brings, for CTs that came from Slicer's DICOM database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..core.errors import GenesisError, InputError, OutputError
from ..core.files import atomic_folder
from ..core.i18n import _
from ..mrml.arrays import voxels
from ..mrml.tags import class_of, tag_of
from ..mrml.volumes import check_from_dicom
from ..mrml.writing import binary, segments_of

_TYPE_TAG, _NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"


def export_dicom_seg(segmentation: Any, volume: Any, folder: Path) -> tuple[Path, ...]:
    """Writes all segments that have voxels into one DICOM SEG file (a :data:`..mrml.scene.DicomExporter`).

    Raises:
        InputError: the CT did not come from DICOM, or no segment has a voxel.
        OutputError: it could not be written; says why.
        GenesisError: this Slicer has no exporter.
    """
    check_from_dicom(volume)
    filled = [segment_id for segment_id, segment in segments_of(segmentation) if _has_voxels(segment)]
    if not filled:
        raise InputError(_("No segment has a voxel."), _("Segment the CT first."))
    name = re.sub(r"[^\w.()+-]+", "_", segmentation.GetName()).strip("._") + ".dcm"
    _say_who_segmented(segmentation)
    with atomic_folder(folder) as temporary:
        _export(segmentation, filled, temporary / name)
    return (folder / name,)


def _export(segmentation: Any, segment_ids: list[str], file: Path) -> None:
    try:
        from DICOMSegmentationPlugin import DICOMSegmentationExporter  # type: ignore[import-not-found]
    except ImportError:
        raise GenesisError(
            _("This Slicer cannot write DICOM SEG."), _("Use Slicer 5.12 or later, or export .seg.nrrd.")
        ) from None
    remedy = _("Export .seg.nrrd instead, or see Slicer's error log.")
    exporter = DICOMSegmentationExporter(segmentation)
    metadata = {"SeriesDescription": segmentation.GetName()}
    try:
        # Of segments that share an image, the exporter cannot tell which are empty: it is given those that are not.
        exporter.export(str(file.parent), file.name, metadata, segmentIDs=segment_ids, skipEmpty=True)
    except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        # The exporter raises plain Python errors.
        raise OutputError(_("DICOM SEG could not be written: {reason}").format(reason=error), remedy) from error
    finally:
        exporter.cleanup()
    if not file.is_file():
        raise OutputError(_("DICOM SEG could not be written."), remedy)


def _has_voxels(segment: Any) -> bool:
    image = segment.GetRepresentation(binary())
    return image is not None and bool((voxels(image) == segment.GetLabelValue()).any())


def _say_who_segmented(segmentation: Any) -> None:
    """The exporter calls a segment without these tags manual work."""
    for segment_id, segment in segments_of(segmentation):
        if class_of(segment_id, segment) and not tag_of(segment, _TYPE_TAG):
            segment.SetTag(_TYPE_TAG, "SEMIAUTOMATIC")
            segment.SetTag(_NAME_TAG, "GenesisSegment")
