"""From a CT on its own grid to the model's input: oriented, cropped to the body, resampled and scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from ...core.geometry import Box, Geometry
from ...core.jobs import Advance
from ...core.volume import Volume
from ..components import largest, touching
from .resample import add_resampled, matrices
from .spec import ModelSpec

_BODY_HU = -300
_LUNG_HU = -950
_PART_SHARE = 0.25
_SHORTEST_OPENED = 5
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


def model_input(volume: Volume, spec: ModelSpec, advance: Advance = lambda share: None) -> ModelInput:
    """Orients, crops to the body, resamples and scales a CT for a model.

    ``advance`` is told the share done before each slab, and may raise to stop.

    Raises:
        InputError: there is no body in the CT.
    """
    straight = volume.geometry.to_ras
    voxels, geometry = straight.apply(volume.voxels), volume.geometry.reoriented(straight)
    grid = geometry.resampled(spec.spacing_mm)
    grid = grid.cropped(_on_grid(body_box(voxels, geometry), geometry, grid))
    padding = _padding(grid.shape, spec)
    valid = tuple(slice(before, before + n) for (before, _), n in zip(padding, grid.shape, strict=True))
    i, j, k = (before + n + after for (before, after), n in zip(padding, grid.shape, strict=True))
    image = np.zeros((k, i, j), dtype=np.float32).transpose(1, 2, 0)
    inside = image[valid]
    add_resampled(voxels, matrices(geometry, grid, spec.is_smoothed), inside, advance)
    for plane in inside.transpose(2, 0, 1):
        plane[...] = _scaled(plane, spec)
    return ModelInput(image, grid, valid)  # type: ignore[arg-type]


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
    """Hounsfield units as the model's values, linear between the knots of the window."""
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
