"""Where a voxel grid lies in the patient.

Convention of the whole project: arrays are indexed ``[i, j, k]``, positions are RAS millimetres (x grows towards the
patient's right, y to the front, z to the head; NIfTI's and Slicer's world), and a 4x4 matrix maps the centre of voxel
(i, j, k) to its position. DICOM and ITK use LPS: the sign of x and y changes at their border, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np

from .errors import GeometryError
from .i18n import _

SHEAR_TOLERANCE = 1e-3
"""Largest cosine between two grid axes that still counts as a right angle (a 300 mm side then errs by 0.3 mm)."""
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 30.0
_CODES = (("L", "R"), ("P", "A"), ("I", "S"))


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels: ``start`` inclusive, ``stop`` exclusive, one number per axis."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index into an (i, j, k) array."""
        (i0, j0, k0), (i1, j1, k1) = self.start, self.stop
        return slice(i0, i1), slice(j0, j1), slice(k0, k1)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        i, j, k = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return i, j, k

    def grown(self, voxels: int, shape: tuple[int, int, int]) -> Box:
        """The box with ``voxels`` more on each side, kept inside a grid of ``shape``."""
        start = (max(0, s - voxels) for s in self.start)
        stop = (min(n, s + voxels) for s, n in zip(self.stop, shape, strict=True))
        return Box(tuple(start), tuple(stop))  # type: ignore[arg-type]

    def common(self, other: Box) -> Box | None:
        """The box of the voxels that lie in both, None where there are none."""
        start = tuple(max(ends) for ends in zip(self.start, other.start, strict=True))
        stop = tuple(min(ends) for ends in zip(self.stop, other.stop, strict=True))
        return Box(start, stop) if all(a < b for a, b in zip(start, stop, strict=True)) else None  # type: ignore[arg-type]

    def within(self, outer: Box) -> tuple[slice, slice, slice]:
        """The box as an index into an array of the voxels of ``outer``, which holds it."""
        i, j, k = (slice(a - s, b - s) for a, b, s in zip(self.start, self.stop, outer.start, strict=True))
        return i, j, k

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Box:
        """The box of all voxels of a grid."""
        return cls((0, 0, 0), shape)

    @classmethod
    def joined(cls, boxes: Iterable[Box]) -> Box:
        """The smallest box around all of them, of which there must be one at least."""
        every = list(boxes)
        start = (min(sides) for sides in zip(*(box.start for box in every), strict=True))
        stop = (max(sides) for sides in zip(*(box.stop for box in every), strict=True))
        return cls(tuple(start), tuple(stop))  # type: ignore[arg-type]

    @classmethod
    def around(cls, mask: np.ndarray) -> Box | None:
        """The smallest box holding every true voxel of a 3-D array, or None where there is none."""
        start, stop = [], []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            (hit,) = np.nonzero(mask.any(axis=others))
            if hit.size == 0:
                return None
            start.append(int(hit[0]))
            stop.append(int(hit[-1]) + 1)
        return cls(tuple(start), tuple(stop))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reorientation:
    """A permutation and flips of grid axes: exact, invertible, and free of resampling.

    ``axes[a]`` is the input axis that becomes output axis ``a``; ``flips[a]`` says whether output axis ``a`` runs
    against it.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view of a 3-D array on the reoriented grid."""
        return array.transpose(self.axes)[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]

    def invert(self, array: np.ndarray) -> np.ndarray:
        """A view that brings a reoriented 3-D array back to the original grid."""
        flipped = array[tuple(slice(None, None, -1 if f else 1) for f in self.flips)]
        return flipped.transpose(tuple(int(a) for a in np.argsort(self.axes)))


@dataclass(frozen=True, eq=False)
class Geometry:
    """A grid of voxels in the patient: ``shape`` (i, j, k) and the 4x4 ``ijk_to_ras`` matrix in millimetres."""

    shape: tuple[int, int, int]
    ijk_to_ras: np.ndarray

    def __post_init__(self) -> None:
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise GeometryError(
                _("A 4x4 matrix was expected, not one of shape {shape}.").format(shape=str(matrix.shape))
            )
        matrix.setflags(write=False)
        object.__setattr__(self, "ijk_to_ras", matrix)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @cached_property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring voxel centres along i, j, k in millimetres."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def directions(self) -> np.ndarray:
        """3x3 matrix whose columns are the unit vectors of the grid axes in RAS."""
        return self.ijk_to_ras[:3, :3] / np.array(self.spacing)

    @property
    def origin(self) -> np.ndarray:
        """RAS position of the centre of voxel (0, 0, 0) in millimetres."""
        return self.ijk_to_ras[:3, 3]

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    @property
    def size_mm(self) -> tuple[float, float, float]:
        """Edge lengths of the grid in millimetres."""
        i, j, k = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return i, j, k

    @cached_property
    def to_ras(self) -> Reorientation:
        """The permutation and flips after which axes 0, 1, 2 run closest to Right, Anterior, Superior."""
        directions = self.directions
        axes = max(permutations(range(3)), key=lambda p: sum(abs(directions[w, p[w]]) for w in range(3)))
        flips = tuple(bool(directions[w, axes[w]] < 0) for w in range(3))
        return Reorientation(axes, flips)  # type: ignore[arg-type]

    @property
    def axis_codes(self) -> str:
        """Letters of the directions that i, j, k run to, nearest anatomical axis each, such as ``LPS``."""
        codes = ["", "", ""]
        for world, (axis, flip) in enumerate(zip(self.to_ras.axes, self.to_ras.flips, strict=True)):
            codes[axis] = _CODES[world][0 if flip else 1]
        return "".join(codes)

    def check(self) -> None:
        """Refuse a grid that cannot be placed exactly.

        Raises:
            GeometryError: not finite, an empty side, absurd spacing, or axes that are not at right angles.
        """
        if not np.isfinite(self.ijk_to_ras).all():
            raise GeometryError(_("The position of the image is not a number."), _("Export the image again."))
        if min(self.shape) < 1:
            raise GeometryError(
                _("The image is empty: {shape} voxels.").format(shape=_by(self.shape)), _("Export the image again.")
            )
        low, high = min(self.spacing), max(self.spacing)
        if low < SMALLEST_SPACING_MM or high > LARGEST_SPACING_MM:
            spacing = " x ".join(f"{s:.4g}" for s in self.spacing)
            raise GeometryError(
                _("The voxel spacing of {spacing} mm is not plausible for a CT of a patient.").format(spacing=spacing),
                _("Correct the spacing in the file's header (millimetres) and try again."),
            )
        cosines = self.directions.T @ self.directions - np.eye(3)
        if np.abs(cosines).max() > SHEAR_TOLERANCE:
            angle = float(np.degrees(np.arcsin(min(1.0, np.abs(cosines).max()))))
            raise GeometryError(
                _("The image axes are not at right angles (off by {angle} degrees, as with a tilted gantry).").format(
                    angle=f"{angle:.1f}"
                ),
                _(
                    "Resample the image to a straight grid first, for example with Slicer's acquisition-geometry "
                    "option."
                ),
            )

    def matches(self, other: Geometry, tolerance_mm: float = 1e-2) -> bool:
        """Whether both grids have the same shape and every corner within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners: np.ndarray = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1)
        corners = np.vstack([corners, np.ones(corners.shape[1])])
        return bool(np.abs((self.ijk_to_ras - other.ijk_to_ras) @ corners)[:3].max() <= tolerance_mm)

    def reoriented(self, change: Reorientation) -> Geometry:
        """The same grid described on permuted and flipped axes."""
        matrix = np.eye(4)
        matrix[:3, 3] = self.origin
        shape = tuple(self.shape[a] for a in change.axes)
        for out, (axis, flip) in enumerate(zip(change.axes, change.flips, strict=True)):
            column = self.ijk_to_ras[:3, axis]
            matrix[:3, out] = -column if flip else column
            if flip:
                matrix[:3, 3] += column * (self.shape[axis] - 1)
        return Geometry(shape, matrix)  # type: ignore[arg-type]

    def resampled(self, spacing_mm: tuple[float, float, float]) -> Geometry:
        """The grid with another spacing: same first voxel centre, same axes, side (n - 1) s / t + 1 rounded.

        This is the grid that MONAI's ``Spacing`` makes (scale_extent off), so that both recipes share it.
        """
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] = self.directions * np.array(spacing_mm)
        sides = zip(self.shape, self.spacing, spacing_mm, strict=True)
        shape = tuple(max(1, int(np.round((n - 1) * s / t + 1))) for n, s, t in sides)
        return Geometry(shape, matrix)  # type: ignore[arg-type]

    def cropped(self, box: Box) -> Geometry:
        """The grid of the voxels inside ``box``, in place."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = (self.ijk_to_ras @ np.array([*box.start, 1.0]))[:3]
        return Geometry(box.shape, matrix)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
