"""The segments of the result: locks, reviewed ticks, the proposal, the difference, the editor."""

from __future__ import annotations

from collections.abc import Callable

from ..i18n import _
from ..pieces import Pieces
from .chores import Chores
from .model import COUNT, OVERLAPS, Model
from .ports import ScenePort, SegmentState
from .states import State, Trigger

_QUIET_S = 1.0
"""Changed voxels are counted this long after the last edit: counting takes too long for every stroke."""
_REFRESH_S = 0.25
_GUARD, _RESET = "guard", "reset"


class Reviewing:
    """Sends what the person does with segments to the scene, and reads back what came of it."""

    def __init__(self, model: Model, scene: ScenePort, clock: Callable[[], float], chores: Chores) -> None:
        self._model, self._scene, self._clock, self._chores = model, scene, clock, chores
        self._refresh_at: float | None = None
        self._count_at: float | None = None

    def take_up(self, segmentation_id: str | None) -> None:
        """Another segmentation, or the same again, or none."""
        model = self._model
        if segmentation_id != model.segmentation_id:
            model.selected, model.last_files = "", ()
            model.is_proposal_shown = model.is_difference_shown = False
            model.can_undo = model.can_redo = False
            model.overlaps = ()
            for name in (COUNT, _GUARD, _RESET, OVERLAPS):
                self._chores.drop(name)
        model.segmentation_id = segmentation_id
        self._refresh_at = self._count_at = None
        if segmentation_id is None:
            self._scene.forget_guarded()
        self.refresh()
        self.find_overlaps()

    def refresh(self) -> None:
        """Reads the segments."""
        model = self._model
        if model.segmentation_id:
            self._chores.begin(_GUARD, self._guard(model.segmentation_id), is_urgent=True)
        model.rows = self._scene.segments(model.segmentation_id) if model.segmentation_id else ()
        if model.row(model.selected) is None:
            model.selected = model.rows[0].segment_id if model.rows else ""

    def settle(self) -> None:
        """Finishes at once what is under way: the reset of a segment, and putting locked and reviewed segments right.

        The editor may just have taken something from these. To be called before voxels are used, changed or unlocked.
        """
        self._chores.finish(_RESET)
        if self._model.segmentation_id:
            self._chores.begin(_GUARD, self._guard(self._model.segmentation_id))
            self._chores.finish(_GUARD)

    def _guard(self, segmentation_id: str) -> Pieces[None]:
        """Locked and reviewed segments stay as they are, whatever the editor was told to overwrite."""
        names = yield from self._scene.guarding(segmentation_id)
        if names:
            text = _("Locked or reviewed structures stay as they are, so this was put back: {names}.")
            self._model.say(text.format(names=", ".join(names)), "warning")

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

    def edited(self) -> None:
        """The voxels were changed by the editor, or the segments from outside."""
        now = self._clock()
        if self._model.segmentation_id is None:
            return
        if self._model.is_correcting:
            self._model.can_undo = True
        self._refresh_at = self._refresh_at if self._refresh_at is not None else now + _REFRESH_S
        self._count_at = now + _QUIET_S

    def tick(self) -> None:
        """Does what was put off; counting waits until nobody paints."""
        now, model = self._clock(), self._model
        if self._refresh_at is not None and now >= self._refresh_at:
            self._refresh_at = None
            self.refresh()
        if self._count_at is not None and now >= self._count_at and model.state in (State.REVIEWING, State.FAILED):
            self._count()

    def edit(self, is_on: bool) -> None:
        """Begins or ends correcting. The surfaces stand still meanwhile: they would make every stroke slow."""
        model = self._model
        if is_on and model.segmentation_id and model.can(Trigger.CORRECT):
            self._scene.suspend_3d(model.segmentation_id, True)
            self._chores.drop(COUNT)  # painting needs the time, and changes what is counted
            model.move(Trigger.CORRECT)
        elif not is_on and model.is_correcting:
            self.stop_correcting()
            self._count()

    def stop_correcting(self, is_quiet: bool = False) -> None:
        """Leaves the editor, if it is in use; ``is_quiet``: the segmentation is gone, nothing is told to the scene."""
        model = self._model
        if not model.is_correcting:
            return
        model.move(Trigger.REVIEW)
        if model.segmentation_id and not is_quiet:
            self._scene.suspend_3d(model.segmentation_id, False)

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
        if segmentation := self._changeable(segment_id):
            self.settle()
            self._scene.set_locked(segmentation, segment_id, is_on)
            self.refresh()

    def set_reviewed(self, segment_id: str, is_on: bool) -> None:
        """Marks a segment as looked at and right, or takes that back."""
        if segmentation := self._changeable(segment_id):
            self.settle()
            self._scene.set_reviewed(segmentation, segment_id, is_on)
            self.refresh()

    def set_visible(self, segment_id: str, is_on: bool) -> None:
        """Shows or hides a segment."""
        model = self._model
        if model.segmentation_id and model.row(segment_id) is not None:
            self._scene.set_visible(model.segmentation_id, segment_id, is_on)
            self.refresh()

    def reset(self, segment_id: str) -> None:
        """Gives a segment the voxels of the proposal back."""
        model = self._model
        segmentation, row = self._changeable(segment_id), model.row(segment_id)
        if not segmentation or row is None or not row.class_index or row.is_locked or row.is_reviewed:
            return
        self.settle()
        self._chores.begin(_RESET, self._reset(segmentation, row), is_urgent=True)

    def _reset(self, segmentation_id: str, row: SegmentState) -> Pieces[None]:
        model = self._model
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
        shown = row.segment_id if is_on and row is not None and row.class_index else None
        self._scene.show_difference(model.segmentation_id, shown)
        model.is_difference_shown = is_on and shown is not None

    def update_3d(self) -> None:
        """Makes the surfaces once."""
        if self._model.segmentation_id:
            self._scene.update_3d(self._model.segmentation_id)

    def _changeable(self, segment_id: str) -> str | None:
        """The segmentation, where this segment can be changed now."""
        model = self._model
        is_free = model.run is None and model.row(segment_id) is not None
        return model.segmentation_id if is_free else None

    def _count(self, then: Callable[[], None] = lambda: None) -> None:
        self._count_at = self._refresh_at = None
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
