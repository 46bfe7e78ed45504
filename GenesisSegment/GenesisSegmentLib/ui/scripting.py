"""Segments without the panel, for scripts and for the self-test: the same controller, waited for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import slicer

from ..core.errors import GenesisError
from ..core.segmentation import MOST_CLASSES
from ..core.worker_client import WorkerClient
from ..core.workflow.controller import Controller
from ..core.workflow.ports import SceneParameters
from ..core.workflow.states import State
from ..mrml.editing import Editor
from ..mrml.scene import Scene
from .dicom_seg import export_dicom_seg
from .installer import Installer
from .launch import bulk_folder, worker_launch
from .segment_editor import editor_logic

_PAUSE_S = 0.05


class _Scene(Scene):
    """The scene without what the panel keeps in it: a script takes nothing up from there, and leaves it alone."""

    def load_parameters(self) -> SceneParameters:
        """Nothing was kept."""
        return SceneParameters()

    def save_parameters(self, parameters: SceneParameters) -> None:
        """Keeps nothing."""


class _Unkept(dict):
    """Settings for this call alone: a script does not change what the person chose in the panel."""

    def set(self, key: str, value: str) -> None:
        """Keeps a text."""
        self[key] = value


def segment(volume_id: str, classes: Iterable[int] | None = None, device: str = "auto", model: str = "starter") -> str:
    """Segments a CT of the scene and waits for it; returns the ID of the segmentation node.

    ``classes`` are class indices of the model, None all that the model offers. Slicer's events are handled meanwhile.

    Raises:
        GenesisError: it could not be done; says why.
    """
    logic, node = editor_logic(), _private_editor_node()
    scene = _Scene(slicer.mrmlScene, Editor(logic, parameters=lambda _scene: node), export_dicom_seg)
    controller = Controller(scene, WorkerClient(worker_launch(), bulk_folder()), Installer(), _Unkept(), time.monotonic)
    try:
        controller.start()
        controller.choose_volume(volume_id)
        controller.choose_model(model)
        controller.choose_device(device)
        if classes is not None:
            controller.check_classes(tuple(range(1, MOST_CLASSES + 1)), False)
            controller.check_classes(tuple(classes), True)
        button = controller.view.segment.segment
        if not button.is_enabled:
            raise GenesisError(button.tip)
        controller.segment()
        while controller.view.state is State.PREDICTING:
            controller.tick()
            slicer.app.processEvents()
            time.sleep(_PAUSE_S)
        if controller.view.state is not State.REVIEWING:
            raise GenesisError(controller.view.status.text)
        return controller.view.correct.segmentation_id
    finally:
        controller.close()
        logic.SetSegmentEditorNode(None)
        slicer.mrmlScene.RemoveNode(node)


def _private_editor_node() -> Any:
    """A parameter node for one call, so that the person's own editor stays on what it is on; not saved."""
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    return slicer.mrmlScene.AddNode(node)
