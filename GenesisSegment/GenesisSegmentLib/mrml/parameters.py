"""What a scene keeps of our work, in the parameter node that Slicer's scripted modules use."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import slicer

from ..core.workflow.ports import SceneParameters
from .nodes import modifying

MODULE = "GenesisSegment"
_VOLUME, _SEGMENTATION = "InputVolume", "Segmentation"


def load_parameters(scene: Any) -> SceneParameters:
    """The parameters of a scene; defaults where it has none, and no node that is gone."""
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    if node is None:
        return SceneParameters()
    return SceneParameters(
        volume_id=_id_of(node.GetNodeReference(_VOLUME)),
        segmentation_id=_id_of(node.GetNodeReference(_SEGMENTATION)),
        classes=_numbers(node.GetParameter("Classes")),
        paint_order=_numbers(node.GetParameter("PaintOrder")),
        left_out=_names(node.GetParameter("LeftOut")),
    )


def save_parameters(scene: Any, parameters: SceneParameters) -> None:
    """Keeps them; references follow their nodes when scenes are merged."""
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode") or _create(scene)
    with modifying(node):
        node.SetModuleName(MODULE)  # closing a scene keeps the node, but empties it
        node.SetNodeReferenceID(_VOLUME, parameters.volume_id)
        node.SetNodeReferenceID(_SEGMENTATION, parameters.segmentation_id)
        node.SetParameter("Classes", " ".join(map(str, parameters.classes)))
        node.SetParameter("PaintOrder", " ".join(map(str, parameters.paint_order)))
        node.SetParameter("LeftOut", " ".join(map(quote, parameters.left_out)))


def keep_segmentation(scene: Any, volume_id: str, segmentation_id: str) -> None:
    """Keeps which segmentation belongs to the chosen volume; nothing where the scene keeps another choice."""
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    if node is not None and node.GetNodeReferenceID(_VOLUME) == volume_id:
        node.SetNodeReferenceID(_SEGMENTATION, segmentation_id)


def _create(scene: Any) -> Any:
    node = slicer.vtkMRMLScriptedModuleNode()
    node.SetSingletonTag(MODULE)
    node.SetName(MODULE)
    return scene.AddNode(node)


def _id_of(node: Any | None) -> str | None:
    return node.GetID() if node is not None else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(map(unquote, text.split()))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split())
