"""The steps of the self-test inside Slicer: real widgets, real scene, and the starter where its packages are there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from ..core import setup_plan
from ..core.errors import GenesisError
from ..core.geometry import Geometry
from ..core.workflow.states import State
from ..mrml.arrays import image_matrix
from ..mrml.nodes import volume_of
from ..mrml.reading import read_mask
from ..mrml.volumes import placement
from ..mrml.writing import binary, segments_of
from .scripting import segment

_SIZE, _SPACING_MM, _ANGLE = 48, 4.0, np.deg2rad(20)


class SelfTestError(AssertionError):
    """A step did not do what it should."""


def made_up_ct() -> Any:
    """A volume node in the scene: a body of soft tissue in air, on an oblique grid."""
    voxels = np.full((_SIZE, _SIZE, _SIZE), -1000, np.int16)
    voxels[6:-6, 8:-8, 6:-6] = 40
    to_ras = np.diag((_SPACING_MM, _SPACING_MM, _SPACING_MM, 1.0))
    cos, sin = np.cos(_ANGLE), np.sin(_ANGLE)
    to_ras[:2, :2] = _SPACING_MM * np.array([[-cos, sin], [-sin, -cos]])
    return slicer.util.addVolumeFromArray(voxels, ijkToRAS=to_ras, name="Made-up CT")


def missing_packages() -> str:
    """What the starter still needs, or ""."""
    return ", ".join(package.requirement for package in setup_plan.check("onnx").missing)


def panel_follows_the_scene() -> None:
    """The panel takes a CT of the scene, and is empty again when the scene is closed."""
    widget = slicer.util.getModuleWidget("GenesisSegment")
    widget.enter()
    node = made_up_ct()
    widget.ui.volumeSelector.setCurrentNode(node)
    view = widget.panel.controller.view
    _expect(view.segment.volume_id == node.GetID(), "the chosen CT did not reach the controller")
    _expect(bool(widget.ui.segmentButton.toolTip), "the Segment button does not say what it does")
    slicer.mrmlScene.Clear(0)
    state = widget.panel.controller.view.state
    _expect(state in (State.NO_VOLUME, State.NEEDS_SETUP), f"after closing the scene the state is {state.value}")
    widget.exit()


def empty_volume_is_refused() -> None:
    """What is no CT is refused with words."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    try:
        segment(node.GetID())
    except GenesisError as error:
        _expect(bool(str(error)), "the refusal has no words")
    else:
        raise SelfTestError("an empty volume was taken for a CT")


def starter_segments() -> None:
    """A process in Slicer's Python segments with the starter; the result lies on the CT's grid and can be written."""
    node = made_up_ct()
    result = slicer.mrmlScene.GetNodeByID(segment(node.GetID(), device="cpu"))
    _expect(volume_of(result).GetID() == node.GetID(), "the segmentation does not belong to the CT")
    grid = placement(node).geometry
    found = segments_of(result)
    _expect(bool(found), "nothing was found")
    for segment_id, part in found:
        _expect(_is_on(part.GetRepresentation(binary()), grid), f"{segment_id} is not on the CT's grid")
        _expect(bool(read_mask(result, segment_id, grid).any()), f"{segment_id} has no voxel")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.seg.nrrd"
        _expect(bool(slicer.util.saveNode(result, str(file))) and file.is_file(), "the result could not be written")


def _is_on(image: Any, grid: Geometry) -> bool:
    """Whether an image lies on the lattice of the CT: the same matrix, up to whole voxels of its first one."""
    matrix = image_matrix(image)
    first = np.linalg.inv(grid.ijk_to_ras) @ matrix[:, 3]
    is_parallel = np.allclose(matrix[:3, :3], grid.ijk_to_ras[:3, :3], atol=1e-4)
    return is_parallel and bool(np.allclose(first, np.round(first), atol=1e-3))


def _expect(is_right: bool, fault: str) -> None:
    if not is_right:
        raise SelfTestError(fault)
