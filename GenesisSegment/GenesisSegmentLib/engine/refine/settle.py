"""The last word: whatever a method found, the result agrees with every prompt and changes nothing that is protected."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.geometry import Box, Geometry
from ...core.prompts import Prompt, bounding_box, covered, drawn, extent
from .draft import Change, Draft, Found, meeting, shifted, within


def settled(draft: Draft, found: Found | None, prompts: Sequence[Prompt], geometry: Geometry) -> Change:
    """The change that ``found`` and the prompts, in their order, make to a draft.

    Nothing is added outside of a positive box that bounds; each voxel that a prompt covers is what the last prompt
    about it says; protected voxels, and those outside of the draft, stay.
    """
    said = [(p, box) for p in prompts if _speaks(p) for box in [_part(extent(p, geometry), draft.box)] if box]
    place = None if found is None else meeting(found.box, draft.box)
    # Most prompts before the last one agree already; they may be far from it, so that only others widen the work.
    boxes = [box for p, box in said if _disagrees(p, box, draft, geometry)] + ([place] if place else [])
    if not boxes:
        return Change.nothing(found.notes if found else ())
    joint = Box.joined(boxes)
    inner = within(joint, draft.box).slices
    before, free = draft.mask[inner], ~draft.protected[inner]
    after = before.copy()
    if found is not None and place is not None:
        at = within(place, joint).slices
        proposed = found.mask[within(place, found.box).slices]
        bound = bounding_box(prompts, geometry)
        if bound is not None:
            proposed = proposed & (before[at] | drawn(bound, geometry, place))
        np.copyto(after[at], proposed, where=free[at])
    for prompt, box in said:
        part = meeting(box, joint)
        if part is not None:
            at = within(part, joint).slices
            np.copyto(after[at], prompt.is_positive, where=covered(prompt, geometry, part) & free[at])
    return _smallest(before, after, joint, found.notes if found else ())


def _speaks(prompt: Prompt) -> bool:
    """Whether a prompt says something about the voxels that it covers."""
    return prompt.kind != "box" or not prompt.is_positive


def _disagrees(prompt: Prompt, box: Box, draft: Draft, geometry: Geometry) -> bool:
    """Whether the draft is not as a prompt says, in a box of both."""
    at = within(box, draft.box).slices
    differs = draft.mask[at] != prompt.is_positive
    return bool((differs & ~draft.protected[at] & covered(prompt, geometry, box)).any())


def _part(box: Box | None, of: Box) -> Box | None:
    return None if box is None else meeting(box, of)


def _smallest(before: np.ndarray, after: np.ndarray, joint: Box, notes: tuple[str, ...]) -> Change:
    changed = Box.around(before ^ after)
    if changed is None:
        return Change.nothing(notes)
    return Change(shifted(changed, joint), after[changed.slices].copy(), notes)
