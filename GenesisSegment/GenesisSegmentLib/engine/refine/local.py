"""What a prompt changes at once, without a network: what is drawn spreads over tissue that looks like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ...core.geometry import Box, Geometry
from ...core.i18n import _
from ...core.prompts import Prompt, Told, covered, extent, told
from .draft import Draft, Found
from .geodesic import is_compiled, nearer
from .regions import Region, region_around
from .upsampling import brought_back

REACH_MM = 25.0
"""How far from what is drawn a preview may change anything; where there is no edge it reaches half of it."""
_CORE = 0.4
"""Of the sides of a box: the part in its middle that is taken for what the box is drawn around."""
_THIN = 4.0
"""Voxels: along a shorter edge, what a box is drawn around is cut by both ends."""


def local(draft: Draft, prompts: Sequence[Prompt], voxels: np.ndarray, geometry: Geometry) -> Found:
    """What the last of ``prompts`` changes, as it seems from the image around it.

    A positive prompt adds what is nearer to it than to all that is further away than its reach; a negative one takes
    away in the same manner. Distances are geodesic: an edge of the image is as long as a detour.

    Args:
        draft: the segment as it is.
        prompts: all so far, one at least. The last meets the CT.
        voxels: of the CT, HU (i, j, k).
        geometry: of the CT.
    """
    prompt = prompts[-1]
    reach = extent(prompt, geometry)
    assert reach is not None  # a prompt that misses the CT is refused before
    scene = _Scene.of(draft, prompts, voxels, region_around(reach, geometry))
    said = scene.said
    if prompt.kind == "box":
        middle, inner = (
            scene.region.pooled(covered(p, geometry, scene.region.box)) for p in (_shrunk(prompt), _without_rim(prompt))
        )
        zone = ~said.beyond
        seeds = middle & zone if (middle & zone).any() else zone  # the middle may lie outside of the CT
        grown = scene.grown(scene.mask, seeds, zone, (zone & ~inner) | said.outside)
    else:
        zone = scene.zone()
        if prompt.is_positive:
            grown = scene.grown(scene.mask, scene.drawn, zone, (~zone & ~scene.mask) | said.outside | said.beyond)
        else:
            grown = ~scene.grown(~scene.mask, scene.drawn, zone, (~zone & scene.mask) | said.inside)
    notes = () if is_compiled() else (_("Previews are slow, because the package numba is missing."),)
    back = brought_back(grown, None, scene.mask, scene.native, scene.region)
    return Found.where_changed(back, scene.native, scene.region.box, notes)


@dataclass(frozen=True, eq=False)
class _Scene:
    """A region, and in it, on its own grid inside the CT: bool (i, j, k) and HU. ``native`` is the mask of the CT."""

    region: Region
    hu: np.ndarray
    mask: np.ndarray
    drawn: np.ndarray
    said: Told
    native: np.ndarray

    @classmethod
    def of(cls, draft: Draft, prompts: Sequence[Prompt], voxels: np.ndarray, region: Region) -> _Scene:
        said = told(prompts, region.geometry, region.box)
        native = draft.mask_in(region.box)
        return cls(
            region,
            region.sampled(voxels[region.box.slices]).astype(np.float32),
            region.sampled(native),
            region.pooled(covered(prompts[-1], region.geometry, region.box)),
            Told(region.pooled(said.inside), region.pooled(said.outside), ~region.pooled(~said.beyond)),
            native,
        )

    def zone(self) -> np.ndarray:
        """The voxels near what is drawn."""
        box = Box.around(self.drawn)
        zone = np.zeros_like(self.drawn)
        if box is None:
            return zone
        reach = min(REACH_MM, self._room(box))
        steps = np.maximum(1, np.ceil(reach / np.array(self.region.spacing))).astype(int)
        start = np.maximum(np.array(box.start) - steps, 0)
        stop = np.minimum(np.array(box.stop) + steps, zone.shape)
        part = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        zone[part] = near(self.drawn[part], self.region.spacing, reach)
        return zone

    def _room(self, box: Box) -> float:
        """How far a zone around a box may reach in mm, so that something of the region is left around it."""
        whole, grid = self.region.box, self.region.geometry.shape
        room = []
        for axis, spacing in enumerate(self.region.spacing):
            if whole.start[axis] > 0:
                room.append((box.start[axis] - 2) * spacing)
            if whole.stop[axis] < grid[axis]:
                room.append((self.drawn.shape[axis] - box.stop[axis] - 2) * spacing)
        return max(min(room, default=REACH_MM), min(self.region.spacing))

    def grown(self, mask: np.ndarray, seeds: np.ndarray, zone: np.ndarray, rivals: np.ndarray) -> np.ndarray:
        """The mask and what of the zone is nearer to the seeds than to the rivals."""
        box = Box.around(zone | seeds)
        if box is None:
            return mask
        part = box.grown(1, mask.shape).slices
        others = rivals[part] & ~seeds[part]
        near = nearer(self.hu[part], seeds[part], others, (zone[part] & ~others) | seeds[part], self.region.spacing)
        out = mask.copy()
        out[part] |= near
        return out


def near(marks: np.ndarray, spacing: tuple[float, float, float], reach_mm: float) -> np.ndarray:
    """Which voxels are about ``reach_mm`` or less from a mark: measured on every other voxel, which is much faster."""
    a, b, c = (-(-n // 2) for n in marks.shape)
    halved = np.pad(marks, [(0, n % 2) for n in marks.shape]).reshape(a, 2, b, 2, c, 2).any(axis=(1, 3, 5))
    distance = ndimage.distance_transform_edt(~halved, sampling=[2 * s for s in spacing])
    near = distance <= reach_mm
    return near.repeat(2, 0).repeat(2, 1).repeat(2, 2)[: marks.shape[0], : marks.shape[1], : marks.shape[2]]


def _shrunk(box: Prompt) -> Prompt:
    """The middle of a box."""
    return _resized(box, np.full(3, 1 - _CORE))


def _without_rim(box: Prompt) -> Prompt:
    """A box without its outermost voxels, but as thin as it is where it is thin."""
    lengths = np.linalg.norm(np.array(box.points[1:]) - box.points[0], axis=1)
    return _resized(box, np.where(lengths >= _THIN, 2 / np.maximum(lengths, 1), 0.0))


def _resized(box: Prompt, by: np.ndarray) -> Prompt:
    """A box whose edges are shorter by these shares of their length, half of it at each end."""
    points = np.array(box.points)
    edges = points[1:] - points[0]
    corner = points[0] + by @ edges / 2
    return Prompt("box", tuple(map(tuple, np.vstack([corner, corner + (1 - by)[:, None] * edges]).tolist())))
