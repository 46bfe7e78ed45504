"""Points, scribbles, boxes and lassos: from the mouse to the worker, and the answer into the segment.

While the button is down, the worker is asked for previews, one at a time and always for the newest stroke. When it is
let go, the prompt is kept and the answer drawn, as one step of undo. Prompts add up until another segment is chosen, or
something else changes the segments: what was corrected by hand is what the next prompt begins with.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from ..geometry import Box, Geometry
from ..i18n import _
from ..pieces import Pieces
from ..prompts import Prompt, extent
from ..protocol import Failure, Refine, Refined, new_id
from ..refining_messages import Step
from ..strokes import TOOLS, Stroke, prompt_of
from .chores import Chores
from .model import CHANGE, PROMPT, Model
from .obstacles import new_obstacle, prompt_obstacle, propagate_obstacle
from .ports import ScenePort, SegmentState, WorkerPort
from .reviewing import Reviewing
from .text import FAULTS, sentences, unexpected

_SHOW = "preview"
_REACH_MM, _SPARE_MM = 60.0, 20.0
"""How far around the prompts an answer may reach, and how much more is handed over, for the strokes that follow."""
_BRUSH_MM = 1.5
"""Radius of a scribble."""


@dataclass(frozen=True)
class _Held:
    """What the worker was given of a segment: a box of the CT, in a file."""

    version: Hashable
    box: Box
    file: str


@dataclass(frozen=True)
class _Asked:
    """A command that the worker has not answered."""

    id: str
    segment_id: str
    step: Step


class Prompting:
    """Asks the worker what prompts mean."""

    def __init__(
        self,
        model: Model,
        scene: ScenePort,
        worker: WorkerPort,
        reviewing: Reviewing,
        chores: Chores,
        on_drawn: Callable[[str], None],
    ) -> None:
        """``on_drawn`` is told the tool whenever its answer was drawn."""
        self._model, self._scene, self._worker = model, scene, worker
        self._reviewing, self._chores, self._on_drawn = reviewing, chores, on_drawn
        self._held: _Held | None = None
        self._asked: _Asked | None = None
        self._loading = ""
        """The command that hands the CT over."""
        self._next: tuple[Prompt, ...] | None = None
        """Those of a newer stroke, to be previewed when the answer to the one before is there."""
        self._shown_on = ""
        """The segmentation over which a preview is shown."""
        self._begun: Hashable = None
        """The version of the segments that the prompts belong to."""

    # --- What the person does

    def choose(self, tool: str) -> None:
        """Takes a tool, or puts it down: the same again, or "". Surfaces would make every answer slow."""
        model = self._model
        self.give_up()
        is_taken = tool in TOOLS and tool != model.tool and not prompt_obstacle(model)
        model.tool = tool if is_taken else ""
        if is_taken and model.segmentation_id:
            self._scene.suspend_3d(model.segmentation_id)
            self._reviewing.refresh()

    def set_adding(self, is_adding: bool) -> None:
        """Whether the tools add to the segment, or take away."""
        self._model.is_adding = is_adding

    def add_structure(self, class_index: int) -> None:
        """Begins a new structure: of a class that is not there yet, or for 0 one of the person's own."""
        model = self._model
        if new_obstacle(model) or not model.segmentation_id or class_index in model.present:
            return
        self.give_up()
        segment_id = self._scene.add_segment(model.segmentation_id, class_index)
        model.can_undo, model.can_redo = True, False
        self._reviewing.refresh()
        self._reviewing.select(segment_id)
        row = model.row(segment_id)
        if row is not None:
            text = _("{name} is empty: draw a box around it, or a point or scribble in it.")
            model.say(text.format(name=row.name), "idle")

    def draw(self, stroke: Stroke, is_done: bool) -> None:
        """The mouse moved with its button down, or the button was let go."""
        model = self._model
        if model.tool not in TOOLS or prompt_obstacle(model) or not model.volume_id:
            return
        self._begin()
        self._drop_offer()
        grid = self._scene.geometry(model.volume_id)
        prompts = (*model.prompts, prompt_of(model.tool, stroke, grid, model.is_adding, _BRUSH_MM))
        if is_done:
            model.prompts = prompts
            self._ask(prompts, "answer")
        elif self._asked is None and PROMPT not in self._chores.names:
            self._ask(prompts, "preview")
        elif not model.is_answering:
            self._next = prompts

    def propagate(self) -> None:
        """Has the model learn from the prompts, and draw the whole structure anew: shown first, then taken or not."""
        self._begin()
        if not propagate_obstacle(self._model):
            self._ask(self._model.prompts, "propagate")

    def take(self) -> None:
        """Draws what is offered."""
        offer, self._model.offer = self._model.offer, None
        if offer is not None:
            self._draw(offer, self._model.selected)

    def give_up(self) -> None:
        """Does not draw what is offered, and forgets what was not answered yet."""
        self._chores.drop(PROMPT)
        if self._asked is not None:
            self._worker.cancel(self._asked.id)
            self._forget(self._asked)
        self._drop_offer()
        self._hide()

    def abandon(self) -> None:
        """The CT or its segmentation goes away, and the preview with it."""
        self._shown_on, self._held = "", None
        self.give_up()
        self._model.tool, self._model.prompts = "", ()

    def undone(self, is_done: bool) -> None:
        """A step was taken back: the last prompt with it, if there is one."""
        self.give_up()
        if is_done:
            self._model.prompts = self._model.prompts[:-1]
            self._begun = self._version()

    # --- What happens

    def tick(self) -> None:
        """Puts the tool down where it cannot be used any more."""
        if self._model.tool and prompt_obstacle(self._model):
            self.choose("")

    def on_event(self, event: object) -> bool:
        """Takes an event, if it is an answer to this."""
        asked = self._asked
        if isinstance(event, Failure) and self._loading and event.id == self._loading:
            self._not_loaded(event)
            return True
        if asked is None or getattr(event, "id", None) != asked.id:
            if isinstance(event, Refined):
                self._worker.release(event.id)
            return isinstance(event, Refined)
        if isinstance(event, Failure):
            self._forget(asked)
            self._hide()
            if not event.is_cancelled:
                self._model.complain(event)
        elif isinstance(event, Refined):
            self._asked = self._model.awaited = None
            self._on_refined(asked, event)
        return True

    def _not_loaded(self, failure: Failure) -> None:
        """The CT itself is refused: the prompt on it will fail as well, without a reason."""
        self._model.handed = "", ""
        self.give_up()
        if not failure.is_cancelled:
            self._model.complain(failure)

    def _on_refined(self, asked: _Asked, refined: Refined) -> None:
        if asked.step == "answer":
            self._draw(refined, asked.segment_id)
            return
        if asked.step == "propagate" and refined.file:
            self._model.offer = refined
        elif asked.step == "propagate":
            self._model.say(_("The structure is already as the model and the prompts say."), "idle")
        self._chores.begin(_SHOW, self._show(refined, asked.step), is_urgent=True)
        if self._next is not None:
            following, self._next = self._next, None
            self._ask(following, "preview")

    # --- Asking

    def _begin(self) -> None:
        """Forgets the prompts where something else changed the segments since, or another one is looked at."""
        if self._asked is None and not self._chores.names & {PROMPT, CHANGE}:
            version = self._version()
            if version != self._begun:
                self._begun, self._model.prompts = version, ()

    def _version(self) -> Hashable:
        model = self._model
        return model.selected, self._scene.version(model.segmentation_id) if model.segmentation_id else None

    def _ask(self, prompts: tuple[Prompt, ...], step: Step) -> None:
        model = self._model
        row = model.row(model.selected)
        if row is None or model.segmentation_id is None or model.volume_id is None:
            return
        if self._asked is not None:
            self._worker.cancel(self._asked.id)
            self._asked = None
        self._next = None
        model.awaited = step
        work = self._asking(model.volume_id, model.segmentation_id, row, prompts, step)
        self._chores.begin(PROMPT, work, is_urgent=True)

    def _asking(
        self, volume_id: str, segmentation_id: str, row: SegmentState, prompts: tuple[Prompt, ...], step: Step
    ) -> Pieces[None]:
        model, asked = self._model, _Asked(new_id(), row.segment_id, step)
        try:
            yield from self._reviewing.settling()
            fingerprint = yield from self._handing_over(volume_id)
            grid = self._scene.geometry(volume_id)
            held = yield from self._holding(segmentation_id, row.segment_id, grid, prompts, step)
        except FAULTS as error:  # whatever it is, nothing waits for an answer any more
            self._forget(asked)
            model.say(unexpected(_("The prompt could not be answered."), error), "error")
            return
        self._asked = asked
        box, what = held.box, (row.class_index, model.model, model.device)
        self._worker.send(Refine(asked.id, fingerprint, box.start, box.stop, held.file, prompts, step, *what))

    def _handing_over(self, volume_id: str) -> Pieces[str]:
        """Has the worker know the CT; its fingerprint."""
        model = self._model
        if model.handed != (volume_id, self._scene.fingerprint(volume_id)):
            snapshot = yield from self._scene.copying(volume_id)
            self._loading = self._worker.send_volume(snapshot.volume, snapshot.fingerprint)
            model.handed = snapshot.node_id, snapshot.fingerprint
        return model.handed[1]

    def _holding(
        self, segmentation_id: str, segment_id: str, grid: Geometry, prompts: tuple[Prompt, ...], step: Step
    ) -> Pieces[_Held]:
        """Gives the worker the box around the prompts, unless it has it."""
        is_whole = step == "propagate"
        needed = Box.whole(grid.shape) if is_whole else _around(prompts, grid, _REACH_MM)
        version = segment_id, self._scene.version(segmentation_id)
        if self._held is None or self._held.version != version or not _holds(self._held.box, needed):
            box = needed if is_whole else _around(prompts, grid, _REACH_MM + _SPARE_MM)
            bits = yield from self._scene.reading_surroundings(segmentation_id, segment_id, box)
            self._held = _Held(version, box, (yield from self._worker.holding(bits)))
        return self._held

    # --- Showing and drawing

    def _show(self, refined: Refined, step: Step) -> Pieces[None]:
        segmentation_id = self._model.segmentation_id
        try:
            if refined.file and segmentation_id:
                box, mask = self._worker.mask(refined)
                self._shown_on = segmentation_id
                yield from self._scene.showing_preview(segmentation_id, box, mask)
        finally:
            if step == "preview":
                self._worker.release(refined.id)

    def _draw(self, refined: Refined, segment_id: str) -> None:
        self._reviewing.change(segment_id, lambda node, row: self._drawing(refined, node, row))

    def _drawing(self, refined: Refined, segmentation_id: str, row: SegmentState) -> Pieces[None]:
        try:
            if refined.file:
                box, mask = self._worker.mask(refined)
                yield from self._scene.redrawing(segmentation_id, row.segment_id, box, np.asarray(mask, bool))
                self._begun = self._version()
                self._on_drawn(self._model.tool)
                self._reviewing.drawn()
        finally:
            self._worker.release(refined.id)
            self._hide()
        if refined.notes:
            self._model.say(sentences(*refined.notes), "warning")
        elif not refined.file:
            self._model.say(_("The structure is already as the prompts say."), "idle")

    def _hide(self) -> None:
        self._chores.drop(_SHOW)
        if self._shown_on and self._shown_on == self._model.segmentation_id:
            self._scene.hide_preview(self._shown_on)
        self._shown_on = ""

    def _drop_offer(self) -> None:
        offer, self._model.offer = self._model.offer, None
        if offer is not None:
            self._worker.release(offer.id)
            self._hide()

    def _forget(self, asked: _Asked) -> None:
        """Nothing waits for an answer; a prompt without one must not stand in the way of the next."""
        model = self._model
        self._asked = self._next = model.awaited = None
        if asked.step == "answer":
            model.prompts = model.prompts[:-1]


def _around(prompts: tuple[Prompt, ...], grid: Geometry, reach_mm: float) -> Box:
    """The voxels that lie within a distance of the prompts; one where no prompt meets the CT."""
    found = [box for prompt in prompts if (box := extent(prompt, grid)) is not None]
    if not found:
        return Box((0, 0, 0), (1, 1, 1))
    box = Box.joined(found)
    reach = np.ceil(reach_mm / np.array(grid.spacing)).astype(int)
    start, stop = np.maximum(np.array(box.start) - reach, 0), np.minimum(np.array(box.stop) + reach, grid.shape)
    return Box(tuple(start.tolist()), tuple(stop.tolist()))


def _holds(outer: Box, inner: Box) -> bool:
    pairs = zip(outer.start, inner.start, inner.stop, outer.stop, strict=True)
    return all(a <= b and c <= d for a, b, c, d in pairs)
