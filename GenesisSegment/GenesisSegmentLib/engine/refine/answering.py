"""What the click network makes of the region around a prompt, seen from further away where that is not enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.geometry import Box, Geometry
from ...core.prompts import Prompt, extent, told
from .draft import Clicks, Draft, Found, within
from .regions import Region, region_around
from .upsampling import brought_back

_LOOKS = 3
"""How often the network may be asked: each time twice as far is seen."""
_SURE = 1.5
"""Logit at which the network is believed where it does the opposite of the prompt."""
_EDGE = 8
"""Voxels at the border of a region that are believed to a wider look instead."""


def answered(draft: Draft, prompts: Sequence[Prompt], voxels: np.ndarray, geometry: Geometry, clicks: Clicks) -> Found:
    """What the network finds around the last of ``prompts``.

    Where a prompt adds, the network must be surer to take something away than to add, and the other way round: what a
    person did not point at was right, as far as anybody knows. Where what changes reaches the border of the region,
    the network is asked once more about a wider one, coarser if need be, and the finer answer stays in the middle.

    Args:
        draft: the segment as it is.
        prompts: all so far, one at least. The last meets the CT.
        voxels: of the CT, HU (i, j, k).
        geometry: of the CT.
        clicks: the network.
    """
    reach = extent(prompts[-1], geometry)
    assert reach is not None  # a prompt that misses the CT is refused before
    region: Region | None = region_around(reach, geometry)
    looks: list[_Look] = []
    while region is not None and len(looks) < _LOOKS:
        looks.append(_look(draft, prompts, voxels, region, clicks))
        if not looks[-1].is_cut_off:
            break
        region = region.wider()
    last = looks[-1]
    for finer in reversed(looks[:-1]):
        inner = _inner(finer.box, geometry)
        last.mask[within(inner, last.box).slices] = finer.mask[within(inner, finer.box).slices]
    return Found.where_changed(last.mask, draft.mask_in(last.box), last.box)


@dataclass(frozen=True, eq=False)
class _Look:
    """The mask of a box of the CT; ``is_cut_off``: what changes goes on beyond it."""

    box: Box
    mask: np.ndarray
    is_cut_off: bool


def _look(draft: Draft, prompts: Sequence[Prompt], voxels: np.ndarray, region: Region, clicks: Clicks) -> _Look:
    said = told(prompts, region.geometry, region.box)
    native = draft.mask_in(region.box)
    before, inside = region.sampled(native), region.pooled(said.inside)
    outside = (region.pooled(said.outside) | ~region.pooled(~said.beyond)) & ~inside
    hu = region.filled(region.sampled(voxels[region.box.slices]).astype(np.float32), "edge")
    marks = [np.ascontiguousarray(region.filled(m)) for m in (before, inside, outside)]
    whole = clicks.logits(np.ascontiguousarray(hu), marks[0], marks[1], marks[2], region.spacing)
    doubt = np.where(before, _SURE, 0) if prompts[-1].is_positive else np.where(before, 0, -_SURE)
    logits = whole[tuple(slice(n) for n in region.counts)] + doubt.astype(np.float32)
    mask = logits > 0
    return _Look(region.box, brought_back(mask, logits, before, native, region), _is_cut_off(mask != before, region))


def _is_cut_off(changed: np.ndarray, region: Region) -> bool:
    """Whether a change touches a face of the region beyond which the CT goes on."""
    for axis, (low, high, n) in enumerate(zip(region.box.start, region.box.stop, region.geometry.shape, strict=True)):
        if (low > 0 and changed.take(0, axis).any()) or (high < n and changed.take(-1, axis).any()):
            return True
    return False


def _inner(box: Box, geometry: Geometry) -> Box:
    """The box without a border, except at the faces of the CT."""
    sides = zip(box.start, box.stop, geometry.shape, strict=True)
    edges = [(low + _EDGE * (low > 0), high - _EDGE * (high < n)) for low, high, n in sides]
    start, stop = zip(*edges, strict=True)
    return Box(start, stop)
