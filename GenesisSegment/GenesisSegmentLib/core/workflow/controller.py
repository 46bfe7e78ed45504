"""What the panel commands and what the scene tells, handed on to those who decide; one new view for each.

No method raises for what can be expected to go wrong: it becomes the status strip and, where a run is lost, the state
FAILED. A command that comes while another one is at work, for example because the scene tells of what that one does,
is done right after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

from ..i18n import _
from ..protocol import Failure
from .accepting import Accepting
from .choosing import Choosing
from .chores import Chores
from .commands import Commands
from .estimating import Estimating
from .exporting import Exporting
from .inventory import Inventory
from .learning import Learning
from .model import Model
from .ports import CorrectionsPort, ScenePort, SettingsPort, SetupPort, WorkerPort
from .prompting import Prompting
from .rendering import render
from .reviewing import Reviewing
from .segmenting import Segmenting
from .setting_up import SettingUp
from .signal import Signal
from .states import State
from .text import FAULTS, unexpected
from .view import View


class Controller(Commands):
    """Decides for the module; knows neither Qt nor MRML. Called from one thread; ``clock`` counts seconds."""

    def __init__(
        self,
        scene: ScenePort,
        worker: WorkerPort,
        setup: SetupPort,
        settings: SettingsPort,
        clock: Callable[[], float],
        corrections: CorrectionsPort | None = None,
        learner: WorkerPort | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Without ``corrections`` nothing can be accepted, without ``learner``, a process, nothing be learned."""
        self.changed = Signal()
        self._model = model = Model()
        self._worker, self._clock = worker, clock
        self._chores = Chores(clock)
        self._reviewing = Reviewing(model, scene, clock, self._chores)
        self._choosing = Choosing(model, scene, setup, settings, self._reviewing)
        self._exporting = Exporting(model, scene, settings, self._reviewing, self._chores)
        self._inventory = Inventory(model, worker)
        self._estimating = Estimating(model, scene, worker, self._inventory, clock)
        self._segmenting = Segmenting(
            model, scene, worker, self._reviewing, self._choosing, clock, self._chores, self._show
        )
        self._learner = learner
        self._setting_up = SettingUp(
            model, worker, learner, setup, settings, self._choosing, self._inventory, self._estimating
        )
        self._learning = Learning(
            *(model, learner, corrections, setup, settings, self._setting_up, self._choosing),
            *(self._inventory, self._estimating, clock, now),
        )
        self._accepting = Accepting(
            model, scene, corrections, self._reviewing, clock, self._chores, self._learning.accepted
        )
        self._prompting = Prompting(model, scene, worker, self._reviewing, self._chores, self._accepting.drew)
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_at_work = self._is_started = self._is_closed = self._is_scene_closing = False
        self._view = render(model)

    @property
    def view(self) -> View:
        """What is to be shown now."""
        return self._view

    # --- The module ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The module was entered. Starts no process and installs nothing."""
        self._do(self._start)

    def stop(self) -> None:
        """The module was left. A run goes on; nothing new begins."""
        self._do(self._stop)

    def close(self) -> None:
        """The module is destroyed: what runs is ended, and no command does anything from now on."""
        self._do(self._close)

    def tick(self) -> None:
        """Takes what the worker says, and does what was put off: ten times a second, sooner where ``is_working``."""
        if not self._is_at_work:
            self._do(self._tick)

    # --- What the scene tells -----------------------------------------------------------------------------------------

    def volume_removed(self, node_id: str) -> None:
        """A node was removed: the chosen CT, its segmentation, or another one."""
        self._do(lambda: self._on_removed(node_id))

    def scene_about_to_close(self) -> None:
        """Everything in the scene goes; a run ends."""
        self._do(self._on_closing)

    def scene_closed(self) -> None:
        """There is a new, empty scene."""
        self._do(self._on_scene)

    def scene_loaded(self, keeps_undo: bool = True) -> None:
        """A scene was read; what it kept is taken up. ``keeps_undo``: the editor can still take changes back."""
        self._do(lambda: self._on_scene(keeps_undo))

    def segmentation_edited(self, tools: tuple[str, ...] = ()) -> None:
        """Voxels or segments were changed by others than the controller; ``tools`` are the editor's effects."""
        self._do(lambda: self._edited(tools))

    # --- How it is done -----------------------------------------------------------------------------------------------

    def _do(self, command: Callable[[], None], is_choice: bool = False) -> None:
        if self._is_closed:
            return
        if is_choice:
            self._estimating.allow()
        self._waiting.append(command)
        if self._is_at_work:
            return
        self._is_at_work = True
        try:
            self._do_waiting()
            if not self._is_closed:
                self._go_on()
                self._do_waiting()
        finally:
            self._waiting.clear()
            self._is_at_work = False
            self._show()

    def _do_waiting(self) -> None:
        while self._waiting:
            self._guarded(self._waiting.popleft())

    def _guarded(self, command: Callable[[], None]) -> None:
        try:
            command()
        except FAULTS as error:  # whatever it is, the person must hear of it, and the other work goes on
            self._model.say(unexpected(_("This could not be done."), error), "error")

    def _go_on(self) -> None:
        try:
            self._chores.go_on()
        except FAULTS as error:  # whatever it is, the other work goes on
            self._model.say(unexpected(_("What was begun could not be finished."), error), "error")

    def _show(self) -> None:
        self._model.works = self._chores.names
        view = render(self._model)
        if view != self._view:
            self._view = view
            self.changed.emit(view)

    def _edited(self, tools: tuple[str, ...]) -> None:
        self._accepting.used(tools)
        self._reviewing.edited(tools)

    def _start(self) -> None:
        if self._is_started:
            self._choosing.check_setup()
            self._learning.start()
            return
        self._is_started = True
        self._choosing.load_settings()
        self._exporting.load_settings()
        self._choosing.check_setup()
        self._choosing.load_scene()
        self._setting_up.resume()
        self._learning.start()

    def _stop(self) -> None:
        self._estimating.rest()
        self._prompting.choose("")
        self._reviewing.stop_correcting()

    def _close(self) -> None:
        self._is_closed = True
        self._exporting.cancel()
        self._prompting.abandon()
        self._segmenting.abandon()
        self._setting_up.abandon()
        self._worker.close()
        self._learning.close()

    def _tick(self) -> None:
        model, was_running = self._model, self._model.run is not None
        later = self._accepting, self._learning, self._estimating
        for event in self._worker.pump():
            self._take(event)
        for event in self._learner.pump() if self._learner is not None else ():
            self._take(event)
        for part in (self._segmenting, self._prompting, self._reviewing, *later):
            self._guarded(part.tick)
        if was_running and model.state is State.REVIEWING:
            self._inventory.ask()  # how much memory is free now
            self._estimating.ask_again()  # the run measured how long it takes

    def _take(self, event: object) -> None:
        """One event that cannot be used must not take those behind it along."""
        try:
            self._dispatch(event)
        except FAULTS as error:
            text = unexpected(_("What the segmentation process said could not be used."), error)
            self._model.say(text, "error")

    def _dispatch(self, event: object) -> None:
        road = self._model.road
        parts = (
            *(self._segmenting, self._prompting, self._setting_up),
            *(self._estimating, self._inventory, self._learning),
        )
        is_taken = any(part.on_event(event) for part in parts)
        if not is_taken and isinstance(event, Failure) and not event.id and event.code == "worker_lost":
            self._model.complain(event)
        if self._model.road != road:
            self._choosing.check_setup()

    def _on_removed(self, node_id: str) -> None:
        model = self._model
        self._exporting.removed(node_id)
        if node_id in (model.volume_id, model.segmentation_id):
            self._prompting.abandon()
            self._accepting.abandon()
        if node_id == model.volume_id:
            self._segmenting.abandon()
            self._reviewing.stop_correcting()
            self._choosing.look_at(None)
        elif node_id == model.segmentation_id:
            self._reviewing.stop_correcting()
            self._reviewing.take_up(None)
            self._choosing.look_again()

    def _on_closing(self) -> None:
        self._is_scene_closing = True
        self._prompting.abandon()
        self._accepting.abandon()
        self._exporting.abandon()
        self._segmenting.abandon()
        self._reviewing.stop_correcting()
        self._estimating.forget()
        self._choosing.look_at(None)

    def _on_scene(self, keeps_undo: bool = True) -> None:
        self._is_scene_closing = False
        if not keeps_undo:
            self._model.can_undo = self._model.can_redo = False
        if self._is_started and self._model.state is not State.PREDICTING:
            self._reviewing.stop_correcting()
            self._choosing.load_scene()
