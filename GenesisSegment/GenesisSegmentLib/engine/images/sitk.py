"""The border between core geometry (RAS, arrays [i, j, k]) and SimpleITK images (LPS, arrays [k, j, i])."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from ...core.geometry import Geometry

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Changes LPS positions to RAS positions; its own inverse."""


def geometry_from_sitk(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """Grid of a 3-D SimpleITK image, or of an image reader that has read the header."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return Geometry(image.GetSize(), LPS_TO_RAS @ matrix)


def voxels_from_sitk(image: sitk.Image) -> np.ndarray:
    """Voxels [i, j, k] of a 3-D SimpleITK image: one copy, i varies fastest in memory."""
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


def to_sitk(voxels: np.ndarray, geometry: Geometry) -> sitk.Image:
    """A SimpleITK image of voxels [i, j, k]: one copy, and none besides where i varies fastest in memory."""
    image = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    matrix = LPS_TO_RAS @ geometry.ijk_to_ras
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(matrix[:3, 3].tolist())
    image.SetDirection((matrix[:3, :3] / np.array(geometry.spacing)).ravel().tolist())
    return image
