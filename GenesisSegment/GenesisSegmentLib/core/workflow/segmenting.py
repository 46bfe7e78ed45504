"""The run: hands the CT over, segments, shows what is there early, puts the result into the scene or takes all back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

from ..classes import FIRST_OWN, structures
from ..errors import GenesisError, InputError
from ..geometry import Box
from ..i18n import _
from ..pieces import Pieces
from ..protocol import Failure, Partial, Progress, Result, Segment, new_id
from .choosing import Choosing
from .chores import Chores
from .estimates import device_name
from .model import Model, Step
from .obstacles import segment_obstacle
from .ports import Layer, ResultText, ScenePort, Snapshot, WorkerPort
from .reviewing import Reviewing
from .states import Trigger
from .text import FAULTS, duration_text, sentences, stage_text, unexpected

_LOOK_S = 1.0
"""How often a run looks whether its CT is still the same."""
_COPY, _EARLY = "copy", "early"
_PATIENCE_S = 5.0
"""A cancelled run that does not answer is given up after this time."""


@dataclass
class _Run:
    """The ids of the two commands, and the CT as it was when they were sent.

    ``own`` are the names of the model's classes from 33 on.
    """

    snapshot: Snapshot
    own: tuple[str, ...]
    load: str
    segment: str
    started: float
    looked: float
    cancelled: float | None = None
    has_shown: bool = False
    early: deque[Partial] = field(default_factory=deque)
    """Classes that are to be shown before the result."""


class Segmenting:
    """At most one run at a time. Whatever does not belong to it, by id or by fingerprint, is dropped."""

    def __init__(
        self,
        model: Model,
        scene: ScenePort,
        worker: WorkerPort,
        reviewing: Reviewing,
        choosing: Choosing,
        clock: Callable[[], float],
        chores: Chores,
        announce: Callable[[], None],
    ) -> None:
        """``announce`` shows what the model says at once, before a step that holds the person up."""
        self._model, self._scene, self._worker = model, scene, worker
        self._reviewing, self._choosing, self._clock = reviewing, choosing, clock
        self._chores, self._announce = chores, announce
        self._run: _Run | None = None

    def start(self) -> None:
        """Starts a run, unless something stands in its way.

        Raises:
            GenesisError: the CT cannot be used; the state is as it was.
        """
        model = self._model
        if segment_obstacle(model) or model.volume_id is None:
            return
        copying = self._scene.copying(model.volume_id)
        self._reviewing.stop_correcting()
        model.message, model.verdicts, model.last_files = None, (), ()
        model.move(Trigger.SEGMENT)
        model.run = Step(_("Handing the CT over"), 0.0)
        self._chores.begin(_COPY, self._copy(copying, self._clock()))

    def _copy(self, copying: Pieces[Snapshot], started: float) -> Pieces[None]:
        model = self._model
        try:
            yield from self._reviewing.settling()
            self._hand_over((yield from copying), started)
        except GenesisError as error:
            self._over()
            model.move(Trigger.CANCELLED)
            self._choosing.look_again()
            model.complain(error)
        except FAULTS as error:  # whatever it is, the run has ended and the person must hear of it
            self._failed(unexpected(_("The CT could not be handed over."), error))

    def _hand_over(self, snapshot: Snapshot, started: float) -> None:
        model = self._model
        load = self._worker.send_volume(snapshot.volume, snapshot.fingerprint)
        model.handed = snapshot.node_id, snapshot.fingerprint
        command = Segment(new_id(), snapshot.fingerprint, "", model.model, model.wanted, model.device)
        own = model.info.own if model.info else ()
        self._run = _Run(snapshot, own, load, self._worker.send(command), started, self._clock())

    def cancel(self) -> None:
        """Asks the run to end; it has ended when the worker says so."""
        run, model = self._run, self._model
        if model.run is None:
            return
        if run is None:
            self._cancelled()
        elif run.cancelled is None:
            run.cancelled = self._clock()
            model.run = replace(model.run, text=_("Cancelling"), seconds_left=None, is_cancelling=True)
            self._worker.cancel(run.segment)

    def abandon(self) -> None:
        """Ends the run without a word, because its CT goes away."""
        if self._model.run is None:
            return
        if self._run is not None:
            self._worker.cancel(self._run.segment)
        self._over()
        self._model.move(Trigger.VOLUME_GONE)

    def tick(self) -> None:
        """Looks whether the CT is still the same, and gives up a cancelled run that does not answer."""
        run, now = self._run, self._clock()
        if run is None:
            return
        if run.cancelled is not None:
            if now - run.cancelled >= _PATIENCE_S:
                self._cancelled()
        elif now - run.looked >= _LOOK_S:
            run.looked = now
            self._check_volume(run)

    def on_event(self, event: object) -> bool:
        """Takes an event, if it belongs to the run."""
        run = self._run
        if run is None or getattr(event, "id", None) not in (run.load, run.segment):
            if isinstance(event, Result):
                self._worker.release(event.id)
            return False
        if isinstance(event, Failure):
            self._on_failure(run, event)
        elif run.cancelled is not None:
            if isinstance(event, Result):
                self._worker.release(event.id)
                self._cancelled()
        elif isinstance(event, Progress):
            self._model.run = Step(stage_text(event.stage), min(1.0, max(0.0, event.fraction)), event.seconds_left)
        elif isinstance(event, Partial):
            self._on_partial(run, event)
        elif isinstance(event, Result):
            self._on_result(run, event)
        return True

    def _on_failure(self, run: _Run, failure: Failure) -> None:
        if failure.is_cancelled or run.cancelled is not None:
            self._cancelled()
        else:
            if failure.id == run.load:
                self._worker.cancel(run.segment)
            self._failed(f"{failure.what} {failure.remedy}".strip(), failure.log)

    def _on_partial(self, run: _Run, partial: Partial) -> None:
        """Has one class shown early."""
        grid = Box.whole(run.snapshot.volume.geometry.shape)
        is_inside = all(0 <= a < b <= n for a, b, n in zip(partial.start, partial.stop, grid.stop, strict=True))
        if not self._check_volume(run) or partial.index not in structures(run.own) or not is_inside:
            return
        run.early.append(partial)
        if _EARLY not in self._chores.names:
            self._chores.begin(_EARLY, self._show_early(run))

    def _show_early(self, run: _Run) -> Pieces[None]:
        """A class that cannot be shown early comes with the result."""
        while run.early:
            partial = run.early.popleft()
            with suppress(GenesisError):
                box, mask = self._worker.mask(partial)
                run.has_shown = True
                taught = run.own[partial.index - FIRST_OWN] if partial.index >= FIRST_OWN else ""
                yield from self._scene.writing_partial(run.snapshot, partial.index, box, mask, taught)

    def _on_result(self, run: _Run, result: Result) -> None:
        if not self._check_volume(run):
            self._worker.release(result.id)
            return
        model, snapshot = self._model, run.snapshot
        model.run = Step(_("Showing the result in the scene"), 1.0)
        self._announce()
        notes = tuple(dict.fromkeys((*snapshot.volume.source.notes, *result.notes)))
        self._chores.drop(_EARLY)
        text = ResultText(result.model, result.model_title, result.model_sha256, result.device, notes, result.own)
        try:
            layers = self._layers(snapshot, result)
            self._reviewing.settle()
            measurements = [asdict(row) for row in result.measurements]
            segmentation = self._scene.write_result(snapshot, layers, text, measurements)
        except FAULTS as error:  # whatever it is, the run has ended and the person must hear of it
            self._worker.release(result.id)
            self._failed(unexpected(_("The result could not be put into the scene."), error))
            return
        self._run = model.run = None
        is_again = segmentation == model.segmentation_id
        model.move(Trigger.FINISHED)
        self._reviewing.take_up(segmentation)
        model.can_undo, model.can_redo = is_again, False
        undo = _("Undo brings the structures from before this run back.") if is_again else ""
        model.say(sentences(self._summary(run, result), *notes, undo))

    def _layers(self, snapshot: Snapshot, result: Result) -> tuple[Layer, ...]:
        """The layers, which must be those of this CT.

        Raises:
            InputError: they are not.
        """
        shape = snapshot.volume.geometry.shape
        is_ours = result.volume == snapshot.fingerprint and result.shape == shape
        layers = self._worker.layers(result) if is_ours else ()
        classes = [c for layer in layers for c in layer.classes]
        known = structures(result.own).keys()
        is_whole = len(set(classes)) == len(classes) and set(classes) == set(result.classes) <= known
        if not is_ours or not is_whole or any(layer.labels.shape != shape for layer in layers):
            raise InputError(
                _("The result does not belong to this CT, so it was not used."), _("Segment the CT again.")
            )
        return layers

    def _summary(self, run: _Run, result: Result) -> str:
        text = _("Done in {time} on {device}: {found} of {asked} structures were found.")
        time = duration_text(self._clock() - run.started)
        where = device_name(self._model, result.device)
        return text.format(time=time, device=where, found=len(result.present), asked=len(result.classes))

    def _check_volume(self, run: _Run) -> bool:
        """Whether the CT is as it was; if not, the run is over."""
        fingerprint = self._scene.fingerprint(run.snapshot.node_id)
        if fingerprint == run.snapshot.fingerprint:
            return True
        if fingerprint is None:
            self.abandon()
            self._choosing.look_at(None)
            self._model.say(_("The CT was removed, so the run was stopped."), "warning")
        else:
            self._worker.cancel(run.segment)
            self._failed(_("The CT was changed during the run, so its result was not used. Segment it again."))
        return False

    def _cancelled(self) -> None:
        self._over()
        self._model.move(Trigger.CANCELLED)
        self._choosing.look_again()
        self._model.say(_("Cancelled. Nothing was changed."), "idle")

    def _failed(self, text: str, log: str = "") -> None:
        self._over()
        self._model.move(Trigger.FAILED)
        self._model.say(text, "error", log)

    def _over(self) -> None:
        """Forgets the run, and takes away what it showed early."""
        run, self._run = self._run, None
        self._model.run = None
        for name in (_COPY, _EARLY):
            self._chores.drop(name)
        if run is not None and run.has_shown:
            with suppress(GenesisError):  # why the run ended matters more
                self._scene.discard_partials(run.snapshot)
