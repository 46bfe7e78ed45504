"""Grids in every orientation, segmentations on them, and readers that share no code with the writers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from GenesisSegmentLib.core import files
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.segmentation import Segmentation, pack
from GenesisSegmentLib.core.volume import Source, Volume

SHAPE, SPACING = (7, 6, 5), (0.8, 1.5, 3.0)
ORIGIN = (-31.5, 84.25, 412.0)


def _straight() -> dict[str, np.ndarray]:
    directions = {}
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        matrix = np.zeros((3, 3))
        for column, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
            matrix[axis, column] = sign
        directions[f"axes {axes} signs {signs}"] = matrix
    return directions


def _oblique() -> dict[str, np.ndarray]:
    angles = {"tilted": (12, 0, 0), "turned": (-7, 15, 31), "far": (40, -38, 160)}
    turned = {name: Rotation.from_euler("xyz", a, degrees=True).as_matrix() for name, a in angles.items()}
    mirrored = {f"{name}, left-handed": matrix @ np.diag([1, 1, -1]) for name, matrix in turned.items()}
    return turned | mirrored


DIRECTIONS = _straight() | _oblique()


@pytest.fixture(params=DIRECTIONS.values(), ids=DIRECTIONS.keys())
def any_grid(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Geometry:
    """A small grid, once in each of the 48 orientations and in six oblique ones, without waits for the disk."""
    monkeypatch.setattr(files, "fsync", lambda path: None)
    monkeypatch.setattr(files, "fsync_folder", lambda path: None)
    return grid_of(request.param)


@pytest.fixture
def grid() -> Geometry:
    """One small oblique grid."""
    return grid_of(DIRECTIONS["turned"])


def grid_of(directions: np.ndarray) -> Geometry:
    matrix = np.eye(4)
    matrix[:3, :3] = directions * SPACING
    matrix[:3, 3] = ORIGIN
    return Geometry(SHAPE, matrix)


@pytest.fixture
def as_volume() -> Callable[[Geometry], Volume]:
    """Makes a CT of air on a grid, as if read from a NIfTI file."""
    source = Source(Path("ct.nii.gz"), "ct", (Path("ct.nii.gz"),))
    return lambda geometry: Volume(np.full(geometry.shape, -1000, np.int16), geometry, source)


@pytest.fixture
def blobs() -> Callable[[Geometry], Segmentation]:
    """Makes right kidney (2) and liver (6), asymmetric, overlapping in one voxel; spleen (1) looked for, not found."""

    def make(geometry: Geometry) -> Segmentation:
        liver, kidney = np.zeros((2, *geometry.shape), dtype=bool)
        liver[1:4, 2, 3] = liver[1, 2:5, 3] = liver[1, 2, 1:4] = True
        kidney[3:6, 2, 3] = kidney[5, 2:4, 4] = True
        return Segmentation(pack([(6, liver), (2, kidney)], geometry.shape), geometry, (1, 2, 6))

    return make


def positions(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """RAS positions (n, 3) of the true voxels of a mask (i, j, k), sorted."""
    indices = np.argwhere(mask)
    return sorted_rows((np.column_stack([indices, np.ones(len(indices))]) @ geometry.ijk_to_ras.T)[:, :3])


def sorted_rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(np.round(points, 2).T)]


def itk_positions(image: sitk.Image, value: int) -> np.ndarray:
    """RAS positions (n, 3) of the voxels with ``value``, as ITK places them, sorted."""
    indices = np.argwhere(sitk.GetArrayFromImage(image) == value)[:, ::-1].tolist()
    points = [image.TransformIndexToPhysicalPoint(index) for index in indices]
    return sorted_rows(np.array(points).reshape(-1, 3) * [-1, -1, 1])


@pytest.fixture
def same_place() -> Callable[[sitk.Image, int, np.ndarray, Geometry], None]:
    """Asserts that the voxels with a value lie where the mask does in the patient."""

    def check(image: sitk.Image, value: int, mask: np.ndarray, geometry: Geometry) -> None:
        np.testing.assert_allclose(itk_positions(image, value), positions(mask, geometry), atol=1e-3)

    return check


@pytest.fixture
def ras_of() -> Callable[[np.ndarray, Geometry], np.ndarray]:
    """RAS positions (n, 3) of the true voxels of a mask, sorted."""
    return positions


@pytest.fixture
def sort_points() -> Callable[[np.ndarray], np.ndarray]:
    """Points (n, 3) in an order that does not depend on how they were found."""
    return sorted_rows
