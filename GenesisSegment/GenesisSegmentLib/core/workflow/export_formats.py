"""The formats of the Export part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExportFormat:
    """``key`` is what settings keep. ``is_flat`` formats hold one class per voxel, so the paint order decides."""

    key: str
    text: str
    is_flat: bool = False


FORMATS: tuple[ExportFormat, ...] = (
    ExportFormat("seg.nrrd", "Segmentation (.seg.nrrd)"),
    ExportFormat("nii.gz", "Label map (.nii.gz) with value table", is_flat=True),
    ExportFormat("nrrd", "Label map (.nrrd) with value table", is_flat=True),
    ExportFormat("dicom", "DICOM SEG"),
    ExportFormat("stl", "Surfaces (.stl)"),
    ExportFormat("obj", "Surfaces (.obj)"),
    ExportFormat("gltf", "Surfaces (.gltf)"),
    ExportFormat("csv", "Measurements (.csv)"),
)
