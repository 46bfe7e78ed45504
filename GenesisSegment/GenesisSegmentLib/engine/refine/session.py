"""One segment, corrected prompt after prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...core.jobs import Advance
from ...core.prompts import Prompt
from ...core.volume import Volume
from .draft import Change, Clicks, Draft
from .refiner import Refiner

if TYPE_CHECKING:
    from .features import Features


class Session:
    """Keeps the segment and its prompts; each answer is one step that can be undone."""

    def __init__(
        self,
        volume: Volume,
        proposal: np.ndarray | None = None,
        protected: np.ndarray | None = None,
        clicks: Clicks | None = None,
    ) -> None:
        """Args:
        volume: the CT.
        proposal: the segment to correct, bool (i, j, k); none begins with an empty one.
        protected: voxels that never change, bool (i, j, k), such as those of other segments.
        clicks: the click network; without it, answers are made like previews.

        Raises:
            GeometryError: a mask does not have the shape of the CT.
        """
        shape = volume.geometry.shape
        mask = np.zeros(shape, dtype=bool) if proposal is None else np.array(proposal, dtype=bool)
        self._draft = Draft.whole(mask, protected)
        self._volume, self._refiner = volume, Refiner(volume, clicks)
        self._prompts: list[Prompt] = []
        self._steps: list[tuple[Change, int]] = []
        """What each step replaced, and how many prompts there were before it."""

    @property
    def mask(self) -> np.ndarray:
        """The segment as it is, bool (i, j, k)."""
        return self._draft.mask

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All that were answered, in their order."""
        return tuple(self._prompts)

    def preview(self, prompt: Prompt) -> Change:
        """See :meth:`.Refiner.preview`; nothing is kept."""
        return self._refiner.preview(self._draft, (*self._prompts, prompt))

    def answer(self, prompt: Prompt) -> Change:
        """See :meth:`.Refiner.answer`; the segment is changed."""
        change = self._refiner.answer(self._draft, (*self._prompts, prompt))
        self._keep(change)
        self._prompts.append(prompt)
        return change

    def propagate(self, index: int, features: Features, advance: Advance = lambda share: None) -> Change:
        """See :func:`.propagate.propagated`; the segment, which is of class ``index``, is changed."""
        from .propagate import propagated

        change = propagated(self._volume, self._draft, self._prompts, index, features, advance)
        self._keep(change)
        return change

    def undo(self) -> bool:
        """Takes back the last step, an answer with its prompt; whether there was one."""
        if not self._steps:
            return False
        before, count = self._steps.pop()
        del self._prompts[count:]
        self.mask[before.box.slices] = before.mask
        return True

    def _keep(self, change: Change) -> None:
        before = Change(change.box, self.mask[change.box.slices].copy())
        self._steps.append((before, len(self._prompts)))
        self.mask[change.box.slices] = change.mask
