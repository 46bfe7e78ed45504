"""Small synthetic CTs and the files that hold them. Everything is a made-up body: an ellipsoid with a bright mark."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.volume import Source, Volume

AIR, FAT, TISSUE, MARK = -1000, -100, 40, 700
MARK_AT = (0.65, 0.4, 0.7)
"""Where the mark lies in the body, as a share of each axis: off centre along all three, so that no flip hides it."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(degrees: tuple[float, float, float]) -> np.ndarray:
    """3x3 matrix of turns about x, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


def an_oblique_geometry(
    shape: tuple[int, int, int] = (24, 20, 16),
    spacing: tuple[float, float, float] = (0.8, 0.9, 2.5),
    degrees: tuple[float, float, float] = (10.0, -20.0, 30.0),
    origin: tuple[float, float, float] = (-61.3, 42.7, -903.1),
) -> Geometry:
    """A right-handed oblique grid in RAS."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(degrees) @ np.diag(spacing)
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def ct_voxels(shape: tuple[int, int, int] = (24, 20, 16), noise: float = 8.0, seed: int = 0) -> np.ndarray:
    """int16 HU (i, j, k): air, an ellipsoid of soft tissue with a rim of fat, and a bright mark of 27 voxels."""
    i, j, k = (2 * (np.arange(n) + 0.5) / n - 1 for n in shape)
    radius = np.sqrt(i[:, None, None] ** 2 + j[None, :, None] ** 2 + k[None, None, :] ** 2)
    voxels = np.where(radius < 0.95, np.where(radius < 0.8, TISSUE, FAT), AIR)
    voxels = np.clip(voxels + np.random.default_rng(seed).normal(0, noise, shape), -1024, None)
    voxels[tuple(slice(c - 1, c + 2) for c in mark_index(shape))] = MARK
    return np.asfortranarray(np.rint(voxels), dtype=np.int16)


def mark_index(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Index of the centre of the mark."""
    i, j, k = (int(n * share) for n, share in zip(shape, MARK_AT, strict=True))
    return i, j, k


def mark_position(voxels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """RAS position in mm of the centre of the bright mark, found from the voxels."""
    index = np.argwhere(voxels >= MARK - 1).mean(axis=0)
    return (geometry.ijk_to_ras @ np.append(index, 1.0))[:3]


def a_ct_volume(geometry: Geometry | None = None, **options: float) -> Volume:
    """A synthetic CT on a grid, oblique unless another one is given."""
    geometry = geometry or an_oblique_geometry()
    return Volume(ct_voxels(geometry.shape, **options), geometry, Source(Path("synthetic.nii.gz"), "synthetic"))  # type: ignore[arg-type]


def write_dicom_series(
    folder: Path,
    voxels: np.ndarray,
    geometry: Geometry,
    *,
    edit: Callable[[Dataset, int], None] = lambda dataset, k: None,
    suffix: str = ".dcm",
    **changes: object,
) -> list[Path]:
    """Writes a CT series, one file per plane k, and returns the files in the order of k.

    ``changes`` are DICOM keywords set in every slice (None deletes one); ``edit`` changes each slice last. Files are
    named in an order that is not the anatomical one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series_uid, frame_uid, study_uid = generate_uid(), generate_uid(), generate_uid()
    files = []
    for k in range(voxels.shape[2]):
        dataset = _ct_image(CTImageStorage, voxels[:, :, k].T[None])
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
        dataset.FrameOfReferenceUID, dataset.InstanceNumber = frame_uid, k + 1
        dataset.ImagePositionPatient = _position(geometry, k)
        dataset.ImageOrientationPatient = _orientation(geometry)
        dataset.PixelSpacing = _pixel_spacing(geometry)
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        _change(dataset, changes)
        edit(dataset, k)
        path = folder / f"im{(7 * k) % 100:02d}_{k}{suffix}"
        dataset.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


def write_enhanced_ct(
    path: Path, voxels: np.ndarray, geometry: Geometry, *, order: Iterable[int] | None = None, **changes: object
) -> Path:
    """Writes a multi-frame enhanced CT; ``order`` gives the plane k of each frame."""
    order = list(order if order is not None else range(voxels.shape[2]))
    dataset = _ct_image(EnhancedCTImageStorage, voxels[:, :, order].transpose(2, 1, 0))
    dataset.NumberOfFrames = len(order)
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = generate_uid(), generate_uid()
    dataset.SharedFunctionalGroupsSequence = [
        _item(
            PlaneOrientationSequence=[_item(ImageOrientationPatient=_orientation(geometry))],
            PixelMeasuresSequence=[_item(PixelSpacing=_pixel_spacing(geometry))],
            PixelValueTransformationSequence=[_item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")],
        )
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        _item(PlanePositionSequence=[_item(ImagePositionPatient=_position(geometry, k))]) for k in order
    ]
    _change(dataset, changes)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _ct_image(sop_class: str, planes: np.ndarray) -> FileDataset:
    """A CT image of int16 HU ``planes`` (frames, rows, columns), stored with an offset of 1024."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "ID-12345"
    dataset.SeriesNumber, dataset.SeriesDescription = 3, "Abdomen 2.5 mm"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = planes.shape[1:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelData = (planes + np.int16(1024)).astype("<i2").tobytes()
    return dataset


def _item(**elements: object) -> Dataset:
    item = Dataset()
    _change(item, elements)
    return item


def _change(dataset: Dataset, changes: dict[str, object]) -> None:
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def _lps(geometry: Geometry) -> np.ndarray:
    return LPS_TO_RAS @ geometry.ijk_to_ras


def _position(geometry: Geometry, k: int) -> list[float]:
    return [round(float(x), 6) for x in (_lps(geometry) @ [0, 0, k, 1])[:3]]


def _orientation(geometry: Geometry) -> list[float]:
    directions = _lps(geometry)[:3, :2] / np.array(geometry.spacing[:2])
    return [round(float(x), 8) for x in directions.T.ravel()]


def _pixel_spacing(geometry: Geometry) -> list[float]:
    return [geometry.spacing[1], geometry.spacing[0]]
