"""Asks the worker what there is: devices, packages, models."""

from __future__ import annotations

from ..i18n import _
from ..protocol import Failure, Hello, ListModels, Models, Ready, new_id
from .model import Model
from .ports import WorkerPort


class Inventory:
    """The answers go into the model as they come."""

    def __init__(self, model: Model, worker: WorkerPort) -> None:
        self._model, self._worker = model, worker
        self._asked: set[str] = set()

    def ask_once(self) -> None:
        """Asks what is not known and was not asked."""
        if not self._asked and (self._model.ready is None or not self._model.are_models_known):
            self.ask()

    def ask(self) -> None:
        """Asks anew: memory in use and models change."""
        self._asked = {self._worker.send(Hello(new_id())), self._worker.send(ListModels(new_id()))}

    def forget(self) -> None:
        """Nothing is known any more: another process will answer."""
        self._asked = set()
        self._model.ready, self._model.are_models_known = None, False

    def on_event(self, event: object) -> bool:
        """Takes an event, if it is an answer to this."""
        model = self._model
        if getattr(event, "id", None) not in self._asked or not isinstance(event, (Ready, Models, Failure)):
            return False
        self._asked.discard(event.id)
        if isinstance(event, Ready):
            model.ready = event
        elif isinstance(event, Models):
            self._take(event)
        elif not event.is_cancelled:
            model.complain(event)
        return True

    def _take(self, event: Models) -> None:
        model = self._model
        usable = tuple(info for info in event.models if info.usable_for == "segmentation")
        if not usable:
            return
        model.models, model.are_models_known = usable, True
        if model.info is None:
            model.say(_("The model that was chosen is not known any more; another was chosen."), "warning")
            model.model = usable[0].id
