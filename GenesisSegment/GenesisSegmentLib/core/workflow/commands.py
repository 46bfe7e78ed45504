"""The commands of the panel, one method for each, and which part of the controller does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from ..strokes import Stroke
from .accepting import Accepting
from .choosing import Choosing
from .exporting import Exporting
from .learning import Learning
from .model import Model
from .prompting import Prompting
from .reviewing import Reviewing
from .segmenting import Segmenting
from .setting_up import SettingUp
from .states import State, Trigger


class Commands(ABC):
    """What a person can ask for. No method raises for what can be expected to go wrong."""

    _model: Model
    _choosing: Choosing
    _segmenting: Segmenting
    _setting_up: SettingUp
    _reviewing: Reviewing
    _prompting: Prompting
    _accepting: Accepting
    _learning: Learning
    _exporting: Exporting
    _is_scene_closing: bool

    # --- Choosing -----------------------------------------------------------------------------------------------------

    def choose_volume(self, node_id: str | None) -> None:
        """Another CT, or none."""
        # While a scene closes, selectors run through the volumes that are not removed yet.
        if not self._is_scene_closing:
            self._do(lambda: self._choosing.choose_volume(node_id), is_choice=True)

    def choose_model(self, value: str) -> None:
        """Another model."""
        self._do(lambda: self._choosing.choose_model(value), is_choice=True)

    def choose_device(self, value: str) -> None:
        """Another device."""
        self._do(lambda: self._choosing.choose_device(value), is_choice=True)

    def search(self, text: str) -> None:
        """Narrows the tree of classes down."""
        self._do(lambda: setattr(self._model, "search", text))

    def check_classes(self, classes: tuple[int, ...], is_on: bool) -> None:
        """Ticks classes, or takes the ticks away."""
        self._do(lambda: self._choosing.check_classes(classes, is_on), is_choice=True)

    # --- Running ------------------------------------------------------------------------------------------------------

    def segment(self) -> None:
        """Starts a run."""
        self._do(self._segmenting.start, is_choice=True)

    def cancel(self) -> None:
        """Ends a run, or the job beside it."""
        self._do(self._cancel)

    def dismiss(self) -> None:
        """The message was read."""
        self._do(self._dismiss)

    def install(self) -> None:
        """Installs what is missing, after asking."""
        self._do(lambda: self._setting_up.install(self._show))

    def import_model(self, path: Path) -> None:
        """Installs a model from a file, after asking."""
        self._do(lambda: self._setting_up.import_model(path))

    def download_model(self) -> None:
        """Fetches the chosen model, after asking."""
        self._do(self._setting_up.download_model)

    def self_test(self) -> None:
        """Tries the chosen model out on the chosen device."""
        self._do(self._setting_up.self_test, is_choice=True)

    # --- Reviewing ----------------------------------------------------------------------------------------------------

    def edit(self, is_on: bool) -> None:
        """Begins or ends correcting."""
        self._do(lambda: self._reviewing.edit(is_on))

    def set_locked(self, segment_id: str, on: bool) -> None:
        """Locks a segment, or opens it."""
        self._do(lambda: self._reviewing.set_locked(segment_id, on))

    def set_reviewed(self, segment_id: str, on: bool) -> None:
        """Marks a segment as looked at and right, or takes that back."""
        self._do(lambda: self._reviewing.set_reviewed(segment_id, on))

    def set_visible(self, segment_id: str, on: bool) -> None:
        """Shows or hides a segment."""
        self._do(lambda: self._reviewing.set_visible(segment_id, on))

    def reset_segment(self, segment_id: str) -> None:
        """Gives a segment the voxels of the proposal back."""
        self._do(lambda: self._reviewing.reset(segment_id))

    def undone(self, is_done: bool) -> None:
        """The editor was told to take the last change back; ``is_done``: there was one."""
        self._do(lambda: self._undone(is_done))

    def redone(self, is_done: bool) -> None:
        """The editor was told to make again what was taken back; ``is_done``: there was something."""
        self._do(lambda: self._redone(is_done))

    def select_segment(self, segment_id: str) -> None:
        """Another segment is looked at."""
        self._do(lambda: self._reviewing.select(segment_id))

    def show_proposal(self, on: bool) -> None:
        """Shows or hides the outlines of the proposal."""
        self._do(lambda: self._reviewing.show_proposal(on))

    def show_difference(self, on: bool) -> None:
        """Shows or hides the changes to the proposal of the selected segment."""
        self._do(lambda: self._reviewing.show_difference(on))

    def update_3d(self) -> None:
        """Makes the surfaces once."""
        self._do(self._reviewing.update_3d)

    # --- Prompts ------------------------------------------------------------------------------------------------------

    def choose_tool(self, tool: str) -> None:
        """Takes a tool for prompts; the same again, or "", puts it down."""
        self._do(lambda: self._prompting.choose(tool))

    def set_adding(self, is_adding: bool) -> None:
        """Whether prompts add to the segment, or take away."""
        self._do(lambda: self._prompting.set_adding(is_adding))

    def add_structure(self, class_index: int) -> None:
        """Begins a new structure: of a class, or for 0 one of the person's own."""
        self._do(lambda: self._prompting.add_structure(class_index))

    def draw(self, stroke: Stroke, is_done: bool) -> None:
        """The mouse drew in a view; ``is_done``: the button was let go."""
        self._do(lambda: self._prompting.draw(stroke, is_done))

    def give_up_prompt(self) -> None:
        """A stroke will not be finished, or what is offered is not wanted."""
        self._do(self._prompting.give_up)

    def propagate(self) -> None:
        """Carries the prompts on to the whole structure."""
        self._do(self._prompting.propagate)

    def take_offer(self) -> None:
        """Draws what is offered."""
        self._do(self._prompting.take)

    # --- Accepting and learning ---------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Keeps the reviewed structures as corrections."""
        self._do(self._accepting.accept)

    def show_learn(self, on: bool) -> None:
        """The Learn part was unfolded, or folded."""
        if on:
            self._do(self._learning.show)

    def install_learning(self) -> None:
        """Installs what learning needs, after asking."""
        self._do(lambda: self._learning.install(self._show))

    def learn(self) -> None:
        """Begins a round."""
        self._do(self._learning.learn)

    def pause_learning(self, on: bool) -> None:
        """Stops the round where it stands, or lets it go on."""
        self._do(lambda: self._learning.pause(on))

    def stop_learning(self) -> None:
        """Ends the round."""
        self._do(self._learning.stop)

    def set_automatic(self, automatic: str, count: int, time: str) -> None:
        """When rounds begin by themselves."""
        self._do(lambda: self._learning.set_automatic(automatic, count, time))

    def use_version(self) -> None:
        """Takes the new model into use."""
        self._do(self._learning.use, is_choice=True)

    def go_back(self) -> None:
        """Takes the model from before into use."""
        self._do(self._learning.go_back, is_choice=True)

    # --- Exporting ----------------------------------------------------------------------------------------------------

    def show_export(self, on: bool) -> None:
        """The Export part was unfolded, or folded."""
        self._do(lambda: self._show_export(on))

    def choose_formats(self, keys: tuple[str, ...]) -> None:
        """What is written."""
        self._do(lambda: self._exporting.choose_formats(keys))

    def choose_folder(self, path: Path) -> None:
        """Where it is written."""
        self._do(lambda: self._exporting.choose_folder(path))

    def move_paint(self, class_index: int, step: int) -> None:
        """Moves a class in the paint order; the last one is on top."""
        self._do(lambda: self._exporting.move_paint(class_index, step))

    def export(self) -> None:
        """Begins to write the files."""
        self._do(self._exporting.export)

    # --- How it is done -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _do(self, command: Callable[[], None], is_choice: bool = False) -> None:
        """Does a command now, or right after the one that is at work; then shows what came of it."""

    @abstractmethod
    def _show(self) -> None:
        """Shows what the model says, before a step that holds the person up."""

    def _cancel(self) -> None:
        self._segmenting.cancel()
        self._setting_up.cancel()
        self._exporting.cancel()

    def _dismiss(self) -> None:
        model = self._model
        model.message, model.verdicts = None, ()
        if model.state is State.FAILED:
            model.move(Trigger.DISMISSED)
            self._choosing.look_again()

    def _undone(self, is_done: bool) -> None:
        self._prompting.abandon()
        self._reviewing.undone(is_done)

    def _redone(self, is_done: bool) -> None:
        self._prompting.abandon()
        self._reviewing.redone(is_done)

    def _show_export(self, on: bool) -> None:
        self._model.is_export_shown = on
        self._reviewing.find_overlaps()
