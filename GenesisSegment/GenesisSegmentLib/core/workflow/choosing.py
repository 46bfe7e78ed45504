"""Which CT, model, device and classes: looks at what was chosen and keeps it."""

from __future__ import annotations

from ..errors import GenesisError
from ..home import versions_folder
from .catalogue import catalogue_models, learned_models
from .model import Model
from .ports import ScenePort, SettingsPort, SetupPort
from .reviewing import Reviewing
from .states import State, Trigger


class Choosing:
    """Settings keep the model and the device, the scene keeps the CT and the classes."""

    def __init__(
        self, model: Model, scene: ScenePort, setup: SetupPort, settings: SettingsPort, reviewing: Reviewing
    ) -> None:
        self._model, self._scene, self._setup, self._settings = model, scene, setup, settings
        self._reviewing = reviewing

    def load_settings(self) -> None:
        """Takes up the model and device of the last time."""
        model = self._model
        model.models = model.models or (*learned_models(versions_folder()), *catalogue_models())
        model.model = self._settings.get("model", model.model)
        if model.info is None:
            model.model = model.models[0].id
        model.device = self._settings.get("device", model.device) or "auto"

    def load_scene(self) -> None:
        """Takes up what the scene kept."""
        model, kept = self._model, self._scene.load_parameters()
        if kept.classes:
            model.classes = frozenset(kept.classes)
        model.left_out = frozenset(kept.left_out)
        model.paint_order = kept.paint_order
        self.look_at(kept.volume_id)

    def choose_volume(self, volume_id: str | None) -> None:
        """Another CT, or none."""
        model = self._model
        if model.state is State.PREDICTING or volume_id == model.volume_id:
            return
        self._reviewing.stop_correcting()
        model.message, model.last_files = None, ()
        self.look_at(volume_id)
        self.save()

    def choose_model(self, value: str) -> None:
        """Another model; what it needs may not be installed."""
        model = self._model
        if model.is_busy or value == model.model or value not in {info.id for info in model.models}:
            return
        road = model.road
        model.model, model.verdicts, model.estimate = value, (), None
        self._settings.set("model", value)
        if model.road != road:
            self.check_setup()
        else:
            self.look_again()

    def choose_device(self, value: str) -> None:
        """Another device."""
        if not self._model.is_busy and value:
            self._model.device, self._model.estimate = value, None
            self._settings.set("device", value)

    def check_classes(self, classes: tuple[int, ...], is_on: bool) -> None:
        """Ticks classes, or takes the ticks away; what the model does not offer stays as it is."""
        model = self._model
        if model.is_busy:
            return
        changed = frozenset(classes) & frozenset(model.offered)
        taught = frozenset(name for index, name in model.own.items() if index in changed)
        changed -= model.own.keys()
        model.classes = model.classes | changed if is_on else model.classes - changed
        model.left_out = model.left_out - taught if is_on else model.left_out | taught
        self.save()

    def check_setup(self) -> None:
        """Finds out anew what is installed, from metadata alone, then looks at the CT again."""
        self._model.setup = self._setup.check(self._model.road)
        self.look_again()

    def look_again(self) -> None:
        """Looks at the chosen CT anew: the state follows from what is there."""
        self.look_at(self._model.volume_id)

    def look_at(self, volume_id: str | None) -> None:
        """Makes a CT the chosen one. The state follows from its result, the set-up and the CT itself, in this order."""
        model, scene = self._model, self._scene
        if model.state in (State.PREDICTING, State.CORRECTING):
            return
        model.volume_id, model.volume_problem, model.volume_note, model.is_dicom = volume_id, "", "", False
        found = None
        if volume_id is not None:
            try:
                model.volume_problem = scene.problem(volume_id)
                model.volume_note = "" if model.volume_problem else scene.note(volume_id)
                model.is_dicom = scene.is_dicom(volume_id)
                found = scene.segmentation_of(volume_id)
            except GenesisError as error:
                model.volume_problem = str(error)
        self._reviewing.take_up(found)
        model.move(self._trigger())

    def save(self) -> None:
        """Keeps the choice with the scene."""
        self._scene.save_parameters(self._model.parameters)

    def _trigger(self) -> Trigger:
        model = self._model
        if model.segmentation_id is not None:
            return Trigger.RESULT_FOUND
        if not model.is_set_up:
            return Trigger.SETUP_MISSING
        if model.state is State.NEEDS_SETUP:
            model.move(Trigger.SETUP_DONE)
        usable = model.volume_id is not None and not model.volume_problem
        return Trigger.VOLUME_CHOSEN if usable else Trigger.VOLUME_GONE
