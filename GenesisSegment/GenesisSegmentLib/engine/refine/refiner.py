"""Corrects one segment of a CT with prompts: at once and locally, or by the click network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...core.errors import InputError
from ...core.i18n import _
from ...core.prompts import Prompt, covered, extent
from ...core.volume import Volume
from .answering import answered
from .draft import Change, Clicks, Draft, Found, meeting, within
from .local import local
from .seeded import SeededClicks
from .settle import settled


class Refiner:
    """Keeps nothing but the CT and the network: what the segment is and which prompts there are comes with each call.

    The last prompt is the new one, those before it were answered already. Every result agrees with all of them; where
    two speak about a voxel, the later one holds. Protected voxels never change.
    """

    def __init__(self, volume: Volume, clicks: Clicks | None = None) -> None:
        """Args:
        volume: the CT.
        clicks: the click network; without it, answers are made from the image alone, and a note says so.
        """
        self._volume, self._clicks = volume, clicks

    def preview(self, draft: Draft, prompts: Sequence[Prompt]) -> Change:
        """What the newest prompt does, as far as the image around it says: quick enough to be made while one draws.

        Raises:
            InputError: the newest prompt covers no voxel of the CT that may change.
        """
        return self._changed(draft, prompts, None)

    def answer(self, draft: Draft, prompts: Sequence[Prompt]) -> Change:
        """What the click network makes of the prompts.

        Raises:
            InputError: the newest prompt covers no voxel of the CT that may change.
            ModelError: the network cannot be run.
        """
        clicks = self._clicks
        if clicks is None and prompts and prompts[-1].kind != "box" and not draft.mask.any():
            clicks = SeededClicks()
        change = self._changed(draft, prompts, clicks)
        if self._clicks is not None or not prompts or _only_takes(prompts[-1]):
            return change
        note = _("There is no click network: the answer is made from the image alone.")
        return replace(change, notes=(*change.notes, note))

    def _changed(self, draft: Draft, prompts: Sequence[Prompt], clicks: Clicks | None) -> Change:
        if not prompts:
            return Change.nothing()
        self._check(draft, prompts[-1])
        return settled(draft, self._found(draft, prompts, clicks), prompts, self._volume.geometry)

    def _found(self, draft: Draft, prompts: Sequence[Prompt], clicks: Clicks | None) -> Found | None:
        if _only_takes(prompts[-1]):
            return None
        if clicks is None:
            return local(draft, prompts, self._volume.voxels, self._volume.geometry)
        return answered(draft, prompts, self._volume.voxels, self._volume.geometry, clicks)

    def _check(self, draft: Draft, prompt: Prompt) -> None:
        geometry = self._volume.geometry
        box = extent(prompt, geometry)
        if box is None or not covered(prompt, geometry, box).any():
            what = _("The prompt covers no voxel of the CT.")
            raise InputError(what, _("Draw inside of the CT."))
        box = meeting(box, draft.box)
        if box is None or draft.protected[within(box, draft.box).slices][covered(prompt, geometry, box)].all():
            what = _("The prompt covers only voxels that are protected: of other segments, locked or masked.")
            raise InputError(what, _("Draw elsewhere, or allow these voxels to be changed."))


def _only_takes(prompt: Prompt) -> bool:
    """Whether what a prompt covers, and takes away, is all that it says."""
    return prompt.kind == "box" and not prompt.is_positive
