"""Lesions in a CT of any spacing: made at 1 mm along its own axes, and brought back to its voxels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ...core.errors import GeometryError, InputError
from ...core.geometry import Box
from ...core.i18n import _
from .blending import Blend, apart, blended
from .drawing import Plan, draw_plan
from .effects import pushed, vessels
from .lattice import Lattice, Spacing
from .recipe import PLAIN, Options
from .textures import texture

FAT_HU = (-200.0, -30.0)
"""Where a lesion that leaves its organ may go."""
_STRANDS_MM = 1.5
"""Strands and vessels about this thick are no border to it."""
_GRAIN, _EVEN = 0.7, 0.25
"""Correlation length in voxels of the noise of what is filled; and the share of an organ that is surely even."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A CT with lesions. ``hu`` (X, Y, Z) has the type of the CT that it was made of, ``lesion`` is bool on its grid.

    ``plan`` is what was drawn, on ``lattice``; ``volumes_ml`` are those of its lesions, less what they share with
    others before them.
    """

    hu: np.ndarray
    lesion: np.ndarray
    plan: Plan
    lattice: Lattice
    volumes_ml: tuple[float, ...]

    def position(self, centre: tuple[int, int, int]) -> tuple[float, float, float]:
        """A voxel of the 1 mm grid as an index of the CT."""
        i, j, k = (
            start + c / step
            for start, c, step in zip(self.lattice.box.start, centre, self.lattice.spacing, strict=True)
        )
        return i, j, k


def synthesize(
    hu: np.ndarray,
    organ_mask: np.ndarray,
    spacing_mm: Spacing,
    rng: np.random.Generator,
    organ: str = "liver",
    size: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The CT with synthetic lesions and the voxels of these, bool: the whole of it for training on the fly.

    Arrays are (R, A, S): axes nearest to right, anterior, superior, in either direction. Voxels outside of the soft
    masks of the lesions are those of ``hu``, whose type is kept. ``size`` is tiny, small, medium, large, mix, or drawn.

    Raises:
        InputError: the organ is empty, too small for the size, or has no recipe.
    """
    planted = plant(hu, organ_mask, spacing_mm, rng, organ, size)
    return planted.hu, planted.lesion


def plant(
    hu: np.ndarray,
    organ_mask: np.ndarray,
    spacing_mm: Spacing,
    rng: np.random.Generator,
    organ: str = "liver",
    size: str | None = None,
    options: Options = PLAIN,
    others: np.ndarray | None = None,
) -> Planted:
    """As :func:`synthesize`, with everything that was drawn. ``others``: where lesions may not go, bool.

    Raises:
        InputError: the organ is empty, too small for the size, or has no recipe.
        GeometryError: CT and mask have different shapes.
    """
    if hu.shape != organ_mask.shape:
        raise GeometryError(_("CT and mask have different shapes."), _("Give a mask that was drawn on this CT."))
    mask = organ_mask.astype(bool, copy=False)
    box = Box.around(mask)
    if box is None:
        raise InputError(_("The organ is empty."), _("Give a mask in which the organ is marked."))
    lattice = Lattice(box, _millimetres(spacing_mm))
    inside = lattice.marked(mask[box.slices])
    seen = vessels(lattice.taken(hu[box.slices]), inside) if options.is_vessel_avoided else None
    plan = draw_plan(organ, inside, rng, size, options, seen)
    return planted(hu, mask, plan, lattice, others)


def planted(
    hu: np.ndarray, mask: np.ndarray, plan: Plan, lattice: Lattice, others: np.ndarray | None = None
) -> Planted:
    """A CT with the lesions of a plan that was drawn on the ``lattice`` of the organ's ``mask``, bool."""
    room, plan, lattice = _with_room(hu, mask, plan, lattice, others)
    box = lattice.box
    inside = lattice.marked(mask[box.slices])
    tissue = None if room is mask else lattice.marked(room[box.slices]) & ~inside
    blend = blended(plan, inside, texture(plan.texture), tissue)
    base = _with_mass_effects(hu, mask, plan, lattice)
    result, lesion = base.copy(order="K"), np.zeros_like(hu, dtype=bool)
    gap = 2 * int(np.ceil(max(lattice.spacing)))
    for part in blend.boxes if lattice.is_native else apart(blend.boxes, gap):
        lowering, at = lattice.back(blend.lowering[part.slices], part)
        marked, _at = lattice.back(blend.lesion[part.slices], part)
        change = -lowering
        if blend.fill is not None:
            change += _filled(base, mask, plan, lattice, blend, part)
        change *= room[at.slices]
        lesion[at.slices] |= (marked >= 0.5) & room[at.slices]
        _add(result, base, change, at)
    ml = tuple(n / 1000 for n in blend.volumes)
    return Planted(result, lesion, plan, lattice, ml)


def _add(result: np.ndarray, base: np.ndarray, change: np.ndarray, at: Box) -> None:
    """Voxels that do not change keep every bit."""
    if result.dtype.kind in "iu":
        change = np.rint(change)
    np.copyto(result[at.slices], (base[at.slices] + change).astype(result.dtype), where=change != 0)


def _millimetres(spacing: Spacing) -> Spacing:
    """Spacings that are 1 mm to the precision of a header are 1 mm."""
    i, j, k = (1.0 if abs(s - 1) < 1e-4 else float(s) for s in spacing)
    return i, j, k


def _with_room(
    hu: np.ndarray, mask: np.ndarray, plan: Plan, lattice: Lattice, others: np.ndarray | None
) -> tuple[np.ndarray, Plan, Lattice]:
    """Where lesions may lie, bool; and plan and lattice with room around the organ for those that leave it."""
    leaving = [lesion for lesion in plan.lesions if lesion.leaves]
    if not leaving:
        return mask, plan, lattice
    reach = 2 * max(max(lesion.radii) for lesion in leaving)
    start = tuple(max(0, a - int(np.ceil(reach / s))) for a, s in zip(lattice.box.start, lattice.spacing, strict=True))
    ends = zip(lattice.box.stop, hu.shape, lattice.spacing, strict=True)
    stop = tuple(min(n, b + int(np.ceil(reach / s))) for b, n, s in ends)
    wide = Lattice(Box(start, stop), lattice.spacing)  # type: ignore[arg-type]
    part = wide.box.slices
    near = (hu[part] > FAT_HU[0]) & (hu[part] < FAT_HU[1]) | mask[part]
    sigma = [_STRANDS_MM / s for s in lattice.spacing]
    room = np.zeros_like(mask)
    room[part] = ndimage.gaussian_filter(near.astype(np.float32), sigma) > 0.5
    if others is not None:
        room &= ~others
    room |= mask
    by = [round((a - b) * s) for a, b, s in zip(lattice.box.start, start, lattice.spacing, strict=True)]
    lesions = []
    for lesion in plan.lesions:
        i, j, k = (c + d for c, d in zip(lesion.centre, by, strict=True))
        lesions.append(replace(lesion, centre=(i, j, k)))
    return room, replace(plan, lesions=tuple(lesions)), wide


def _with_mass_effects(hu: np.ndarray, mask: np.ndarray, plan: Plan, lattice: Lattice) -> np.ndarray:
    result = hu
    for lesion in plan.lesions:
        if not lesion.push:
            continue
        starts = zip(lattice.box.start, lesion.centre, lattice.spacing, strict=True)
        centre = tuple(a + c / s for a, c, s in starts)
        found = pushed(result, mask, lattice.spacing, centre, float(np.mean(lesion.radii)), lesion.push)  # type: ignore[arg-type]
        if found is not None:
            result = result.copy(order="K") if result is hu else result
            values, box = found
            result[box.slices] = np.rint(values) if hu.dtype.kind in "iu" else values
    return result


def _filled(hu: np.ndarray, mask: np.ndarray, plan: Plan, lattice: Lattice, blend: Blend, part: Box) -> np.ndarray:
    """By how much HU change where a lesion takes the place of what was there: to the organ's middle, with noise."""
    assert blend.fill is not None
    share, at = lattice.back(blend.fill[part.slices], part)
    inner = ndimage.binary_erosion(mask[lattice.box.slices])
    values = hu[lattice.box.slices].astype(np.float32)
    inner = inner if inner.any() else mask[lattice.box.slices]
    middle = float(np.median(values[inner]))
    grain = ndimage.gaussian_filter(np.random.default_rng(plan.grain).standard_normal(at.shape), _GRAIN)
    grain *= _roughness(values, inner) / max(_roughness(grain, np.ones(grain.shape, bool)), 1e-6)
    return (share * (middle + grain - hu[at.slices])).astype(np.float32)


def _roughness(values: np.ndarray, where: np.ndarray) -> float:
    """How far a voxel typically is from the middle of its neighbours, in the even part of the region ``where``."""
    if len(values) < 3 or not where[1:-1].any():
        return 0.0
    bends = np.abs(values[1:-1] - (values[:-2] + values[2:]) / 2)
    return float(np.quantile(bends[where[1:-1]], _EVEN))
