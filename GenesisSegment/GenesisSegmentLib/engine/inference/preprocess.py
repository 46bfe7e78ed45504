"""From a CT on its own grid to the model's input, and the masks back: streamed by SimpleITK, exact in geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ...core.errors import InputError
from ...core.geometry import Box, Geometry
from ...core.volume import Volume
from ..components import largest, touching
from .spec import ModelSpec

_BODY_HU = -300
_LUNG_HU = -950
_PART_SHARE = 0.25
_SHORTEST_OPENED = 5
_SHORTEST_SMOOTHED = 4
"""Voxels along an axis that the recursive filter needs."""
_BODY_GRID_MM = 6.0
_BODY_MARGIN_MM = 6.0


@dataclass(frozen=True, eq=False)
class ModelInput:
    """``image`` float32 (X, Y, Z) in 0..1 on RAS axes at the model's spacing, cropped to the body.

    It is padded with zeros where the model needs more; ``geometry`` is the grid without the padding, ``valid`` the
    part of the image that it covers.
    """

    image: np.ndarray
    geometry: Geometry
    valid: tuple[slice, slice, slice]


def model_input(volume: Volume, spec: ModelSpec) -> ModelInput:
    """Orients, crops to the body, resamples and scales a CT for a model.

    Raises:
        InputError: there is no body in the CT.
    """
    straight = volume.geometry.to_ras
    voxels, geometry = straight.apply(volume.voxels), volume.geometry.reoriented(straight)
    grid = geometry.resampled(spec.spacing_mm)
    grid = grid.cropped(_on_grid(body_box(voxels, geometry), geometry, grid))
    image = _resample_ct(voxels, geometry, grid, spec)
    image = _scaled(image, spec)
    padding = _padding(image.shape, spec)
    valid = tuple(slice(before, before + n) for (before, _), n in zip(padding, image.shape, strict=True))
    padded = np.pad(image, padding) if np.any(padding) else image
    return ModelInput(padded, grid, valid)  # type: ignore[arg-type]


def body_box(voxels: np.ndarray, geometry: Geometry) -> Box:
    """The box around the patient with a margin of 6 mm, found on a grid of 6 mm.

    The patient is the largest connected part that is denser than lung, with every other of a quarter of its size, such
    as the second leg, and lung that the edge of the scan cuts. Table and clothing that do not touch stay outside.

    Raises:
        InputError: nothing is denser than air.
    """
    steps = [max(1, round(_BODY_GRID_MM / s)) for s in geometry.spacing]
    coarse = voxels[tuple(slice(None, None, s) for s in steps)]
    dense = coarse > _BODY_HU
    lung = ~dense & (ndimage.uniform_filter(coarse.astype(np.float32), 3) > _LUNG_HU)
    sides = np.zeros(coarse.shape, dtype=bool)
    sides[[0, -1]] = sides[:, [0, -1]] = True
    thick = _opened(dense)
    body = largest(thick if thick.any() else dense, None, share=_PART_SHARE)
    box = Box.around(body | touching(_opened(lung), sides))
    if box is None:
        raise InputError(
            "There is no body in this CT: nothing is denser than air.",
            "Check that the right series was chosen and that its values are Hounsfield units.",
        )
    start, stop = [], []
    for axis in range(3):
        margin = int(np.ceil(_BODY_MARGIN_MM / geometry.spacing[axis])) + steps[axis]
        start.append(max(0, box.start[axis] * steps[axis] - margin))
        stop.append(min(geometry.shape[axis], (box.stop[axis] - 1) * steps[axis] + 1 + margin))
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def _opened(mask: np.ndarray) -> np.ndarray:
    """Without thin parts, such as skin and the shell of a table; axes of a few voxels count as thick."""
    cross = ndimage.generate_binary_structure(3, 1)
    for axis, side in enumerate(mask.shape):
        if side < _SHORTEST_OPENED:
            np.moveaxis(cross, axis, 0)[[0, 2]] = False
    return ndimage.binary_opening(mask, cross)


def _on_grid(box: Box, fine: Geometry, grid: Geometry) -> Box:
    """A box of the fine grid as the box of the resampled grid that covers it."""
    start, stop = [], []
    for axis in range(3):
        ratio = fine.spacing[axis] / grid.spacing[axis]
        last = grid.shape[axis] - 1
        start.append(min(last, int(np.floor(box.start[axis] * ratio))))
        stop.append(min(last, int(np.ceil((box.stop[axis] - 1) * ratio))) + 1)
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def _scaled(image: np.ndarray, spec: ModelSpec) -> np.ndarray:
    """Hounsfield units as the model's values; the plain window of two knots without a copy."""
    if len(spec.window_hu) > 2:
        return np.interp(image, spec.window_hu, spec.window_values).astype(np.float32)
    (low, high), (first, last) = spec.window_hu, spec.window_values
    image -= low
    image *= (last - first) / (high - low)
    image += first
    return np.clip(image, first, last, out=image)


def _padding(shape: tuple[int, ...], spec: ModelSpec) -> list[tuple[int, int]]:
    """Voxels before and after, per axis: up to a window, both sides alike as MONAI does, or up to a multiple."""
    if spec.window is None:
        return [(0, -n % spec.multiple) for n in shape]
    short = [max(0, w - n) for n, w in zip(shape, spec.window, strict=True)]
    return [(n // 2, n - n // 2) for n in short]


def _resample_ct(voxels: np.ndarray, geometry: Geometry, grid: Geometry, spec: ModelSpec) -> np.ndarray:
    """Linear interpolation float32 (X, Y, Z); beyond the edge the nearest voxel counts."""
    image = axis_image(voxels, geometry, geometry)
    if spec.is_smoothed:
        image = _smooth(image, grid.spacing)
    image = sitk.ZeroFluxNeumannPad(image, [0, 0, 0], _voxels_beyond(geometry, grid))
    frame = axis_image(np.zeros((1, 1, 1), np.uint8), grid, geometry)
    out = sitk.Resample(
        image,
        [int(n) for n in grid.shape],
        sitk.Transform(),
        sitk.sitkLinear,
        frame.GetOrigin(),
        frame.GetSpacing(),
        frame.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )
    return sitk.GetArrayFromImage(out).transpose(2, 1, 0)


def _voxels_beyond(fine: Geometry, grid: Geometry) -> list[int]:
    """How many voxels of ``fine``, per axis, its end must be continued by to reach the last centre of ``grid``."""
    end = grid.ijk_to_ras @ np.append(np.array(grid.shape) - 1, 1.0)
    last = np.linalg.solve(fine.ijk_to_ras, end)[:3]
    beyond = np.ceil(last - (np.array(fine.shape) - 1) - 1e-9)
    return [max(0, int(n)) for n in beyond]


def _smooth(image: sitk.Image, spacing: tuple[float, ...]) -> sitk.Image:
    """Takes out what the coarse grid cannot hold, as the training material had it taken out."""
    for axis, (fine, coarse) in enumerate(zip(image.GetSpacing(), spacing, strict=True)):
        if fine < 0.8 * coarse and image.GetSize()[axis] >= _SHORTEST_SMOOTHED:
            sigma = 0.4 * float(np.sqrt(coarse**2 - fine**2))
            image = sitk.RecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), sigma, direction=axis)
    return image


def axis_image(array: np.ndarray, geometry: Geometry, frame: Geometry) -> sitk.Image:
    """A SimpleITK image of an (i, j, k) array in the axes of ``frame``: millimetres along i, j, k from its first voxel.

    Only for grids that share their axes: resampling between them then needs no rotation and is exact.
    """
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(geometry.spacing)
    index = np.linalg.solve(frame.ijk_to_ras, np.append(geometry.origin, 1.0))[:3]
    image.SetOrigin([float(n * s) for n, s in zip(index, frame.spacing, strict=True)])
    return image
