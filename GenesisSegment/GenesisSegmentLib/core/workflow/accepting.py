"""Accept: what was reviewed becomes a file in the outbox, on disk before the button comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ... import __version__
from ..corrections import Acceptance, new_acceptance_id, now
from ..errors import GenesisError, InputError
from ..i18n import _
from ..pieces import Pieces
from .chores import Chores
from .model import Model, Step
from .obstacles import busy_obstacle, result_obstacle
from .ports import CorrectionsPort, Reviewed, ScenePort, Snapshot
from .reviewing import Reviewing
from .text import FAULTS, names_text, sentences, unexpected

_ACCEPT = "accept"
_LONGEST_TICK_S = 1.0
"""Time between two ticks that still counts as work: a computer that slept corrected nothing."""
_MANY = 8


@dataclass
class _Effort:
    """What correcting took since the last time it was accepted."""

    seconds: float = 0.0
    tools: frozenset[str] = frozenset()

    def __add__(self, other: _Effort) -> _Effort:
        return _Effort(self.seconds + other.seconds, self.tools | other.tools)


@dataclass(frozen=True)
class _Written:
    """What came of writing: ``error``, or the state that was kept; ``is_new``: it was not the one before."""

    state: str = ""
    is_new: bool = False
    error: Exception | None = None


@dataclass(frozen=True)
class _Pending:
    segmentation_id: str
    names: tuple[str, ...]
    effort: _Effort


class Accepting:
    """Copies in pieces, then writes in a thread. Whatever goes wrong, the reviewed ticks stay as they are."""

    def __init__(
        self,
        model: Model,
        scene: ScenePort,
        corrections: CorrectionsPort | None,
        reviewing: Reviewing,
        clock: Callable[[], float],
        chores: Chores,
        on_accepted: Callable[[], None],
    ) -> None:
        """``on_accepted`` is called when something new is on disk. Without ``corrections`` nothing can be accepted."""
        self._model, self._scene, self._corrections = model, scene, corrections
        self._reviewing, self._clock, self._chores = reviewing, clock, chores
        self._on_accepted = on_accepted
        self._effort, self._effort_of = _Effort(), ""
        self._told = ""
        """The state of which the last word was that it had been accepted before: asked again, it is kept again."""
        self._ticked = clock()
        self._pending: _Pending | None = None
        self._written: SimpleQueue[_Written] = SimpleQueue()
        model.can_accept = corrections is not None

    def accept(self) -> None:
        """Begins to accept the reviewed structures."""
        model = self._model
        if accept_obstacle(model) or not (model.segmentation_id and model.volume_id):
            return
        model.message = None
        model.accepting = Step(_("Accepting: reading the reviewed structures"))
        self._chores.begin(_ACCEPT, self._read(model.volume_id, model.segmentation_id))

    def used(self, tools: Collection[str]) -> None:
        """Effects of the Segment Editor changed voxels."""
        if self._model.is_correcting:
            self._effort += _Effort(tools=frozenset(tools))

    def drew(self, tool: str) -> None:
        """The answer to a prompt changed voxels."""
        self._effort += _Effort(tools=frozenset({tool} - {""}))

    def abandon(self) -> None:
        """The CT or its segmentation goes away. What is being written already is not stopped by that."""
        if self._model.accepting is not None and self._pending is None:
            self._chores.drop(_ACCEPT)
            self._model.accepting = None
            self._model.say(_("Nothing was accepted: the CT or its segmentation was removed meanwhile."), "warning")

    def tick(self) -> None:
        """Counts the time that is spent on correcting, and hears of what was written."""
        model, now = self._model, self._clock()
        if (model.segmentation_id or "") != self._effort_of:
            self._effort, self._effort_of = _Effort(), model.segmentation_id or ""
        if model.is_correcting:
            self._effort += _Effort(min(now - self._ticked, _LONGEST_TICK_S))
        self._ticked = now
        with suppress(Empty):
            self._finish(self._written.get_nowait())

    def _read(self, volume_id: str, segmentation_id: str) -> Pieces[None]:
        """Copies what is to be kept: from then on, nobody can change it."""
        try:
            yield from self._reviewing.settling()
            snapshot = yield from self._scene.copying(volume_id)
            reviewed = yield from self._scene.reading_reviewed(segmentation_id)
            if self._scene.fingerprint(volume_id) != snapshot.fingerprint:
                raise InputError(_("The CT was changed meanwhile."), _("Accept again."))
            acceptance = self._acceptance(snapshot, reviewed)
        except FAULTS as error:  # whatever it is, the person must hear that nothing was accepted
            self._refuse(error)
            return
        self._pending = _Pending(segmentation_id, reviewed.names, self._effort)
        self._effort = _Effort()
        self._model.accepting = Step(_("Accepting: writing {count} structures").format(count=len(reviewed.names)))
        before = reviewed.accepted if reviewed.accepted != self._told else ""
        threading.Thread(target=self._write, args=(acceptance, before), name="accept").start()

    def _acceptance(self, snapshot: Snapshot, reviewed: Reviewed) -> Acceptance:
        return Acceptance(
            id=new_acceptance_id(),
            volume=snapshot.volume,
            classes=reviewed.classes,
            patient=reviewed.patient,
            model=reviewed.model,
            model_sha256=reviewed.model_sha256,
            seconds=round(self._effort.seconds, 1),
            tools=tuple(sorted(self._effort.tools)),
            accepted=now(),
            version=__version__,
        )

    def _write(self, acceptance: Acceptance, before: str) -> None:
        """In a thread of its own."""
        corrections = self._corrections
        assert corrections is not None
        try:
            state = corrections.state_of(acceptance)
            if state != before:
                corrections.put(acceptance)
            self._written.put(_Written(state, state != before))
        except FAULTS as error:
            self._written.put(_Written(error=error))

    def _finish(self, written: _Written) -> None:
        pending, self._pending = self._pending, None
        assert pending is not None
        if not written.is_new:
            self._effort = pending.effort + self._effort
        if written.error is not None:
            self._refuse(written.error)
            return
        model, names = self._model, names_text(pending.names, _MANY)
        model.accepting = None
        self._told = "" if written.is_new else written.state
        if not written.is_new:
            text = _(
                "Nothing has changed since this was accepted, so nothing was added: {names}. "
                "Accept again to keep it once more, for example because its case was deleted."
            )
            model.say(text.format(names=names), "idle")
            return
        with suppress(GenesisError):  # the scene may be another by now; what was accepted is safe
            self._scene.remember_accepted(pending.segmentation_id, written.state)
        folder = self._corrections.folder if self._corrections else ""
        text = _("Accepted and safe on disk: {names}. Kept in {folder}, without name or ID of the patient.")
        model.say(text.format(names=names, folder=folder))
        self._on_accepted()

    def _refuse(self, error: Exception) -> None:
        self._model.accepting = None
        what = _("Nothing was accepted; the reviewed ticks stay.")
        text = sentences(what, str(error)) if isinstance(error, GenesisError) else unexpected(what, error)
        self._model.say(text, "error")


def accept_obstacle(model: Model) -> str:
    """Why nothing can be accepted now, or ""."""
    if not model.can_accept:
        return _("Accepted corrections have no place here.")
    if model.accepting is not None:
        return _("It is being written to disk.")
    if reason := busy_obstacle(model) or result_obstacle(model):
        return reason
    if not any(row.is_reviewed for row in model.rows):
        return _("Tick what you looked at and found right first: only reviewed structures are accepted.")
    return ""
