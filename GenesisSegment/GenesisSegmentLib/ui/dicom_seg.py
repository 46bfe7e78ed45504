"""DICOM SEG through the exporter that Slicer itself brings, for CTs that came from Slicer's DICOM database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..core.errors import GenesisError, GeometryError, InputError, OutputError
from ..core.i18n import _
from ..mrml.arrays import voxels
from ..mrml.tags import class_of, tag_of
from ..mrml.volumes import check_from_dicom, placement
from ..mrml.writing import binary, segments_of

_TYPE_TAG, _NAME_TAG = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
_POSITION, _ORIENTATION, _SPACING = "0020,0032", "0020,0037", "0028,0030"
_MOVED = 0.5
"""A CT with a corner farther than this part of a voxel from where its files have one was moved."""
_LPS = np.array([-1.0, -1.0, 1.0])


def export_dicom_seg(segmentation: Any, volume: Any, file: Path) -> None:
    """Writes all segments that have voxels into one DICOM SEG file (a :data:`..mrml.export.DicomExporter`).

    Args:
        segmentation: in the scene and in the space of the CT, for Slicer's exporter passes over transforms. Gets tags.
        volume: the CT that it belongs to.
        file: is not there yet.

    Raises:
        InputError: the CT did not come from DICOM, or no segment has a voxel.
        GeometryError: the CT does not lie any more where its DICOM files have it.
        OutputError: it could not be written; says why.
        GenesisError: this Slicer has no exporter.
    """
    check_from_dicom(volume)
    _check_place(volume)
    filled = [segment_id for segment_id, segment in segments_of(segmentation) if _has_voxels(segment)]
    if not filled:
        raise InputError(_("No segment has a voxel."), _("Segment the CT first."))
    _say_who_segmented(segmentation)
    _export(segmentation, filled, file)


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


def _check_place(volume: Any) -> None:
    """Refuses a CT that was moved for good: its segments are not where its files are.

    It was cropped or resampled, a transform was hardened on it, or Slicer laid slices that are not evenly apart anew.
    What the database does not tell is left to the exporter, which refuses a CT without files.
    """
    place = placement(volume)
    (width, height, depth), spacing = place.shape, np.linalg.norm(place.matrix[:3, :3], axis=0)
    sides = [(a, b) for a in (0, width - 1) for b in (0, height - 1)]
    uids = volume.GetAttribute("DICOM.instanceUIDs").split()
    slices = [matrix for uid in uids if (matrix := _slice_of(uid)) is not None]
    if len(slices) < len(uids):
        return
    expected = np.array([matrix @ (*side, 1) for matrix in slices for side in sides])
    for side in sides:
        for k in (0, depth - 1):
            corner = (place.matrix @ (*np.add(place.start, (*side, k)), 1))[:3]
            if np.linalg.norm(expected - corner, axis=1).min() > _MOVED * spacing.min():
                raise GeometryError(
                    _(
                        "{name} does not lie where its DICOM files have it, for example because it was cropped, or a "
                        "transform was hardened on it."
                    ).format(name=volume.GetName()),
                    _("Export .seg.nrrd, or load the series again and segment it as it is."),
                )


def _slice_of(uid: str) -> np.ndarray | None:
    """3x3 matrix from (column, row, 1) of a DICOM image to RAS mm; None where the database does not tell."""
    database = slicer.dicomDatabase
    file = database.fileForInstance(uid)
    texts = [database.fileValue(file, tag) if file else "" for tag in (_POSITION, _ORIENTATION, _SPACING)]
    try:
        position, axes, (between_rows, between_columns) = ([float(n) for n in t.split("\\")] for t in texts)
        return np.column_stack([_LPS * axes[:3] * between_columns, _LPS * axes[3:] * between_rows, _LPS * position])
    except ValueError:
        return None


def _has_voxels(segment: Any) -> bool:
    image = segment.GetRepresentation(binary())
    return image is not None and bool((voxels(image) == segment.GetLabelValue()).any())


def _say_who_segmented(segmentation: Any) -> None:
    """The exporter calls a segment without these tags manual work."""
    for segment_id, segment in segments_of(segmentation):
        if class_of(segment_id, segment) and not tag_of(segment, _TYPE_TAG):
            segment.SetTag(_TYPE_TAG, "SEMIAUTOMATIC")
            segment.SetTag(_NAME_TAG, "GenesisSegment")
