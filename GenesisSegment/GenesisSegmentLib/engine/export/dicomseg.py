"""DICOM SEG: the segmentation as an instance of the patient's study, tied to the series that it was made from."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...core.classes import Code, StructureClass, class_table
from ...core.errors import OutputError
from ...core.files import atomic_file
from ...core.geometry import Geometry
from ...core.i18n import _
from ...core.segmentation import Segmentation, bit_of
from ...core.volume import Volume
from ..images.sitk import LPS_TO_RAS
from .table import shared_voxels

if TYPE_CHECKING:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom import Dataset

PRODUCT = "GenesisSegment"
_SERIES_OFFSET = 1000
"""Added to the number of the source series, so that the result is listed after it and not among the originals."""


def no_segments() -> str:
    """Why there is no file where nothing was found."""
    return _("Nothing was found, so there is no DICOM SEG: it cannot hold zero segments.")


def _another() -> str:
    return _("Choose another format, for example .seg.nrrd.")


def write_dicom_seg(segmentation: Segmentation, volume: Volume, target: Path) -> tuple[Path, ...]:
    """Writes a binary DICOM SEG with one segment per class that was found; empty frames are left out.

    Segments must be numbered without gaps in DICOM: the class is identified by its codes and by its slug as
    tracking identifier, never by the segment number.

    Raises:
        OutputError: nothing was found, the files of the series have changed or lack what the standard asks for.
    """
    present = segmentation.present()
    if not present:
        raise OutputError(no_segments(), _another())
    slices = np.flatnonzero(segmentation.bits.any(axis=(0, 1)))
    frames = _frames(segmentation, present, slices)
    with _series_errors():
        headers = _read_headers(volume, slices)
        _check_frames(headers, slices, volume.geometry)
        structures = [segmentation.structures[c] for c in present]
        instance = _instance(headers, frames, structures)
    if not all(structure.name.isascii() for structure in structures):
        instance.SpecificCharacterSet = "ISO_IR 192"  # UTF-8: that of the series may lack what a person wrote
    with atomic_file(target) as temporary:
        instance.save_as(temporary)
    return (target,)


def _instance(headers: list[Dataset], frames: np.ndarray, classes: Sequence[StructureClass]) -> Dataset:
    """A DICOM SEG of ``frames`` (see :func:`_frames`) on the slices with these headers."""
    import highdicom as hd

    with warnings.catch_warnings():
        # The warning would put the patient's name into logs.
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent the intended person name")
        return hd.seg.Segmentation(
            source_images=headers,
            pixel_array=frames,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(number, c) for number, c in enumerate(classes, start=1)],
            series_instance_uid=hd.UID(),
            series_number=int(headers[0].get("SeriesNumber") or 0) + _SERIES_OFFSET,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=PRODUCT,
            manufacturer_model_name=PRODUCT,
            software_versions=__version__,
            device_serial_number="software",
            series_description=f"{PRODUCT} {__version__}",
            content_label="SEGMENTATION",
            content_description="Automatic segmentation, not for clinical use",
            omit_empty_frames=True,
        )


def check_source(volume: Volume) -> None:
    """Finds out whether ``volume`` can carry a DICOM SEG: a SEG of one voxel in its first and last slice is made.

    Raises:
        OutputError: not a DICOM series of one file per slice, its files have changed or lack what the standard asks
            for, or highdicom is not installed.
    """
    if not volume.source.is_dicom:
        raise OutputError(
            _("DICOM SEG needs the DICOM series that it belongs to, and {name} is not one.").format(
                name=volume.source.name
            ),
            _another(),
        )
    files, slices = len(set(volume.source.files)), volume.geometry.shape[2]
    if files != slices:
        raise OutputError(
            _(
                "DICOM SEG is written for series with one file per slice; this one has {files} files for "
                "{slices} slices."
            ).format(files=files, slices=slices),
            _another(),
        )
    if importlib.util.find_spec("highdicom") is None:
        raise OutputError(
            _("DICOM SEG needs the package highdicom, which is not installed."),
            _('Install it with pip install "genesis-segment[dicom]", or choose another format, for example .seg.nrrd.'),
        )
    ends = np.unique([0, slices - 1])
    with _series_errors():
        headers = _read_headers(volume, ends)
        _check_frames(headers, ends, volume.geometry)
        columns, rows = volume.geometry.shape[:2]
        frames = np.zeros((len(ends), rows, columns), np.uint8)
        frames[:, 0, 0] = 1
        _instance(headers, frames, [class_table()[1]])


def _check_frames(headers: list[Dataset], slices: np.ndarray, geometry: Geometry) -> None:
    """Makes sure that each header lies where the grid says, so that no mask lands on another or a mirrored slice.

    Raises:
        OutputError: size, or position of a corner by more than half a voxel, differ.
    """
    columns, rows = geometry.shape[:2]
    ends = np.array([(0, 0), (columns - 1, 0), (0, rows - 1)])
    tolerance = min(geometry.spacing) / 2
    for header, k in zip(headers, slices, strict=True):
        along_i, along_j = np.reshape(np.array(header.ImageOrientationPatient, dtype=float), (2, 3))
        row_spacing, column_spacing = (float(s) for s in header.PixelSpacing)
        steps = np.stack([along_i * column_spacing, along_j * row_spacing])
        in_file = np.array(header.ImagePositionPatient, dtype=float) + ends @ steps
        voxels = np.column_stack([ends, np.full(3, k), np.ones(3)])
        in_grid = voxels @ (LPS_TO_RAS @ geometry.ijk_to_ras)[:3].T
        same_size = (header.Columns, header.Rows) == (columns, rows)
        if not same_size or np.abs(in_file - in_grid).max() > tolerance:
            raise OutputError(
                _("The DICOM series has changed since it was read: slice {number} is not where it was.").format(
                    number=k
                ),
                _("Read it again."),
            )


@contextmanager
def _series_errors() -> Iterator[None]:
    """Turns what pydicom and highdicom raise, where an attribute is absent or not as the standard says, into ours."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OutputError(
            _("The DICOM series cannot carry a DICOM SEG: {reason}.").format(reason=error), _another()
        ) from error


def _read_headers(volume: Volume, slices: np.ndarray) -> list[Dataset]:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        headers: list[Dataset] = [dcmread(volume.source.files[k], stop_before_pixels=True, force=True) for k in slices]
    except (OSError, InvalidDicomError) as error:
        raise OutputError(
            _("The DICOM series can no longer be read: {reason}.").format(reason=error),
            _("Put the files back, or choose .seg.nrrd."),
        ) from error
    for header in headers:
        if not header.get("SpecificCharacterSet"):  # empty means the default, which highdicom knows as absent only
            header.pop("SpecificCharacterSet", None)
    return headers


def _frames(segmentation: Segmentation, present: tuple[int, ...], slices: np.ndarray) -> np.ndarray:
    """uint8 frames (frame, row, column), or with overlaps (frame, row, column, segment)."""
    bits = np.ascontiguousarray(segmentation.bits[:, :, slices].transpose(2, 1, 0))
    if shared_voxels(bits).any():
        frames = np.empty((*bits.shape, len(present)), dtype=np.uint8)
        for n, c in enumerate(present):
            frames[..., n] = (bits & bit_of(c)) != 0
        return frames
    # Without overlaps one value per voxel says the same in a fraction of the memory.
    frames = np.zeros(bits.shape, dtype=np.uint8)
    for number, c in enumerate(present, start=1):
        frames[bits == bit_of(c)] = number
    return frames


def _describe(number: int, structure: StructureClass) -> SegmentDescription:
    import highdicom as hd

    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.type.meaning if structure.kind == "own" else structure.name,  # 64 characters at most
        segmented_property_category=_concept(structure.category),
        segmented_property_type=_concept(structure.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=_algorithm(),
        tracking_uid=hd.UID(),
        tracking_id=structure.slug,
        anatomic_regions=[_concept(structure.region)] if structure.region else None,
        display_color=hd.color.CIELabColor.from_rgb(*structure.color),
    )
    if structure.modifier:
        (type_item,) = description.SegmentedPropertyTypeCodeSequence
        type_item.SegmentedPropertyTypeModifierCodeSequence = [_concept(structure.modifier)]
    return description


def _algorithm() -> AlgorithmIdentificationSequence:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.AlgorithmIdentificationSequence(
        name=PRODUCT, family=codes.DCM.ArtificialIntelligence, version=__version__
    )


def _concept(code: Code) -> CodedConcept:
    import highdicom as hd

    return hd.sr.CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=code.meaning)
