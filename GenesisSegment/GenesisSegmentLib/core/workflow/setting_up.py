"""Installing, trying out, and getting models: the jobs beside the segmentation, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..errors import ConsentError, GenesisError
from ..i18n import _
from ..protocol import Done, DownloadModel, Failure, ImportModel, Progress, SelfTest, Tested, new_id
from ..reports import ModelInfo
from .catalogue import model_of_file
from .choosing import Choosing
from .estimating import Estimating
from .inventory import Inventory
from .learning_obstacles import round_obstacle
from .licences import terms_text
from .model import Model, Step
from .obstacles import busy_obstacle, model_obstacle, setup_obstacle
from .ports import SettingsPort, SetupPort, SetupReport, WorkerPort
from .text import sentences, stage_text

_RESUME = "resume_setup"
"""Setting: the road whose installation was begun; the self-test after it takes it away."""


class SettingUp:
    """Everything here is asked for by the person and shows what it does before it does it."""

    def __init__(
        self,
        model: Model,
        worker: WorkerPort,
        learner: WorkerPort | None,
        setup: SetupPort,
        settings: SettingsPort,
        choosing: Choosing,
        inventory: Inventory,
        estimating: Estimating,
    ) -> None:
        self._model, self._worker, self._learner = model, worker, learner
        self._setup, self._settings = setup, settings
        self._choosing, self._inventory, self._estimating = choosing, inventory, estimating
        self._job = ""
        self._title = ""

    def resume(self) -> None:
        """Goes on with a set-up that needed a restart of Slicer."""
        model = self._model
        if not self._settings.get(_RESUME, ""):
            return
        if model.is_set_up:
            self._settings.set(_RESUME, "")
            self.self_test()
        else:
            model.say(_("The set-up was not finished. Press Install to go on."), "warning")

    def install(self, show: Callable[[], None]) -> None:
        """Asks, installs, looks again, and tries out what was installed; ``show`` puts progress on the screen.

        Raises:
            GenesisError: with what to do; nothing else was changed.
        """
        model = self._model
        if install_obstacle(model):
            return

        self._settings.set(_RESUME, model.road)
        try:
            found = self.install_for(model.road, show)
        except GenesisError:
            model.setup = self._setup.check(model.road)
            raise
        if found is None:
            self._settings.set(_RESUME, "")
            return
        model.setup = found
        self._inventory.forget()
        self._estimating.forget()
        self._choosing.look_again()
        if model.setup.needs_restart:
            model.say(_("Restart Slicer to finish the set-up."), "warning")
        else:
            self.resume()

    def install_for(self, road: str, show: Callable[[], None]) -> SetupReport | None:
        """Asks, installs what a road needs, and looks again; None where the person said no.

        The processes are ended as soon as the person agreed: Windows replaces no file of a package that one has loaded.

        Raises:
            GenesisError: with what to do.
        """
        model = self._model
        running = [process for process in (self._worker, self._learner) if process is not None]

        def tell(line: str) -> None:
            model.side_job = Step(line or _("Installing"), can_cancel=False)
            show()

        def report(line: str) -> None:
            if running:
                self._estimating.forget()  # its answer goes with the process
            while running:
                running.pop().stop()
            tell(line)

        tell(_("Installing"))
        try:
            return self._setup.install(road, report)
        except ConsentError:
            model.say(_("Nothing was installed."), "idle")
            return None
        finally:
            model.side_job = None

    def self_test(self) -> None:
        """Runs one small piece of a made-up CT on the chosen device."""
        model = self._model
        if self_test_obstacle(model):
            return
        model.verdicts = ()
        self._inventory.ask_once()
        self._begin(SelfTest(new_id(), model.model, model.device), _("Self-test"))

    def import_model(self, path: Path) -> None:
        """Installs the model in a file, known by the file's name, or else the chosen one; its terms are shown first."""
        model = self._model
        if import_obstacle(model):
            return
        name = model_of_file(path.name) or model.model
        info = next((info for info in model.models if info.id == name), None)
        if self._is_agreed(info, _("Import a model")):
            self._begin(ImportModel(new_id(), name, str(path), True), _("Importing the model"))

    def download_model(self) -> None:
        """Fetches the chosen model from its host; address, size and terms are shown first."""
        model = self._model
        if download_obstacle(model) or model.info is None:
            return
        if self._is_agreed(model.info, _("Download a model")):
            self._begin(DownloadModel(new_id(), model.model, True), _("Downloading the model"))

    def cancel(self) -> None:
        """Ends what is running; its answer ends it for good."""
        step = self._model.side_job
        if self._job and step is not None and not step.is_cancelling:
            self._model.side_job = replace(step, text=_("Cancelling"), seconds_left=None, is_cancelling=True)
            self._worker.cancel(self._job)

    def abandon(self) -> None:
        """Ends what is running without waiting for the answer."""
        self.cancel()
        self._job, self._model.side_job = "", None

    def on_event(self, event: object) -> bool:
        """Takes an event, if it belongs to what is running."""
        if not self._job or getattr(event, "id", None) != self._job:
            return False
        model = self._model
        if isinstance(event, Progress):
            if model.side_job is not None and model.side_job.is_cancelling:
                return True
            model.side_job = Step(f"{self._title}: {stage_text(event.stage)}", event.fraction, event.seconds_left)
            return True
        if not isinstance(event, (Tested, Done, Failure)):
            return False
        self._job, model.side_job = "", None
        if isinstance(event, Tested):
            model.verdicts = event.verdicts
            working = _("The self-test was passed.") if event.is_working else _("The self-test was not passed.")
            model.say(working, "good" if event.is_working else "error")
        elif isinstance(event, Failure):
            self._failed(event)
        else:
            model.say(sentences(_("The model is ready to use."), event.note))
            self._inventory.ask()
            self._estimating.forget()
        return True

    def _failed(self, failure: Failure) -> None:
        if failure.is_cancelled:
            self._model.say(_("Cancelled."), "idle")
            return
        self._model.complain(failure)
        if self._title == _("Self-test"):
            self._model.verdicts = (f"{failure.what} {failure.remedy}".strip(),)

    def _begin(self, command: SelfTest | ImportModel | DownloadModel, title: str) -> None:
        self._title = title
        self._model.message = None
        self._model.side_job = Step(title)
        self._job = self._worker.send(command)

    def _is_agreed(self, info: ModelInfo | None, title: str) -> bool:
        if info is None:
            self._model.say(_("This file is not one of the models of the list."), "error")
            return False
        is_agreed = self._setup.agree(title, terms_text(info))
        if not is_agreed:
            self._model.say(_("Nothing was done."), "idle")
        return is_agreed


def install_obstacle(model: Model) -> str:
    """Why nothing can be installed now, or ""."""
    if reason := busy_obstacle(model) or round_obstacle(model):
        return reason
    report = model.setup
    if report is None:
        return setup_obstacle(model)
    if report.needs_restart:
        return _("Restart Slicer to finish the set-up.")
    if not report.missing:
        return _("Everything is installed.")
    return " ".join(report.obstacles)


def self_test_obstacle(model: Model) -> str:
    """Why nothing can be tried out now, or ""."""
    return busy_obstacle(model) or setup_obstacle(model) or model_obstacle(model)


def import_obstacle(model: Model) -> str:
    """Why no model can be imported now, or ""."""
    return busy_obstacle(model) or setup_obstacle(model)


def download_obstacle(model: Model) -> str:
    """Why the chosen model cannot be downloaded now, or ""."""
    if reason := busy_obstacle(model) or setup_obstacle(model):
        return reason
    if model.info is None or model.info.url is None:
        return _("This model comes with GenesisSegment.")
    if not model.are_models_known:
        return _("Which models are on this computer is not known yet: run the self-test.")
    return _("This model is on this computer already.") if model.is_model_there else ""
