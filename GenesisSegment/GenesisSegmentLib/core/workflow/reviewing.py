"""The segments of the result: locks, reviewed ticks, the proposal, the difference, the editor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from functools import partial

from ..i18n import _
from ..pieces import ALONE, Pieces, finished
from .chores import Chores
from .model import CHANGE, COUNT, OVERLAPS, Model
from .ports import ScenePort, SegmentState
from .states import State, Trigger
from .text import FAULTS, sentences, unexpected

_QUIET_S = 1.0
"""Changed voxels are counted this long after the last edit: counting takes too long for every stroke."""
_REFRESH_S = 0.25
_GUARD, _DIFFERENCE, _SURFACES = "guard", "difference", "surfaces"
Change = Callable[[str, SegmentState], Pieces[None]]
"""Done to a segment of a segmentation, in pieces."""
Mark = Callable[[str, str, bool], None]


class Reviewing:
    """Sends what the person does with segments to the scene, and reads back what came of it."""

    def __init__(self, model: Model, scene: ScenePort, clock: Callable[[], float], chores: Chores) -> None:
        self._model, self._scene, self._clock, self._chores = model, scene, clock, chores
        self._refresh_at: float | None = None
        self._count_at: float | None = None
        self._changes: deque[tuple[str, Change]] = deque()
        self._has_used_tool = False
        """Whether our editor (a tool, Undo, Redo) changed voxels since locked and reviewed segments were looked at."""

    def take_up(self, segmentation_id: str | None) -> None:
        """Another segmentation, or the same again, or none."""
        model = self._model
        if segmentation_id != model.segmentation_id:
            model.selected, model.last_files = "", ()
            model.is_proposal_shown = model.is_difference_shown = False
            model.can_undo = model.can_redo = False
            model.overlaps = ()
            for name in (COUNT, _GUARD, CHANGE, _DIFFERENCE, _SURFACES, OVERLAPS):
                self._chores.drop(name)
            self._changes.clear()
        model.segmentation_id = segmentation_id
        self._wait(None)
        self._count_at = None
        if segmentation_id is None:
            self._scene.forget_guarded()
        self.refresh()
        self.find_overlaps()

    def refresh(self) -> None:
        """Reads the segments."""
        model = self._model
        if model.segmentation_id:
            self._chores.begin(_GUARD, self._guard(model.segmentation_id), is_urgent=True)
        self._read_rows()
        model.is_3d_suspended = model.segmentation_id is not None and self._scene.is_3d_suspended(model.segmentation_id)

    def _read_rows(self) -> None:
        model = self._model
        model.rows = self._scene.segments(model.segmentation_id) if model.segmentation_id else ()
        if model.row(model.selected) is None:
            model.selected = model.rows[0].segment_id if model.rows else ""

    def settle(self) -> None:
        """What :meth:`settling` does, at once, after the changes of segments that are under way."""
        self._chores.finish(CHANGE)
        finished(self.settling())

    def settling(self) -> Pieces[None]:
        """Puts locked and reviewed segments right: the editor may just have taken something from them.

        To be done before voxels are used, changed or unlocked. Changes of segments that are under way are done before.
        """
        if self._model.segmentation_id:
            yield from self._guard(self._model.segmentation_id)

    def _guard(self, segmentation_id: str) -> Pieces[None]:
        """Locked and reviewed segments stay as they are, whatever tool or module changed them."""
        model, is_in_editor = self._model, self._model.is_correcting or self._has_used_tool
        found = yield from self._scene.guarding(segmentation_id, is_in_editor)
        self._has_used_tool = False
        if found.can_undo:
            model.can_undo, model.can_redo = True, False
        texts = []
        if found.put_back:
            self._count_at = self._clock() + _QUIET_S  # the segmentation does not tell of what was put back
            text = _("Locked or reviewed structures stay as they are, so this was put back: {names}.")
            texts.append(text.format(names=", ".join(found.put_back)))
        if found.can_undo:
            texts.append(_("Undo brings the change back, and takes the lock or tick away."))
        if found.unmarked:
            text = _("No longer locked or reviewed, because they were changed by Undo or Redo, or removed: {names}.")
            texts.append(text.format(names=", ".join(found.unmarked)))
        if texts:
            model.say(sentences(*texts), "warning")
        self._read_rows()

    def find_overlaps(self) -> None:
        """Asks which classes share voxels, where that is shown: it takes a look at every voxel."""
        model = self._model
        if model.segmentation_id and model.is_export_shown:
            self._chores.begin(OVERLAPS, self._find_overlaps(model.segmentation_id))
        else:
            self._chores.drop(OVERLAPS)
            model.overlaps = ()

    def _find_overlaps(self, segmentation_id: str) -> Pieces[None]:
        self._model.overlaps = yield from self._scene.finding_overlaps(segmentation_id)

    def edited(self, tools: Collection[str] = ()) -> None:
        """The voxels were changed by tools of the editor, or by others, or the segments were."""
        now = self._clock()
        if self._model.segmentation_id is None:
            return
        if self._model.is_correcting or tools:
            self._model.can_undo = True
        self._has_used_tool = self._has_used_tool or bool(tools)
        self._wait(self._refresh_at if self._refresh_at is not None else now + _REFRESH_S)
        self._count_at = now + _QUIET_S

    def tick(self) -> None:
        """Does what was put off; counting waits until nobody paints."""
        now, model = self._clock(), self._model
        if self._refresh_at is not None and now >= self._refresh_at:
            self._wait(None)
            self.refresh()
        if self._count_at is not None and now >= self._count_at and model.state in (State.REVIEWING, State.FAILED):
            self._count()

    def edit(self, is_on: bool) -> None:
        """Begins or ends correcting. The surfaces are taken away: they would make every stroke slow."""
        model = self._model
        if is_on and model.segmentation_id and model.can(Trigger.CORRECT):
            self._scene.suspend_3d(model.segmentation_id)
            self.refresh()
            for name in (COUNT, _SURFACES):  # painting needs the time, and changes what is counted and shown
                self._chores.drop(name)
            model.move(Trigger.CORRECT)
        elif not is_on and model.is_correcting:
            self.stop_correcting()
            self._count()

    def stop_correcting(self) -> None:
        """Leaves the editor, if it is in use. Making the surfaces takes long: that is left to the person."""
        if self._model.is_correcting:
            self._model.move(Trigger.REVIEW)

    def select(self, segment_id: str) -> None:
        """Another segment is looked at; the difference goes with it."""
        model = self._model
        if model.row(segment_id) is None:
            return
        model.selected = segment_id
        if model.is_difference_shown:
            self.show_difference(True)

    def set_locked(self, segment_id: str, is_on: bool) -> None:
        """Locks a segment, or opens it."""
        self.change(segment_id, partial(self._mark, self._scene.set_locked, is_on))

    def set_reviewed(self, segment_id: str, is_on: bool) -> None:
        """Marks a segment as looked at and right, or takes that back."""
        self.change(segment_id, partial(self._mark, self._scene.set_reviewed, is_on))

    def _mark(self, mark: Mark, is_on: bool, segmentation_id: str, row: SegmentState) -> Pieces[None]:
        mark(segmentation_id, row.segment_id, is_on)
        self.refresh()
        yield

    def set_visible(self, segment_id: str, is_on: bool) -> None:
        """Shows or hides a segment."""
        model = self._model
        if model.segmentation_id and model.row(segment_id) is not None:
            self._scene.set_visible(model.segmentation_id, segment_id, is_on)
            self.refresh()

    def reset(self, segment_id: str) -> None:
        """Gives a segment the voxels of the proposal back."""
        self.change(segment_id, self._reset)

    def _reset(self, segmentation_id: str, row: SegmentState) -> Pieces[None]:
        model = self._model
        if not row.class_index or row.is_locked or row.is_reviewed:
            return
        yield from self._scene.resetting(segmentation_id, row.segment_id)
        model.can_undo, model.can_redo = True, False
        self._count(lambda: self._say_reset(row.name, model.row(row.segment_id)))

    def _say_reset(self, name: str, row: SegmentState | None) -> None:
        """The editor's masks, and locked neighbours, may have kept voxels from being written."""
        left = (row.changed_voxels or 0) if row is not None else 0
        if not left:
            self._model.say(_("{name} is as the model proposed it. Undo brings your version back.").format(name=name))
            return
        text = _(
            "{name} still differs from the proposal in {count} voxels: the editor's masks (editable area, intensity "
            "range) or locked and reviewed structures kept them. Undo brings your version back."
        )
        self._model.say(text.format(name=name, count=f"{left:,}"), "warning")

    def drawn(self) -> None:
        """A segment was changed by the answer to a prompt."""
        self._model.can_undo, self._model.can_redo = True, False
        if self._model.is_correcting:
            self.edited()
        else:
            self._count_at = self._clock() + _QUIET_S

    def undone(self, is_done: bool) -> None:
        """A step was taken back in the editor, if there was one."""
        model = self._model
        model.can_undo = is_done
        model.can_redo = model.can_redo or is_done
        self._stepped(is_done, _("The last change of the structures was taken back."), _("There is nothing to undo."))

    def redone(self, is_done: bool) -> None:
        """A step that was taken back was made again, if there was one."""
        model = self._model
        model.can_redo = is_done
        model.can_undo = model.can_undo or is_done
        self._stepped(is_done, _("The change was made again."), _("There is nothing to redo."))

    def _stepped(self, is_done: bool, done: str, none: str) -> None:
        if not is_done:
            self._model.say(none, "idle")
            return
        self._has_used_tool = True
        if self._model.is_correcting:
            self.edited()
            self.refresh()
        else:
            self._count()
        self._model.say(done, "idle")

    def show_proposal(self, is_on: bool) -> None:
        """Shows or hides the outlines of the proposal."""
        model = self._model
        if model.segmentation_id:
            self._scene.show_proposal(model.segmentation_id, is_on)
            model.is_proposal_shown = is_on

    def show_difference(self, is_on: bool) -> None:
        """Shows or hides what was added to and taken from the proposal of the selected segment."""
        model, row = self._model, self._model.row(self._model.selected)
        if not model.segmentation_id:
            return
        model.is_difference_shown = is_on and row is not None and bool(row.class_index)
        if model.is_difference_shown and row is not None:
            work = self._show_difference(model.segmentation_id, row.segment_id)
            self._chores.begin(_DIFFERENCE, work, is_urgent=True)
        else:
            self._chores.drop(_DIFFERENCE)
            self._scene.hide_difference(model.segmentation_id)

    def _show_difference(self, segmentation_id: str, segment_id: str) -> Pieces[None]:
        try:
            yield from self._scene.showing_difference(segmentation_id, segment_id)
        except FAULTS:
            self._model.is_difference_shown = False
            raise

    def update_3d(self) -> None:
        """Makes the surfaces once, after saying so."""
        model = self._model
        if model.segmentation_id:
            model.say(_("Making the 3D surfaces: Slicer does not answer until they are there."), "idle")
            self._chores.begin(_SURFACES, self._update_3d(model.segmentation_id), is_urgent=True)

    def _update_3d(self, segmentation_id: str) -> Pieces[None]:
        yield ALONE
        self._scene.update_3d(segmentation_id)
        self.refresh()
        self._model.say(_("The 3D surfaces show the structures as they are now."))

    def _wait(self, until: float | None) -> None:
        """When to read the segments again; also while another module is in front."""
        self._refresh_at = until
        self._model.is_refresh_due = until is not None

    def change(self, segment_id: str, change: Change) -> None:
        """Changes a segment after those that were asked for before it, but not during a run."""
        model = self._model
        if model.segmentation_id and model.run is None:
            self._changes.append((segment_id, change))
            if CHANGE not in self._chores.names:
                self._chores.begin(CHANGE, self._changing(model.segmentation_id), is_urgent=True)

    def _changing(self, segmentation_id: str) -> Pieces[None]:
        while self._changes:
            segment_id, change = self._changes.popleft()
            try:
                yield from self.settling()
                if row := self._model.row(segment_id):
                    yield from change(segmentation_id, row)
            except FAULTS as error:  # whatever it is, those that were asked for after it are changed
                self._model.say(unexpected(_("What was begun could not be finished."), error), "error")

    def _count(self, then: Callable[[], None] = lambda: None) -> None:
        self._wait(None)
        self._count_at = None
        model = self._model
        if model.segmentation_id:
            self.refresh()
            self._chores.begin(COUNT, self._counting(model.segmentation_id, then))

    def _counting(self, segmentation_id: str, then: Callable[[], None]) -> Pieces[None]:
        """Counts, and brings what is shown of the proposal up to date: after Undo it may be that of another run."""
        model = self._model
        yield from self._scene.counting(segmentation_id)
        self.refresh()
        self.find_overlaps()
        if model.is_proposal_shown:
            self.show_proposal(True)
        if model.is_difference_shown:
            self.show_difference(True)
        then()
