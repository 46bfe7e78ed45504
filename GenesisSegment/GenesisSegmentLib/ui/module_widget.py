"""Puts the module together: the controller with its collaborators, and the panels that show what it says."""

from __future__ import annotations

import logging
import time
from typing import Any

import qt
import slicer

from ..core.bulk import sweep_away
from ..core.errors import GenesisError
from ..core.kept import KeptCorrections
from ..core.worker_client import WorkerClient
from ..core.workflow.controller import Controller
from ..core.workflow.view import View
from ..mrml.editing import Editor
from ..mrml.scene import Scene
from ..mrml.terminology import load_terminology
from .correct_panel import CorrectPanel
from .dicom_seg import export_dicom_seg
from .export_panel import ExportPanel
from .installer import Installer
from .launch import bulk_folder, learner_launch, worker_launch
from .learn_panel import LearnPanel
from .prompt_panel import PromptPanel
from .segment_editor import SegmentEditor
from .segment_panel import SegmentPanel
from .segmentation_watch import SegmentationWatch
from .settings import Settings
from .setup_panel import SetupPanel
from .shortcuts import Shortcuts
from .status_strip import StatusPanel

_TICK_MS, _SHORT_TICK_MS = 100, 10
"""The short one while work is done in pieces: between two of them Slicer draws, and hears keys and clicks."""


def build(ui: Any, root: Any) -> ModuleWidget:
    """The panel on Slicer's scene, with a worker that starts when it is first needed."""
    _load_terminology()
    editor = SegmentEditor(ui.segmentEditorWidget)
    scene = SceneInViews(slicer.mrmlScene, Editor(editor.logic, editor.save_state_for_undo), export_dicom_seg)
    settings = Settings()
    sweep_away(bulk_folder())  # the CT of a Slicer that was killed must not wait for the next run
    worker = WorkerClient(worker_launch(), bulk_folder())
    learner = WorkerClient(learner_launch(), bulk_folder())
    controller = Controller(
        scene, worker, Installer(), settings, time.monotonic, corrections=KeptCorrections(), learner=learner
    )
    return ModuleWidget(ui, root, controller, editor)


class SceneInViews(Scene):
    """A scene that is shown: while a result is put in, segment by segment, the views are drawn once, at the end."""

    def write_result(self, *arguments: Any) -> str:
        """As in the scene."""
        with slicer.util.RenderBlocker():
            return super().write_result(*arguments)


def _load_terminology() -> None:
    """The Segment Editor offers our 32 classes, with codes and colours, when a person adds or names a segment."""
    try:
        load_terminology(slicer.modules.terminologies.logic())
    except GenesisError as error:  # segmenting works without it
        logging.warning("GenesisSegment: %s", error)


class ModuleWidget:
    """The panels of the module and the one controller behind them.

    ``ui`` has the widgets of the ``.ui`` file by name; ``root`` is the widget that holds them.
    """

    def __init__(self, ui: Any, root: Any, controller: Any, editor: SegmentEditor) -> None:
        self.controller = controller
        self._editor = editor
        self._is_entered = False
        self._timer = qt.QTimer(root)
        self._timer.setInterval(_TICK_MS)
        self._timer.connect("timeout()", controller.tick)
        self._prompts = PromptPanel(ui, controller, editor)
        self._panels = (
            StatusPanel(ui, controller),
            SetupPanel(ui, controller),
            SegmentPanel(ui, controller),
            CorrectPanel(ui, controller, editor),
            self._prompts,
            LearnPanel(ui, controller),
            ExportPanel(ui, controller),
        )
        self._watch = SegmentationWatch(controller.segmentation_edited, lambda: editor.active_effect, root)
        self._shortcuts = Shortcuts(ui, slicer.util.mainWindow() or root)
        controller.changed.connect(self._render)
        self._render(controller.view)

    def enter(self) -> None:
        """The module was opened."""
        self._is_entered = True
        self._editor.prepare()
        self.controller.start()
        self._editor.enter()
        self._shortcuts.set_active(True)
        self._render(self.controller.view)

    def exit(self) -> None:
        """The module was left; a run goes on."""
        self._is_entered = False
        self._shortcuts.set_active(False)
        self._editor.exit()
        self.controller.stop()
        self._set_ticking(self.controller.view)

    def close(self) -> None:
        """The module is unloaded or loaded anew."""
        if self._is_entered:
            self.exit()
        self._timer.stop()
        self._watch.stop()
        self._shortcuts.delete()
        self._prompts.delete()
        self._editor.forget_scene()
        self.controller.changed.disconnect(self._render)
        self.controller.close()

    def scene_about_to_close(self) -> None:
        """Lets go of every node before the scene does."""
        self._watch.stop()
        self._editor.forget_scene()
        self.controller.scene_about_to_close()

    def scene_closed(self) -> None:
        """The scene is empty."""
        if self._is_entered:
            self._editor.prepare()
        self.controller.scene_closed()

    def scene_loaded(self) -> None:
        """A scene was read into this one."""
        keeps_undo = self._editor.is_on_result
        if not keeps_undo:
            # The editor's node may refer to a segmentation now; undo follows it only when the node is set anew.
            self._editor.forget_scene()
            if self._is_entered:
                self._editor.prepare()
        self.controller.scene_loaded(keeps_undo)
        for panel in self._panels:
            panel.render_anew(self.controller.view)

    def node_removed(self, node: Any) -> None:
        """A node was taken out of the scene."""
        if node is not None and (node.IsA("vtkMRMLVolumeNode") or node.IsA("vtkMRMLSegmentationNode")):
            self.controller.volume_removed(node.GetID())

    def _render(self, view: View) -> None:
        for panel in self._panels:
            panel.update(view)
        self._watch.follow(view.correct.segmentation_id)
        self._set_ticking(view)

    def _set_ticking(self, view: View) -> None:
        wanted = self._is_entered or view.is_working or view.is_awake or view.status.kind == "busy"
        interval = _SHORT_TICK_MS if view.is_working else _TICK_MS
        if self._timer.interval != interval:
            self._timer.setInterval(interval)
        if wanted and not self._timer.active:
            self._timer.start()
        elif not wanted and self._timer.active:
            self._timer.stop()
