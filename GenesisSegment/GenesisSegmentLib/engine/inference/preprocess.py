"""From a CT on its own grid to the model's input: oriented, cropped, resampled and scaled."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ...core.errors import InputError
from ...core.geometry import Box, Geometry
from ...core.i18n import _
from ...core.jobs import Advance
from ...core.volume import Volume
from ..components import largest, touching
from .lattice import Body, box_above, published_grid
from .resample import add_resampled, matrices
from .spec import ModelSpec
from .windows import starts

_BODY_HU = -300
_LUNG_HU = -950
_PART_SHARE = 0.25
_SHORTEST_OPENED = 5
_BODY_GRID_MM = 6.0
_BODY_MARGIN_MM = 6.0
_LEAST_VALUE = 1e-6
"""Scaled values up to this are rounding errors at the lower end of the intensity window."""


@dataclass(frozen=True, eq=False)
class ModelInput:
    """``image`` float32 (X, Y, Z) on RAS axes at the model's spacing, its values scaled.

    It is padded with zeros where the model needs more; ``geometry`` is the grid without the padding, ``valid`` the
    part of the image that it covers. ``body`` is given for models with a window, which some windows do not see.
    """

    image: np.ndarray
    geometry: Geometry
    valid: tuple[slice, slice, slice]
    body: Body | None = None

    @property
    def before(self) -> tuple[int, int, int]:
        """Voxels of padding in front of the grid, per axis."""
        x, y, z = (part.start for part in self.valid)
        return x, y, z

    def windows(self, window: tuple[int, int, int], overlap: float, box: Box | None = None) -> np.ndarray:
        """Which windows laid over the image, or a ``box`` of it, must be run: bool (x starts, y starts, z starts)."""
        box = box or Box.whole(self.image.shape)  # type: ignore[arg-type]
        if self.body is None:
            counts = [len(starts(n, w, overlap)) for n, w in zip(box.shape, window, strict=True)]
            return np.ones(counts, dtype=bool)
        before = tuple(padding - first for padding, first in zip(self.before, box.start, strict=True))
        return self.body.windows_near(self.geometry, box.shape, window, overlap, before)

    def place_of(self, box: Box) -> Box:
        """Where a box of the grid lies in the image, padding included."""
        start, stop = (tuple(n + b for n, b in zip(side, self.before, strict=True)) for side in (box.start, box.stop))
        return Box(start, stop)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class InputFrame:
    """What is known of a model's input before it is made: what it takes in memory, above all.

    ``voxels`` (i, j, k) are the CT's own on RAS axes, at ``geometry``. ``grid`` holds the input, and with the crop of
    the published recipe up to a voxel or two of the CT more on each side.
    """

    voxels: np.ndarray
    geometry: Geometry
    grid: Geometry
    spec: ModelSpec
    body: Body | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image, padding included."""
        i, j, k = (b + n + a for (b, a), n in zip(_padding(self.grid.shape, self.spec), self.grid.shape, strict=True))
        return i, j, k


def input_frame(volume: Volume, spec: ModelSpec) -> InputFrame:
    """The frame of the fast recipe: for a model with a window that of the published recipe, else the body's box.

    Raises:
        InputError: there is no body in the CT, or nothing in it that the model sees.
    """
    straight = volume.geometry.to_ras
    voxels, geometry = straight.apply(volume.voxels), volume.geometry.reoriented(straight)
    if spec.window is not None:
        body = find_body(voxels, geometry)
        return replace(published_frame(volume, spec), body=body)
    grid = geometry.resampled(spec.spacing_mm)
    return InputFrame(voxels, geometry, grid.cropped(_on_grid(body_box(voxels, geometry), geometry, grid)), spec)


def published_frame(volume: Volume, spec: ModelSpec) -> InputFrame:
    """The frame of the published recipe: all that is denser than the lower end of the intensity window, table included.

    Raises:
        InputError: there is nothing of that kind.
    """
    straight = volume.geometry.to_ras
    voxels, geometry = straight.apply(volume.voxels), volume.geometry.reoriented(straight)
    grid = published_grid(geometry, spec.spacing_mm)
    seen = box_above(voxels, spec.window_hu[0])
    if seen is None:
        raise nothing_seen(spec)
    # Linear interpolation reaches one voxel further. What is smoothed before has no window, and is not cropped so.
    return InputFrame(voxels, geometry, grid.cropped(_on_grid(seen.grown(1, geometry.shape), geometry, grid)), spec)


def nothing_seen(spec: ModelSpec) -> InputError:
    """The refusal of a CT that is empty within the model's intensity window."""
    return InputError(
        _("There is nothing above {level} HU in this CT.").format(level=f"{spec.window_hu[0]:g}"),
        _("Check that its values are Hounsfield units."),
    )


def model_input(
    volume: Volume, spec: ModelSpec, advance: Advance = lambda share: None, frame: InputFrame | None = None
) -> ModelInput:
    """Orients, resamples, scales and crops a CT for a model, in the ``frame`` that :func:`input_frame` gives.

    ``advance`` is told the share done before each slab, and may raise to stop.

    Raises:
        InputError: see :func:`input_frame`.
    """
    frame = frame or input_frame(volume, spec)
    if spec.window is None:
        image, valid = _padded(frame.grid.shape, spec)
        _fill(image[valid], frame, advance)
        return ModelInput(image, frame.grid, valid)
    inside = _zeros(frame.grid.shape)
    _fill(inside, frame, advance)
    box = box_above(inside, _LEAST_VALUE)
    if box is None:
        raise nothing_seen(spec)
    cropped, grid = inside[box.slices], frame.grid.cropped(box)
    if all(n >= w for n, w in zip(box.shape, spec.window, strict=True)):
        return ModelInput(cropped, grid, Box.whole(box.shape).slices, frame.body)
    image, valid = _padded(box.shape, spec)
    image[valid] = cropped
    return ModelInput(image, grid, valid, frame.body)


def body_box(voxels: np.ndarray, geometry: Geometry) -> Box:
    """The box around the patient with a margin of 6 mm and a voxel of the grid of 6 mm on which it is found.

    Raises:
        InputError: nothing is denser than air.
    """
    steps = _steps(geometry)
    box = Box.around(find_body(voxels, geometry).mask)
    assert box is not None  # a body is not empty
    start, stop = [], []
    for axis in range(3):
        margin = int(np.ceil(_BODY_MARGIN_MM / geometry.spacing[axis])) + steps[axis]
        start.append(max(0, box.start[axis] * steps[axis] - margin))
        stop.append(min(geometry.shape[axis], (box.stop[axis] - 1) * steps[axis] + 1 + margin))
    return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]


def find_body(voxels: np.ndarray, geometry: Geometry) -> Body:
    """The patient, found on a grid of 6 mm.

    The patient is the largest connected part that is denser than lung, with every other of a quarter of its size, such
    as the second leg, and lung that the edge of the scan cuts. Table and clothing that do not touch stay outside.

    Raises:
        InputError: nothing is denser than air.
    """
    steps = _steps(geometry)
    coarse = voxels[tuple(slice(None, None, s) for s in steps)]
    dense = coarse > _BODY_HU
    lung = ~dense & (ndimage.uniform_filter(coarse.astype(np.float32), 3) > _LUNG_HU)
    sides = np.zeros(coarse.shape, dtype=bool)
    sides[[0, -1]] = sides[:, [0, -1]] = True
    thick = _opened(dense)
    body = largest(thick if thick.any() else dense, None, share=_PART_SHARE) | touching(_opened(lung), sides)
    if not body.any():
        raise InputError(
            _("There is no body in this CT: nothing is denser than air."),
            _("Check that the right series was chosen and that its values are Hounsfield units."),
        )
    matrix = geometry.ijk_to_ras @ np.diag([*steps, 1.0])
    i, j, k = coarse.shape
    return Body(body, body | touching(dense, body), Geometry((i, j, k), matrix))


def _steps(geometry: Geometry) -> list[int]:
    return [max(1, round(_BODY_GRID_MM / s)) for s in geometry.spacing]


def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Float32 (i, j, k) with j next in memory, then i, as resampling fills it fastest."""
    i, j, k = shape
    return np.zeros((k, i, j), dtype=np.float32).transpose(1, 2, 0)


def _padded(shape: tuple[int, int, int], spec: ModelSpec) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Zeros for an input of ``shape`` with its padding, and where it lies in them."""
    padding = _padding(shape, spec)
    valid = tuple(slice(before, before + n) for (before, _), n in zip(padding, shape, strict=True))
    image = _zeros(tuple(before + n + after for (before, after), n in zip(padding, shape, strict=True)))
    return image, valid  # type: ignore[return-value]


def _fill(out: np.ndarray, frame: InputFrame, advance: Advance) -> None:
    """Resamples and scales the CT of ``frame`` into zeros, slab by slab."""
    add_resampled(frame.voxels, matrices(frame.geometry, frame.grid, frame.spec.is_smoothed), out, advance)
    for plane in out.transpose(2, 0, 1):
        plane[...] = _scaled(plane, frame.spec)


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
