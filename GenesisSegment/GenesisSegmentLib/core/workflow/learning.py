"""The Learn part: what was accepted, the round that runs or ended, when the next one begins, which model is in use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from ..i18n import _
from ..learning_messages import (
    Ingest,
    Ingested,
    Learn,
    LearningState,
    LearningStatus,
    Pause,
    RoundEnded,
    Stage,
    UseVersion,
)
from ..protocol import Command, Done, Failure, Progress, new_id
from .choosing import Choosing
from .estimating import Estimating
from .inventory import Inventory
from .learning_model import CURRENT, Automatic, RoundStep
from .learning_obstacles import (
    back_obstacle,
    install_learning_obstacle,
    learn_obstacle,
    pause_obstacle,
    use_obstacle,
)
from .model import Model
from .ports import CorrectionsPort, SettingsPort, SetupPort, WorkerPort
from .setting_up import SettingUp

ROAD = "learn"
"""The packages that learning needs, as the set-up names them."""
_WINDOW = timedelta(hours=1)
"""A round that begins at a time of day begins no later than this after it."""
_LOOK_S = 5.0
_TRIED, _DAY = "learn_tried", "learn_day"
"""Settings: with how many corrections, and on which day, a round began by itself the last time."""


class Learning:
    """Speaks to the process that learns. It is started by what the person does, or has asked for, and by nothing else.

    ``now`` is the time of day, ``clock`` counts seconds.
    """

    def __init__(
        self,
        model: Model,
        learner: WorkerPort | None,
        corrections: CorrectionsPort | None,
        setup: SetupPort,
        settings: SettingsPort,
        setting_up: SettingUp,
        choosing: Choosing,
        inventory: Inventory,
        estimating: Estimating,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._model, self._learner, self._corrections = model, learner, corrections
        self._setup, self._setting_up = setup, setting_up
        self._settings, self._choosing = settings, choosing
        self._inventory, self._estimating = inventory, estimating
        self._clock, self._now = clock, now
        self._jobs: dict[str, Command] = {}
        self._looked = clock()
        self._wants_current = False
        """Whether the version in use is to be chosen in the Segment part as soon as it is listed there."""
        self._before = ""
        """The model that the version in use was learned from, while one goes back to it."""
        model.learning.is_possible = learner is not None

    def start(self) -> None:
        """The module was opened: looks what is on disk. Only who has rounds begin by themselves starts a process."""
        shown = self._model.learning
        shown.automatic = _automatic(self._settings.get("learn_automatic", "off"))
        shown.count = _whole(self._settings.get("learn_count", ""), shown.count)
        shown.time = _time(self._settings.get("learn_time", ""), shown.time)
        self._look()
        if shown.automatic != "off" and shown.has_any:
            self._refresh()

    def show(self) -> None:
        """The Learn part was unfolded, so that its counts are wanted."""
        if self._model.learning.state is None:
            self._refresh()

    def accepted(self) -> None:
        """Something new is in the outbox."""
        self._look()
        shown = self._model.learning
        if self._corrections is not None and shown.is_set_up and not self._is_asked(Ingest):
            self._send(Ingest(new_id(), str(self._corrections.folder)))

    def install(self, show: Callable[[], None]) -> None:
        """Asks, and installs what learning needs; ``show`` puts progress on the screen.

        Raises:
            GenesisError: with what to do.
        """
        shown = self._model.learning
        if install_learning_obstacle(self._model):
            return
        try:
            found = self._setting_up.install_for(ROAD, show)
        finally:
            shown.setup = self._setup.check(ROAD)
        if found is None:
            return
        shown.setup, shown.problem = found, None
        if found.needs_restart:
            self._model.say(_("Restart Slicer to finish the set-up."), "warning")
        elif shown.is_set_up:
            self._model.say(_("Everything that learning needs is installed."))
            self._choosing.check_setup()
            self._refresh()

    def learn(self, is_automatic: bool = False) -> None:
        """Begins a round, or goes on with one that was interrupted."""
        if learn_obstacle(self._model):
            return
        shown = self._model.learning
        shown.round, shown.ended, shown.problem = RoundStep(is_automatic=is_automatic), None, None
        self._send(Learn(new_id()))

    def pause(self, is_on: bool) -> None:
        """Stops the round where it stands, or lets it go on."""
        shown = self._model.learning
        if shown.round is not None and not pause_obstacle(shown):
            shown.round = replace(shown.round, is_pausing=True)
            self._send(Pause(new_id(), is_on))

    def stop(self) -> None:
        """Ends the round; the model in use stays as it is."""
        shown = self._model.learning
        job = self._job(Learn)
        if job and shown.round is not None and not shown.round.is_stopping and self._learner is not None:
            shown.round = replace(shown.round, is_stopping=True, seconds_left=None)
            self._learner.cancel(job)

    def use(self) -> None:
        """Takes the new model into use, and chooses it."""
        shown = self._model.learning
        if use_obstacle(self._model):
            return
        newest = shown.newest
        self._wants_current = True
        if newest is None:
            self._models_changed()
        else:
            self._switch(newest.name)

    def go_back(self) -> None:
        """Takes the model from before the one in use."""
        if not back_obstacle(self._model):
            current, self._wants_current = self._model.learning.current, False
            self._before = current.parent if current is not None else ""
            self._switch("")

    def set_automatic(self, automatic: str, count: int, time: str) -> None:
        """When rounds begin by themselves: "off", "count" (of new corrections), or "time" (of day, "HH:MM")."""
        shown = self._model.learning
        shown.automatic = _automatic(automatic)
        shown.count, shown.time = max(1, count), _time(time, shown.time)
        self._settings.set("learn_automatic", shown.automatic)
        self._settings.set("learn_count", str(shown.count))
        self._settings.set("learn_time", shown.time)
        if shown.automatic != "off" and shown.state is None and shown.has_any:
            self._refresh()

    def tick(self) -> None:
        """Begins a round by itself, where that was asked for and it is time."""
        if self._wants_current and any(info.id == CURRENT for info in self._model.models):
            self._choosing.choose_model(CURRENT)
            self._wants_current = self._model.model != CURRENT
        if self._learner is None or self._clock() - self._looked < _LOOK_S:
            return
        self._looked = self._clock()
        state, now = self._model.learning.state, self._now()
        if state is None or learn_obstacle(self._model) or not self._is_due(state, now):
            return
        self._settings.set(_TRIED, str(state.corrections))
        self._settings.set(_DAY, now.date().isoformat())
        self.learn(is_automatic=True)

    def close(self) -> None:
        """Ends the process; a round is left so that the next one goes on with it."""
        if self._learner is not None:
            self._learner.close()

    def on_event(self, event: object) -> bool:
        """Takes an event of the process that learns, if it answers one of its commands."""
        job = getattr(event, "id", "")
        command = self._jobs.get(job)
        if command is None:
            if isinstance(event, Failure) and not job:
                self._model.learning.problem = event
            return False
        if isinstance(event, (Progress, Stage)):
            self._on_step(event)
            return True
        del self._jobs[job]
        if isinstance(event, Failure):
            self._on_failure(command, event)
        elif isinstance(event, Ingested):
            self._model.learning.damaged += event.damaged
            self._look()
            has_moved = event.added or event.before or event.damaged
            if self._model.learning.waiting and has_moved:  # accepted while the others were taken in
                self.accepted()
            else:
                self._refresh()
        elif isinstance(event, LearningState):
            self._on_state(command, event)
        elif isinstance(event, RoundEnded):
            self._on_ended(event)
        elif isinstance(event, Done) and self._model.learning.round is not None:
            self._model.learning.round = replace(self._model.learning.round, is_pausing=False)
        return True

    def _is_due(self, state: LearningState, now: datetime) -> bool:
        shown = self._model.learning
        tried = _whole(self._settings.get(_TRIED, ""), 0)
        is_new = state.fresh > 0 and state.corrections > tried
        if shown.automatic == "count":
            return is_new and state.fresh >= shown.count and state.corrections - tried >= shown.count
        hour, minute = (int(part) for part in shown.time.split(":"))
        begin = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        is_time = begin <= now < begin + _WINDOW and self._settings.get(_DAY, "") != now.date().isoformat()
        return shown.automatic == "time" and is_new and is_time

    def _on_step(self, event: Progress | Stage) -> None:
        shown = self._model.learning
        if shown.round is None:
            return
        if isinstance(event, Progress):
            shown.round = replace(
                shown.round, stage=event.stage, fraction=event.fraction, seconds_left=event.seconds_left
            )
        else:
            loss = event.loss if event.loss is not None else shown.round.loss
            shown.round = replace(shown.round, state=event.state, step=max(event.step, shown.round.step), loss=loss)

    def _on_state(self, command: Command, state: LearningState) -> None:
        shown = self._model.learning
        shown.state, shown.problem, shown.is_asking = state, None, False
        self._look()
        if isinstance(command, UseVersion):
            shown.is_switching = False
            current = shown.current
            name = current.title if current is not None else _("the model that came before all versions")
            self._model.say(_("In use from now on: {model}.").format(model=name))
            if current is None and self._model.model == CURRENT:
                self._choosing.choose_model(self._before)
            self._models_changed()

    def _on_ended(self, event: RoundEnded) -> None:
        self._model.learning.round, self._model.learning.ended = None, event
        if event.version:
            self._models_changed()
        self._refresh()

    def _on_failure(self, command: Command, failure: Failure) -> None:
        shown = self._model.learning
        if isinstance(command, Learn):
            shown.round = None
            if failure.is_cancelled:
                what = _("The round was stopped. The model in use stays as it is.")
                shown.ended = RoundEnded(command.id, "cancelled", what)
                self._refresh()
                return
        elif isinstance(command, UseVersion):
            shown.is_switching = False
            self._model.complain(failure)
        elif isinstance(command, LearningStatus):
            shown.is_asking = False
        elif isinstance(command, Pause) and shown.round is not None:
            shown.round = replace(shown.round, is_pausing=False)
        if not failure.is_cancelled:
            shown.problem = failure
        self._look()

    def _switch(self, version: str) -> None:
        self._model.learning.is_switching = True
        self._send(UseVersion(new_id(), version))

    def _models_changed(self) -> None:
        self._inventory.ask()
        self._estimating.forget()

    def _look(self) -> None:
        shown = self._model.learning
        if self._corrections is not None:
            shown.waiting = self._corrections.count_waiting()
            shown.has_any = shown.has_any or self._corrections.has_any()
            if shown.has_any and shown.is_possible and shown.setup is None:
                shown.setup = self._setup.check(ROAD)

    def _refresh(self) -> None:
        """Asks for the counts, and has what waits taken into the store before."""
        shown = self._model.learning
        if self._corrections is None or not shown.is_set_up or self._is_asked(LearningStatus):
            return
        if shown.waiting and shown.state is None and not self._is_asked(Ingest):
            self._send(Ingest(new_id(), str(self._corrections.folder)))
            return  # its answer asks for the counts
        shown.is_asking = True
        self._send(LearningStatus(new_id()))

    def _send(self, command: Command) -> None:
        if self._learner is not None:
            self._jobs[command.id] = command
            self._learner.send(command)

    def _job(self, kind: type) -> str:
        return next((job for job, command in self._jobs.items() if isinstance(command, kind)), "")

    def _is_asked(self, kind: type) -> bool:
        return bool(self._job(kind))


def _automatic(text: str) -> Automatic:
    return "count" if text == "count" else "time" if text == "time" else "off"


def _whole(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _time(text: str, default: str) -> str:
    try:
        return datetime.strptime(text, "%H:%M").strftime("%H:%M")
    except ValueError:
        return default
