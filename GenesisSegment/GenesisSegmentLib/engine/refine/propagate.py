"""Carries corrections over to the whole structure: its head learns from them and draws the structure anew.

The head of the class is refitted on what prompts say, on the segment near them, which was corrected, and on the rest
of it, which nobody touched. Where the head changes its mind, the segment changes; elsewhere it stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage, spatial

from ...core.errors import InputError
from ...core.geometry import Box, Geometry
from ...core.i18n import _
from ...core.jobs import Advance
from ...core.prompts import Prompt, covered, extent
from ...core.volume import Volume
from ..inference.lattice import box_on
from ..inference.resample import places
from ..inference.restore import restore_linear, restore_nearest
from .draft import Change, Draft, Found, meeting, within
from .features import Features, Window
from .fitting import Samples, refitted
from .local import near
from .settle import settled

NEAR_MM = 12.0
"""So near to what was drawn, the segment counts as corrected."""
ALIKE = 0.5
"""Voxels look alike whose features differ by at most so many standard deviations."""
_MOST_SAMPLES = 20_000
_SHARES = (0.1, 0.1, 0.8)
"""What counts how much in all: what prompts say, the segment near them, the rest of the segment."""


def propagated(
    volume: Volume,
    draft: Draft,
    prompts: Sequence[Prompt],
    index: int,
    features: Features,
    advance: Advance = lambda share: None,
) -> Change:
    """What the model makes of a class once its head has learned from the prompts.

    Args:
        volume: the CT.
        draft: the segment as it is, corrections included.
        prompts: all so far, one at least.
        index: the class.
        features: of this CT, by a model that offers the class.
        advance: is told the share of the features that is done, where they are not there yet; may raise to stop.

    Raises:
        InputError: the model does not draw the class, or no prompt says anything about a voxel that it sees.
    """
    if index not in features.spec.offered:
        what = _("The model {id} does not draw this structure, so that it cannot learn from prompts about it.")
        raise InputError(what.format(id=features.spec.id), _("Correct it with prompts alone."))
    native = volume.geometry
    part = box_on(features.grid, native.cropped(draft.box))
    if part is None:
        raise _nothing_said()
    windows = [window.within(part) for window in features.around(native.cropped(draft.box), advance)]
    scene = _Scene.of(draft, prompts, native, features.grid.cropped(part))
    if not scene.told.any():
        raise _nothing_said()
    (channel,) = features.spec.channels((index,))
    change = refitted(_samples(windows, channel, scene))
    before = _logits(windows, channel, np.zeros_like(change), scene.grid)
    after = _logits(windows, channel, change, scene.grid)
    mask = scene.connected(scene.mask & ~((before > 0) & (after <= 0)) | ((before <= 0) & (after > 0)))
    return settled(draft, _brought_back(mask, after, scene, draft, native), prompts, native)


def _nothing_said() -> InputError:
    return InputError(
        _("The prompts say nothing about voxels that the model sees."),
        _("Mark with a point, scribble or lasso what belongs to the structure and what does not."),
    )


@dataclass(frozen=True, eq=False)
class _Scene:
    """On the model's grid: the segment, what prompts say (1 in, -1 not in, 0 nothing), and whether that is near."""

    grid: Geometry
    mask: np.ndarray
    told: np.ndarray
    near: np.ndarray

    @classmethod
    def of(cls, draft: Draft, prompts: Sequence[Prompt], native: Geometry, grid: Geometry) -> _Scene:
        """Takes a draft on the CT's grid to the model's."""
        box = native.cropped(draft.box)
        straight = box.to_ras
        mask = straight.apply(draft.mask)
        at = places(grid, box.reoriented(straight))
        nearest = [np.clip(np.floor(p + 0.5).astype(int), 0, n - 1) for p, n in zip(at, mask.shape, strict=True)]
        told = _told(prompts, native, grid)
        return cls(grid, mask[np.ix_(*nearest)], told, near(told != 0, grid.spacing, NEAR_MM))

    def connected(self, mask: np.ndarray) -> np.ndarray:
        """The mask without what is new and not connected to the segment as it was, or to a prompt."""
        labels, _count = ndimage.label(mask, np.ones((3, 3, 3)))
        kept = np.unique(labels[(self.mask & ~(self.told < 0)) | (self.told > 0)])
        return np.isin(labels, kept[kept > 0])


def _told(prompts: Sequence[Prompt], native: Geometry, grid: Geometry) -> np.ndarray:
    """What prompts say about voxels of the model's grid: 1 in, -1 not in, 0 nothing."""
    told = np.zeros(grid.shape, dtype=np.int8)
    to_grid = np.linalg.solve(grid.ijk_to_ras, native.ijk_to_ras)
    for prompt in prompts:
        box = extent(prompt, native)
        if box is None or (prompt.kind == "box" and prompt.is_positive):
            continue
        voxels = np.argwhere(covered(prompt, native, box)) + box.start
        at = np.floor(voxels @ to_grid[:3, :3].T + to_grid[:3, 3] + 0.5).astype(int)
        at = at[((at >= 0) & (at < grid.shape)).all(axis=1)]
        told[tuple(at.T)] = 1 if prompt.is_positive else -1
    return told


def _samples(windows: Sequence[Window], channel: int, scene: _Scene) -> list[Samples]:
    """The voxels that the head learns from, each from the first window that covers it."""
    rng = np.random.default_rng(0)
    inside = np.where(scene.told == 0, scene.mask, scene.told > 0)
    around = ndimage.binary_dilation(scene.mask | (scene.told != 0), iterations=6)
    kinds = (scene.told != 0, scene.near & (scene.told == 0), ~scene.near)
    weights = np.zeros(scene.grid.shape, dtype=np.float32)
    for kind, share in zip(kinds, _SHARES, strict=True):
        for side in (inside, ~inside):
            flat = np.flatnonzero(kind & side & around)
            if flat.size:
                chosen = rng.choice(flat, min(flat.size, _MOST_SAMPLES // 6), replace=False)
                weights.ravel()[chosen] = share / (2 * len(chosen))
    found = []
    for window in windows:
        part = window.box.slices
        at = weights[part] > 0
        if at.any():
            features = window.features[:, at].astype(np.float32)
            of_class = Samples(features, inside[part][at], weights[part][at], window.numbers[channel])
            found.append((of_class, scene.told[part][at]))
            weights[part] = 0
    return _without_contradiction(found)


def _without_contradiction(found: Sequence[tuple[Samples, np.ndarray]]) -> list[Samples]:
    """The samples without voxels that nobody spoke of and that look like one of which a prompt says the opposite.

    Where the model is wrong in the same way all along a structure, the untouched part of it would outvote the prompts.
    """
    if not found:
        return []
    features = np.concatenate([s.features for s, _told in found], axis=1)
    scaled = (features / np.maximum(features.std(axis=1, keepdims=True), 1e-6)).T
    inside, told = (np.concatenate(parts) for parts in zip(*((s.inside, t) for s, t in found), strict=True))
    distance = {}
    for side in (1, -1):
        known = scaled[told == side]
        far = np.full(len(scaled), np.inf)
        distance[side] = spatial.KDTree(known).query(scaled)[0] if len(known) else far
    own = np.where(inside, distance[1], distance[-1])
    opposite = np.where(inside, distance[-1], distance[1])
    keeps = (told != 0) | (opposite > ALIKE) | (opposite >= own)
    samples, first = [], 0
    for s, of_prompts in found:
        weights = s.weights * keeps[first : first + len(of_prompts)]
        samples.append(replace(s, weights=weights))
        first += len(of_prompts)
    return samples


def _logits(windows: Sequence[Window], channel: int, change: np.ndarray, grid: Geometry) -> np.ndarray:
    """Of the class on the model's grid, with ``change`` added to its numbers; -1 where no window is."""
    total, weight = np.zeros(grid.shape, dtype=np.float32), np.zeros(grid.shape, dtype=np.float32)
    for window in windows:
        part = window.box.slices
        total[part] += window.weights * window.logits(window.numbers[channel] + change)
        weight[part] += window.weights
    return np.where(weight > 0, total / np.maximum(weight, 1e-6), np.float32(-1))


def _brought_back(mask: np.ndarray, logits: np.ndarray, scene: _Scene, draft: Draft, native: Geometry) -> Found | None:
    """The mask on the CT's grid, where it is not as before; elsewhere the segment keeps its detail."""
    changed = Box.around(mask != scene.mask)
    if changed is None:
        return None
    part = changed.grown(2, mask.shape)
    touched = ndimage.maximum_filter(mask[part.slices] != scene.mask[part.slices], 3)
    grid = scene.grid.cropped(part)
    on_native = box_on(native, grid)
    box = meeting(on_native, draft.box) if on_native else None
    if box is None:
        return None
    target = native.cropped(box)
    values = logits[part.slices].astype(np.float16)[None]
    new = restore_linear(mask[part.slices].astype(np.uint32), values, (1,), grid, target)
    is_touched = restore_nearest(touched.astype(np.uint32), grid, target)
    before = draft.mask[within(box, draft.box).slices]
    return Found.where_changed(np.where(is_touched != 0, new != 0, before), before, box)
