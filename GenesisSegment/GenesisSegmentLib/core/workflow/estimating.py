"""Asks the worker what a run would take, once the choice has been the same for a moment."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import GenesisError
from ..protocol import Estimate, Estimated, Failure, new_id
from .inventory import Inventory
from .model import Model
from .obstacles import estimate_obstacle
from .ports import ScenePort, WorkerPort

_SETTLED_S = 0.3
Choice = tuple[str, str, str, tuple[int, ...]]


class Estimating:
    """The CT itself is not handed over for this: copying it would hold the person up. Its grid says enough.

    Opening the module, or a scene, starts no process: :meth:`allow` is called by the person's own choices.
    """

    def __init__(
        self, model: Model, scene: ScenePort, worker: WorkerPort, inventory: Inventory, clock: Callable[[], float]
    ) -> None:
        self._model, self._scene, self._worker = model, scene, worker
        self._inventory, self._clock = inventory, clock
        self._asked_for: Choice | None = None
        self._seen: Choice | None = None
        self._seen_at = 0.0
        self._id = ""

    def allow(self) -> None:
        """The person made a choice: from now on the worker may be asked."""
        self._model.is_estimate_allowed = True

    def rest(self) -> None:
        """The module was left: nothing more is asked until the next choice."""
        self._model.is_estimate_allowed = False

    def ask_again(self) -> None:
        """The answer to the same question may be another now."""
        self._asked_for = self._seen = None

    def forget(self) -> None:
        """The answer is no longer good, for example after the model arrived."""
        self.ask_again()
        self._id = ""
        self._model.estimate, self._model.is_estimating = None, False

    def tick(self) -> None:
        """Asks, if there is something to ask."""
        choice = self._choice()
        if choice is None or choice == self._asked_for:
            if choice is None:
                self._seen = None
            return
        if choice != self._seen:
            self._seen, self._seen_at = choice, self._clock()
            self._model.estimate, self._model.is_estimating, self._id = None, True, ""
        elif self._clock() - self._seen_at >= _SETTLED_S:
            self._asked_for = choice
            self._ask(choice)

    def on_event(self, event: object) -> bool:
        """Takes an event, if it is an answer to this; an answer to an earlier question is dropped."""
        model = self._model
        if not self._id or getattr(event, "id", None) != self._id or not isinstance(event, (Estimated, Failure)):
            return False
        if not (isinstance(event, Failure) and event.is_cancelled):
            model.estimate = event
        model.is_estimating, self._id = False, ""
        return True

    def _choice(self) -> Choice | None:
        model = self._model
        if not model.is_estimate_allowed or estimate_obstacle(model) or model.volume_id is None:
            return None
        return model.volume_id, model.model, model.device, model.wanted

    def _ask(self, choice: Choice) -> None:
        model, (volume_id, name, device, classes) = self._model, choice
        self._inventory.ask_once()
        try:
            geometry = self._scene.geometry(volume_id)
        except GenesisError as error:
            model.volume_problem, model.is_estimating = str(error), False
            return
        grid = geometry.reoriented(geometry.to_ras)
        handed = model.handed[1] if model.handed[0] == volume_id else ""
        command = Estimate(new_id(), handed, name, classes, device, shape=grid.shape, spacing=grid.spacing)
        self._id = self._worker.send(command)
