"""NumPy views of VTK images and matrices.

VTK keeps voxels with i running fastest; a view indexed [i, j, k] is therefore a transposed one (Fortran order), and
costs nothing. An image whose extent does not start at 0 keeps the position of voxel (0, 0, 0) as its origin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..core.pieces import Pieces, finished


def to_numpy(matrix: Any) -> np.ndarray:
    """4x4 array of a vtkMatrix4x4."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(matrix: np.ndarray) -> Any:
    """vtkMatrix4x4 of a 4x4 array."""
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=np.float64).ravel())
    return result


def start_of(image: Any) -> tuple[int, int, int]:
    """Index of the first voxel: where the extent begins."""
    extent = image.GetExtent()
    return extent[0], extent[2], extent[4]


def voxels(image: Any) -> np.ndarray:
    """View (i, j, k) of the voxels of a vtkImageData with one component; empty where it has none."""
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or min(image.GetDimensions()) < 1:
        return np.zeros((0, 0, 0), np.uint8)
    return vtk_to_numpy(scalars).reshape(image.GetDimensions()[::-1]).T


def label_image(labels: np.ndarray, matrix: np.ndarray, start: tuple[int, int, int] = (0, 0, 0)) -> Any:
    """A vtkOrientedImageData that owns a copy of uint8 ``labels`` (i, j, k).

    Args:
        labels: values; of any memory order, memory-mapped or not.
        matrix: index to position, of the whole grid, in the space of the segmentation node.
        start: index of the first voxel on that grid.
    """
    return finished(copying_labels(labels, matrix, start, labels.shape[2]))


def copying_labels(labels: np.ndarray, matrix: np.ndarray, start: tuple[int, int, int], planes: int) -> Pieces[Any]:
    """The image of :func:`label_image`, some planes at a time."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*(edge for first, n in zip(start, labels.shape, strict=True) for edge in (first, first + n - 1)))
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.SetImageToWorldMatrix(to_vtk(matrix))
    values = voxels(image)
    for k in range(0, labels.shape[2], max(1, planes)):
        values[:, :, k : k + planes] = labels[:, :, k : k + planes]
        yield
    return image


def image_matrix(image: Any) -> np.ndarray:
    """Index to position of a vtkOrientedImageData, 4x4, in the space of its node."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return to_numpy(matrix)
