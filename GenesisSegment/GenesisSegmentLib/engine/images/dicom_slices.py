"""The slices of a DICOM CT series: where each lies, how it is scaled, and the one grid that they must make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from ...core.errors import GeometryError, InputError
from ...core.geometry import Geometry
from ...core.i18n import _
from .dicom_files import quiet
from .sitk import LPS_TO_RAS

POSITION_TOLERANCE_MM = 0.1
"""How far a slice may lie from its place in the regular grid: headers round positions to 0.1 mm at worst."""
SAME_PLACE_MM = 0.01
_DIRECTION_TOLERANCE = 1e-3
_SPACING_TOLERANCE_MM = 1e-3
_HU_TYPES = ("", "HU")


@dataclass(frozen=True, eq=False)
class Slice:
    """One plane of a series: a file, or a frame of one.

    ``position`` (3,) is the centre of the first voxel in LPS mm. ``directions`` (2, 3) are the unit vectors in LPS in
    which columns and rows are counted (axes i and j), ``spacing`` their steps in mm. ``shape`` is (i, j).
    """

    file: Path
    frame: int | None
    uid: str
    position: np.ndarray
    directions: np.ndarray
    spacing: tuple[float, float]
    shape: tuple[int, int]
    slope: float
    intercept: float
    states_hu: bool


def slices_of(file: Path, header: FileDataset) -> list[Slice]:
    """The slices of one file: one, or one per frame of an enhanced CT.

    Raises:
        InputError: the header does not state position, orientation, spacing or rescaling.
    """
    with quiet():
        if "PerFrameFunctionalGroupsSequence" in header:
            count = len(header.PerFrameFunctionalGroupsSequence)
            if count != int(header.get("NumberOfFrames") or 1):
                raise InputError(
                    _("{name} does not describe each of its frames.").format(name=file.name),
                    _("Export the series again."),
                )
            return [_slice(file, header, frame) for frame in range(count)]
        return [_slice(file, header, None)]


def ordered(slices: Sequence[Slice]) -> tuple[list[Slice], Geometry, tuple[str, ...]]:
    """The slices from first to last along the normal of the plane, their grid in RAS, and notes.

    Raises:
        InputError: sizes, spacings or orientations differ, two slices lie at one place, or slices are missing.
        GeometryError: the slices are sheared (tilted gantry), unevenly spaced, or the spacing is absurd.
    """
    _check_alike(slices)
    first = slices[0]
    normal = np.cross(*first.directions)
    heights = np.array([s.position for s in slices]) @ normal
    order = np.argsort(heights, kind="stable")
    arranged, notes = _without_copies([slices[n] for n in order])
    positions = np.array([s.position for s in arranged])
    heights = positions @ normal
    gaps = np.diff(heights)
    if len(arranged) < 2:
        raise InputError(
            _("The series has a single slice (2-D), not a volume."), _("Give the series with all its slices.")
        )
    if gaps.min() < SAME_PLACE_MM:
        where = int(gaps.argmin())
        raise InputError(
            _(
                "Several images of the series lie at the same place ({one} and {other}): it holds several "
                "phases, echoes or reconstructions."
            ).format(one=_name(arranged[where]), other=_name(arranged[where + 1])),
            _("Put the images of one of them into a folder of their own."),
        )
    step = (positions[-1] - positions[0]) / (len(arranged) - 1)
    matrix = np.eye(4)
    matrix[:3, 0] = first.directions[0] * first.spacing[0]
    matrix[:3, 1] = first.directions[1] * first.spacing[1]
    matrix[:3, 2] = step
    matrix[:3, 3] = positions[0]
    geometry = Geometry((*first.shape, len(arranged)), LPS_TO_RAS @ matrix)
    geometry.check()
    expected = positions[0] + np.arange(len(arranged))[:, None] * step
    if np.linalg.norm(positions - expected, axis=1).max() > POSITION_TOLERANCE_MM:
        raise _irregular(arranged, gaps)
    return arranged, geometry, notes


def _slice(file: Path, header: FileDataset, frame: int | None) -> Slice:
    position = _numbers(_group(header, frame, "PlanePositionSequence"), "ImagePositionPatient", 3, file)
    orientation = _numbers(_group(header, frame, "PlaneOrientationSequence"), "ImageOrientationPatient", 6, file)
    rows_apart, columns_apart = _numbers(_group(header, frame, "PixelMeasuresSequence"), "PixelSpacing", 2, file)
    transformation = _group(header, frame, "PixelValueTransformationSequence")
    unit = str(transformation.get("RescaleType") or "").strip().upper()
    directions = orientation.reshape(2, 3)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not np.allclose(lengths, 1, atol=1e-2):
        raise GeometryError(
            _("The orientation stated in {name} is not a direction.").format(name=file.name),
            _("Export the series again."),
        )
    return Slice(
        file=file,
        frame=frame,
        uid=str(header.get("SOPInstanceUID", "")),
        position=position,
        directions=directions / lengths,
        spacing=(float(columns_apart), float(rows_apart)),
        shape=(int(header.get("Columns") or 0), int(header.get("Rows") or 0)),
        slope=float(_numbers(transformation, "RescaleSlope", 1, file)[0]),
        intercept=float(_numbers(transformation, "RescaleIntercept", 1, file)[0]),
        states_hu=unit in _HU_TYPES or unit.startswith(("HOUNS", "HOUND")),
    )


def _group(header: FileDataset, frame: int | None, name: str) -> Dataset:
    """The functional group of a frame, its own or the shared one; the header itself for a file with one slice."""
    if frame is None:
        return header
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for groups in (header.PerFrameFunctionalGroupsSequence[frame], shared[0]):
        if groups.get(name):
            return groups[name].value[0]
    return Dataset()


def _numbers(dataset: Dataset, keyword: str, count: int, file: Path) -> np.ndarray:
    try:
        numbers = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (TypeError, ValueError):
        numbers = np.array([])
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(
            _("{name} does not state its {keyword}, without which the CT cannot be placed or scaled.").format(
                name=file.name, keyword=keyword
            ),
            _("Export the original series again."),
        )
    return numbers


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for other in slices[1:]:
        if other.shape != first.shape:
            what = _("sizes ({one} and {other})").format(one=_by(first.shape), other=_by(other.shape))
        elif np.abs(np.subtract(other.spacing, first.spacing)).max() > _SPACING_TOLERANCE_MM:
            what = _("pixel spacings ({one} and {other} mm)").format(one=_by(first.spacing), other=_by(other.spacing))
        elif np.abs(other.directions - first.directions).max() > _DIRECTION_TOLERANCE:
            what = _(_("orientations"))
        else:
            continue
        raise InputError(
            _("The images of the series differ in their {what}: {one} and {other}.").format(
                what=what, one=_name(first), other=_name(other)
            ),
            _("Put the images of one volume into a folder of their own."),
        )


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """Slices in order without second copies of the same image at the same place."""
    kept: dict[tuple, Slice] = {}
    for one in slices:
        identity = (one.uid, one.frame, *np.round(one.position, 2)) if one.uid else (one.file, one.frame)
        kept.setdefault(identity, one)
    copies = len(slices) - len(kept)
    if not copies:
        return list(kept.values()), ()
    many = _("{count} second copies of images in the folder were left out.")
    note = _("1 second copy of images in the folder were left out.") if copies == 1 else many.format(count=copies)
    return list(kept.values()), (note,)


def _irregular(slices: Sequence[Slice], gaps: np.ndarray) -> InputError:
    usual = float(np.median(gaps))
    multiples = np.maximum(1, np.rint(gaps / usual)).astype(int)
    (wide,) = np.nonzero(multiples > 1)
    if wide.size and np.abs(gaps - multiples * usual).max() <= 2 * POSITION_TOLERANCE_MM:
        missing = int((multiples - 1).sum())
        places = [
            _("between {one} and {other}").format(one=_name(slices[n]), other=_name(slices[n + 1])) for n in wide[:3]
        ]
        if missing == 1:
            what = _("{missing} slice is missing from the series of {count} ({usual} mm apart): {places}.")
        else:
            what = _("{missing} slices are missing from the series of {count} ({usual} mm apart): {places}.")
        return InputError(
            what.format(
                missing=missing,
                count=len(slices),
                usual=f"{usual:.3g}",
                places=", ".join([*places, *(["..."] if wide.size > 3 else [])]),
            ),
            _("Copy or export the complete series again."),
        )
    if np.ptp(gaps) <= 2 * POSITION_TOLERANCE_MM:
        return GeometryError(_("The slices are shifted against each other."), _("Export the original series again."))
    return GeometryError(
        _("The distance between the slices is uneven: {least} to {most} mm.").format(
            least=f"{gaps.min():.3g}", most=f"{gaps.max():.3g}"
        ),
        _(
            "Give an evenly spaced reconstruction, or resample the series to an even grid first (for "
            "example in 3D Slicer with the acquisition-geometry option)."
        ),
    )


def _name(one: Slice) -> str:
    return one.file.name if one.frame is None else f"frame {one.frame + 1} of {one.file.name}"


def _by(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in numbers)
