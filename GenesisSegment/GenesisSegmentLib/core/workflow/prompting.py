"""Points, scribbles, boxes and lassos: from the mouse to the worker, and the answer into the segment.

While the button is down, the worker is asked for previews, one at a time and always for the newest stroke. When it is
let go, the answer is drawn, as one step of undo, and the prompt is kept; strokes that follow wait for that. Prompts add
up until another segment is chosen, or something else changes the segments, Undo among it: what is there then is what
the next prompt begins with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

import numpy as np

from ..i18n import _
from ..pieces import Pieces
from ..prompts import Prompt
from ..protocol import Failure, Refine, Refined, new_id
from ..refining_messages import Step
from ..strokes import TOOLS, Stroke, prompt_of
from .chores import Chores
from .handing import Handing, Subject
from .model import CHANGE, PROMPT, Model
from .obstacles import new_obstacle, prompt_obstacle, propagate_obstacle
from .ports import ScenePort, SegmentState, WorkerPort
from .reviewing import Reviewing
from .text import FAULTS, sentences, unexpected

_SHOW = "preview"
_BRUSH_MM = 1.5
"""Radius of a scribble."""


@dataclass(frozen=True)
class _Asked:
    """What the worker is asked, or is to be asked in a moment; ``version`` of the segments is known from then on."""

    id: str
    subject: Subject
    prompts: tuple[Prompt, ...]
    step: Step
    version: Hashable = None


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
        self._handing = Handing(model, scene, worker)
        self._subject: Subject | None = None
        self._begun: Hashable = None
        """The version of the segments that the prompts belong to."""
        self._asked: _Asked | None = None
        self._next: Prompt | None = None
        """The newest stroke under way, to be previewed when the preview before is there."""
        self._finished: deque[tuple[Subject, Prompt]] = deque()
        """Strokes that wait until the answer to those before is drawn."""
        self._offered: _Asked | None = None
        """What the offer of the model answers."""

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
        """Begins a new structure: a class of the chosen model that is not there yet, or for 0 one of their own."""
        model = self._model
        if new_obstacle(model) or not model.segmentation_id or class_index not in (0, *model.absent):
            return
        self.abandon()
        taught = model.own.get(class_index, "")
        segment_id = self._scene.add_segment(model.segmentation_id, 0 if taught else class_index, taught)
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
        subject = self._begin()
        self._drop_offer()
        prompt = prompt_of(model.tool, stroke, self._scene.geometry(model.volume_id), model.is_adding, _BRUSH_MM)
        if is_done:
            self._next = None
            self._finished.append((subject, prompt))
            self._go_on()
        else:
            self._next = prompt
            self._preview()

    def propagate(self) -> None:
        """Has the model learn from the prompts, and draw the whole structure anew: shown first, then taken or not."""
        self._begin()
        if not propagate_obstacle(self._model) and not self._is_answering:
            self._ask(self._subject, self._model.prompts, "propagate")

    def take(self) -> None:
        """Draws what is offered, if it is still about what is there."""
        offer, offered = self._model.offer, self._offered
        self._model.offer = self._offered = None
        if offer is None or offered is None:
            return
        if self._is_current(offered):
            self._draw(offered, offer)
        else:
            self._worker.release(offer.id)
            self._hide()

    def give_up(self) -> None:
        """Does not draw what is offered, and forgets a stroke that is not finished."""
        self._next = None
        if self._asked is not None and self._asked.step == "preview":
            self._forget_asked()
        self._drop_offer()
        self._hide()

    def abandon(self) -> None:
        """Forgets all prompts and what was asked about them: what they are about is gone, or not what it was."""
        self._finished.clear()
        if self._asked is not None:
            self._forget_asked()
        self.give_up()
        self._handing.forget()
        self._subject, self._model.prompts = None, ()

    # --- What happens

    def tick(self) -> None:
        """Puts the tool down where it cannot be used any more, and goes on with what waits."""
        model = self._model
        if self._subject is not None and self._subject.segmentation_id != model.segmentation_id:
            self.abandon()
        if model.tool and prompt_obstacle(model):
            self.choose("")
        if self._offered is not None and not self._is_current(self._offered):
            self._drop_offer()
        self._go_on()

    def on_event(self, event: object) -> bool:
        """Takes an event, if it is an answer to this."""
        asked = self._asked
        if isinstance(event, Failure) and event.id and event.id == self._handing.loading:
            self._not_answered(event)
            return True
        if asked is None or getattr(event, "id", None) != asked.id:
            if isinstance(event, Refined):
                self._worker.release(event.id)
            return isinstance(event, Refined)
        if isinstance(event, Failure):
            self._not_answered(event)
        elif isinstance(event, Refined):
            self._asked = self._model.awaited = None
            self._on_refined(asked, event)
        return True

    def _not_answered(self, failure: Failure) -> None:
        """What the worker has may be gone with it: the CT and the box are handed over again next time."""
        if self._asked is not None:
            self._forget_asked()
        self._finished.clear()
        self._hide()
        if not failure.is_cancelled:
            self._handing.forget(with_ct=True)
            self._model.complain(failure)

    def _on_refined(self, asked: _Asked, refined: Refined) -> None:
        if asked.subject.segmentation_id != self._model.segmentation_id:
            self._worker.release(refined.id)
        elif asked.step == "answer":
            self._draw(asked, refined)
        else:
            if asked.step == "propagate" and refined.file:
                self._model.offer, self._offered = refined, asked
            elif asked.step == "propagate":
                self._model.say(_("The structure is already as the model and the prompts say."), "idle")
            self._chores.begin(_SHOW, self._show(refined, asked.step), is_urgent=True)
        self._preview()

    # --- Asking

    @property
    def _is_answering(self) -> bool:
        """Whether an answer is awaited or being drawn; another change of segments counts as well."""
        is_asked = self._asked is not None and self._asked.step != "preview"
        return is_asked or CHANGE in self._chores.names

    def _begin(self) -> Subject:
        """What is selected. Forgets the prompts where that is another segment, or something else changed them since."""
        model = self._model
        subject = Subject(model.volume_id or "", model.segmentation_id or "", model.selected)
        version = self._scene.version(subject.segmentation_id)
        if subject != self._subject:
            self.give_up()
        if subject != self._subject or (self._begun != version and not self._is_answering):
            self._subject, self._begun, model.prompts = subject, version, ()
        return subject

    def _is_current(self, asked: _Asked) -> bool:
        """Whether what was asked about is what is selected, and unchanged."""
        is_same = asked.subject == self._subject and asked.subject.segment_id == self._model.selected
        return is_same and asked.version == self._scene.version(asked.subject.segmentation_id)

    def _go_on(self) -> None:
        """Asks about the next finished stroke, when nothing is in its way."""
        if self._finished and not self._is_answering:
            subject, prompt = self._finished.popleft()
            earlier = self._model.prompts if subject == self._subject else ()
            self._ask(subject, (*earlier, prompt), "answer")

    def _preview(self) -> None:
        """Asks about the newest stroke, unless another is being answered."""
        if self._next is not None and self._asked is None and not self._finished and not self._is_answering:
            following, self._next = self._next, None
            self._ask(self._subject, (*self._model.prompts, following), "preview")

    def _ask(self, subject: Subject | None, prompts: tuple[Prompt, ...], step: Step) -> None:
        model = self._model
        row = model.row(subject.segment_id) if subject is not None else None
        if row is None or subject is None:
            return
        if self._asked is not None:
            self._forget_asked()
        asked = self._asked = _Asked(new_id(), subject, prompts, step)
        model.awaited = step
        self._chores.begin(PROMPT, self._asking(asked, row), is_urgent=True)

    def _asking(self, asked: _Asked, row: SegmentState) -> Pieces[None]:
        model = self._model
        try:
            yield from self._reviewing.settling()
            fingerprint = yield from self._handing.handing_over(asked.subject.volume_id)
            held = yield from self._handing.holding(asked.subject, asked.prompts, asked.step)
        except FAULTS as error:  # whatever it is, nothing waits for an answer any more
            self._forget_asked()
            model.say(unexpected(_("The prompt could not be answered."), error), "error")
            return
        self._asked = replace(asked, version=held.version)
        box, what = held.box, (model.number_of(row), model.model, model.device)
        command = Refine(asked.id, fingerprint, box.start, box.stop, held.file, asked.prompts, asked.step, *what)
        self._worker.send(command)

    # --- Showing and drawing

    def _show(self, refined: Refined, step: Step) -> Pieces[None]:
        segmentation_id = self._model.segmentation_id
        try:
            if not refined.file:
                self._scene.hide_preview()
            elif segmentation_id:
                box, mask = self._worker.mask(refined)
                yield from self._scene.showing_preview(segmentation_id, box, mask)
        finally:
            if step == "preview":
                self._worker.release(refined.id)

    def _draw(self, asked: _Asked, refined: Refined) -> None:
        self._reviewing.change(asked.subject.segment_id, lambda node, row: self._drawing(asked, refined, node, row))

    def _drawing(self, asked: _Asked, refined: Refined, segmentation_id: str, row: SegmentState) -> Pieces[None]:
        model, left = self._model, 0
        try:
            if segmentation_id != asked.subject.segmentation_id:
                return
            if asked.version != self._scene.version(segmentation_id):
                self._finished.clear()
                model.say(_("The structures were changed meanwhile: draw again."), "warning")
                return
            if refined.file:
                box, mask = self._worker.mask(refined)
                wanted = np.asarray(mask, bool)
                left = yield from self._scene.redrawing(segmentation_id, row.segment_id, box, wanted)
                self._on_drawn(model.tool)
                self._reviewing.drawn()
            if asked.subject == self._subject:
                model.prompts, self._begun = asked.prompts, self._scene.version(segmentation_id)
        finally:
            self._worker.release(refined.id)
            self._hide()
        self._say_drawn(refined, left)

    def _say_drawn(self, refined: Refined, left: int) -> None:
        notes = list(refined.notes)
        if left:
            text = _("{count} voxels stayed as they were: the editor's masks or protected structures kept them.")
            notes.append(text.format(count=f"{left:,}"))
        if notes:
            self._model.say(sentences(*notes), "warning")
        elif not refined.file:
            self._model.say(_("The structure is already as the prompts say."), "idle")

    def _hide(self) -> None:
        self._chores.drop(_SHOW)
        self._scene.hide_preview()

    def _drop_offer(self) -> None:
        offer, self._model.offer, self._offered = self._model.offer, None, None
        if offer is not None:
            self._worker.release(offer.id)
            self._hide()

    def _forget_asked(self) -> None:
        """Nothing waits for an answer any more."""
        self._chores.drop(PROMPT)
        if self._asked is not None:
            self._worker.cancel(self._asked.id)
        self._asked = self._model.awaited = None
