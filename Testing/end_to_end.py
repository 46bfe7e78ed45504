"""A person at the panel: the real module, scene, controller and worker process with the starter; Qt stands in."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from builders import rotation
from GenesisSegmentLib.core.geometry import Geometry
from GenesisSegmentLib.core.jobs import Job
from GenesisSegmentLib.core.segmentation import Segmentation
from GenesisSegmentLib.core.volume import Source, Volume
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.engine.inference.spec import RunOptions
from GenesisSegmentLib.engine.models.store import ModelStore
from GenesisSegmentLib.engine.open_model import open_segmenter
from GenesisSegmentLib.engine.phantom import phantom_ct, phantom_labels

MODULE = Path(__file__).resolve().parents[1] / "GenesisSegment" / "GenesisSegment.py"
PATIENCE_S = 120
SHOWN, LOCKED, REVIEWED, CHANGED, RESET = range(1, 6)
"""Columns of the table of segments after the name."""


RESTING_WORKER = """
import runpy, sys, time
from GenesisSegmentLib.core.protocol import Partial
from GenesisSegmentLib.worker.pipes import Outlet
send = Outlet.send
def send_and_rest(self, event):
    send(self, event)
    if isinstance(event, Partial):
        time.sleep(0.4)
Outlet.send = send_and_rest
assert sys.argv[1:3] == ["-m", "GenesisSegmentLib.worker"], sys.argv
del sys.argv[1:3]
runpy.run_module("GenesisSegmentLib.worker", run_name="__main__", alter_sys=True)
"""


SHORT_LEARNER = """
import runpy, sys
from dataclasses import replace
from GenesisSegmentLib.worker.learner.rounds import Rounds
run = Rounds.run
Rounds.run = lambda self, command, job, send: run(self, replace(command, steps=2, budget_s=0.0), job, send)
assert sys.argv[1:3] == ["-m", "GenesisSegmentLib.worker.learner"], sys.argv
del sys.argv[1:3]
runpy.run_module("GenesisSegmentLib.worker.learner", run_name="__main__", alter_sys=True)
"""


def put_python_on_path(folder: Path, monkeypatch: Any) -> None:
    """Makes a program ``PythonSlicer`` that is this Python, so that the module starts the real worker and learner.

    The worker rests after every early organ, so that a person has time to act during a run, however fast the machine
    is. The learner's rounds take two steps each.
    """
    folder.mkdir()
    program = folder / "PythonSlicer"
    resting, short = folder / "resting_worker.py", folder / "short_learner.py"
    resting.write_text(RESTING_WORKER, encoding="utf-8")
    short.write_text(SHORT_LEARNER, encoding="utf-8")
    worker, learner = (shlex.join([sys.executable, str(script)]) for script in (resting, short))
    program.write_text(f'#!/bin/sh\ncase "$*" in *.learner*) exec {learner} "$@";; esac\nexec {worker} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Truth:
    """What the phantom holds: voxels (i, j, k) on a grid in the world, and where its structures lie there."""

    voxels: np.ndarray
    geometry: Geometry
    labels: np.ndarray

    def center(self, index: int) -> np.ndarray:
        """World position, RAS mm, of the middle of a structure."""
        return world_center(self.labels == index, self.geometry)


@cache
def oblique_phantom() -> Truth:
    """The abdomen of the phantom on a tilted grid with unequal spacings and one axis reversed."""
    volume, (labels, grid) = phantom_ct(4.0), phantom_labels(4.0)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation((6.0, -5.0, 8.0)) @ np.diag([-3.9, 4.2, 5.0])
    shape = (96, 66, 56)
    middle = grid.ijk_to_ras @ [*(np.array(grid.shape) / 2), 1]
    matrix[:3, 3] = middle[:3] + np.array([0, 0, 10]) - matrix[:3, :3] @ (np.array(shape) / 2)
    geometry = Geometry(shape, matrix)
    change = np.linalg.inv(grid.ijk_to_ras) @ geometry.ijk_to_ras
    move = {"matrix": change[:3, :3], "offset": change[:3, 3], "output_shape": shape, "mode": "constant"}
    voxels = ndimage.affine_transform(volume.voxels.astype(np.float32), order=1, cval=-1000, **move)
    moved = ndimage.affine_transform(labels, order=0, cval=0, **move)
    return Truth(np.asfortranarray(np.rint(voxels), np.int16), geometry, moved)


@cache
def engine_result() -> Segmentation:
    """What the engine itself makes of the phantom, without worker, scene and panel."""
    truth = oblique_phantom()
    return segmented(Volume(truth.voxels, truth.geometry, Source(Path("CT"), "CT")))


def segmented(volume: Volume) -> Segmentation:
    """A CT segmented by the starter, by the engine alone, with its default options."""
    model = ModelStore.of_this_person().resolve("starter")
    return open_segmenter(model, Job()).segment(volume, RunOptions()).segmentation


def slicer_center(node: Any, segment_id: str) -> np.ndarray:
    """World position of the middle of a segment by VTK alone: its image, and the matrices of image and transform."""
    import slicer
    import vtk

    image, matrix = slicer.vtkOrientedImageData(), vtk.vtkMatrix4x4()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    image.GetImageToWorldMatrix(matrix)
    extent = image.GetExtent()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    k, j, i = (float(axis.mean()) for axis in np.nonzero(voxels))
    position = matrix.MultiplyPoint((i + extent[0], j + extent[2], k + extent[4], 1.0))[:3]
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    return np.array(to_world.TransformPoint(position))


def world_center(mask: np.ndarray, geometry: Geometry) -> np.ndarray:
    """World position, RAS mm, of the middle of a mask (i, j, k)."""
    return (geometry.ijk_to_ras @ [*np.argwhere(mask).mean(axis=0), 1])[:3]


@dataclass
class Watched:
    """What the person saw while a run went on."""

    progress: list[int] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    early: set[str] = field(default_factory=set)


class Session:
    """The module opened on the bench, and what a person does with it."""

    def __init__(self, bench: Any) -> None:
        self.bench, self.slicer = bench, bench.slicer
        self.host = bench.start(MODULE)

    # --- The scene

    def add_ct(self, truth: Truth, name: str = "CT", parent: Any = None) -> Any:
        """A volume node that lies in the world where the truth says, under a parent transform."""
        import vtk

        slicer, to_world = self.slicer, np.eye(4)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
        if parent is not None:
            matrix = vtk.vtkMatrix4x4()
            parent.GetMatrixTransformToWorld(matrix)
            to_world = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
            node.SetAndObserveTransformNodeID(parent.GetID())
        node.SetIJKToRASMatrix(_matrix(np.linalg.inv(to_world) @ truth.geometry.ijk_to_ras))
        image = vtk.vtkImageData()
        image.SetDimensions(truth.voxels.shape)
        image.GetPointData().SetScalars(numpy_to_vtk(truth.voxels.ravel(order="F"), deep=True))
        node.SetAndObserveImageData(image)
        node.CreateDefaultDisplayNodes()
        return node

    def add_turn(self) -> Any:
        """A linear transform that turns and shifts."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation((25.0, -15.0, 40.0))
        matrix[:3, 3] = 40, -17, 8
        node = self.slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turn")
        node.SetMatrixTransformToParent(_matrix(matrix))
        return node

    def nodes(self, class_name: str = "vtkMRMLNode") -> dict[str, str]:
        """IDs and names of the nodes of a class, without those that Slicer keeps for itself."""
        scene = self.slicer.mrmlScene
        found = [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]
        return {node.GetID(): node.GetName() or "" for node in found}

    @property
    def result(self) -> Any:
        """The segmentation that the panel shows."""
        return self.slicer.mrmlScene.GetNodeByID(self.view.correct.segmentation_id)

    def masks(self, volume: Any, node: Any = None) -> dict[str, np.ndarray]:
        """Slicer's own reading of all segments: (i, j, k) masks on the grid of the volume."""
        node = node or self.result
        segmentation = node.GetSegmentation()
        read = self.slicer.util.arrayFromSegmentBinaryLabelmap
        return {i: read(node, i, volume).T.astype(bool) for i in segmentation.GetSegmentIDs()}

    # --- The panel

    @property
    def controller(self) -> Any:
        return self.host.widget.panel.controller

    @property
    def view(self) -> Any:
        return self.controller.view

    @property
    def state(self) -> State:
        return self.view.state

    @property
    def message(self) -> str:
        return self.host.ui.statusLabel.text

    def wait(self, condition: Any, seconds: float = PATIENCE_S) -> None:
        self.bench.wait_until(condition, seconds)

    def choose(self, name: str = "CT") -> None:
        """Chooses a CT and lets the estimate settle."""
        self.host.choose("volumeSelector", name)

    def press_segment(self) -> None:
        assert self.host.ui.segmentButton.enabled, self.host.ui.segmentButton.toolTip
        self.host.click("segmentButton")
        assert self.state is State.PREDICTING, self.message

    def watch(self, until: Any) -> Watched:
        """Looks at the panel and the scene, while a run goes on, until a condition holds."""
        seen, ui = Watched(), self.host.ui

        def look(_view: Any) -> None:
            if self.state is State.PREDICTING:
                seen.progress.append(ui.progressBar.value)
                seen.stages.append(ui.statusLabel.text)

        def is_over() -> bool:
            if self.state is State.PREDICTING:
                seen.early |= self.early()
            return until(seen) or self.state is not State.PREDICTING

        self.controller.changed.connect(look)
        try:
            self.wait(is_over)
        finally:
            self.controller.changed.disconnect(look)
        return seen

    def run_until_early(self) -> None:
        """Starts a run and stops looking while an organ is shown early.

        On a busy machine early organs and the result may come at the same time; then it is tried again.
        """
        for _attempt in range(4):
            self.press_segment()
            self.watch(lambda seen: bool(seen.early))
            if self.state is State.PREDICTING and self.early():
                return
            self.slicer.mrmlScene.RemoveNode(self.result)
            self.bench.pump(0)
        raise AssertionError("no organ was shown before the run ended")

    def early(self) -> set[str]:
        """IDs of the segments that are shown before the run ends."""
        found: set[str] = set()
        scene = self.slicer.mrmlScene
        for node_id in self.nodes("vtkMRMLSegmentationNode"):
            node = scene.GetNodeByID(node_id)
            if node.GetAttribute("GenesisSegment.Part") == "partial":
                found |= set(node.GetSegmentation().GetSegmentIDs())
        return found

    def segment(self) -> Watched:
        """Presses Segment and waits for the result."""
        self.press_segment()
        seen = self.watch(lambda _seen: False)
        assert self.state is State.REVIEWING, self.message
        return seen

    def row(self, segment_id: str) -> int:
        """Row of a segment in the table."""
        return [row.segment.segment_id for row in self.view.correct.rows].index(segment_id)

    def tick(self, segment_id: str, column: int, is_on: bool = True) -> None:
        """Ticks a box of the table of segments."""
        check = self.bench.qt.Qt.Checked if is_on else self.bench.qt.Qt.Unchecked
        self.host.ui.segmentsTable.item(self.row(segment_id), column).setCheckState(check)
        self.bench.pump(0)

    def reset(self, segment_id: str) -> None:
        """Clicks "reset to proposal"."""
        button = self.host.ui.segmentsTable.cellWidget(self.row(segment_id), RESET)
        assert button.enabled, button.toolTip
        button.click()
        self.bench.pump(0)
        self.wait(lambda: not self.view.is_working)

    def brush(self, segment_id: str, mask: np.ndarray) -> None:
        """A stroke of a brush of Slicer's editor: voxels (i, j, k) of the CT added through its logic, with undo."""
        slicer, volume = self.slicer, self.host.ui.segmentEditorWidget.sourceVolumeNode()
        logic = self.host.widget.panel._editor.logic
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(mask.shape)
        image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(order="F"), deep=True))
        matrix = _matrix(np.eye(4))
        volume.GetIJKToRASMatrix(matrix)
        image.SetImageToWorldMatrix(matrix)
        self.host.ui.segmentEditorWidget.saveStateForUndo()
        logic.ModifySegmentByLabelmap(self.result, segment_id, image, logic.ModificationModeAdd, False, False)
        self.bench.pump(0)

    def undo(self) -> None:
        """The Undo button of the editor."""
        self.host.ui.segmentEditorWidget.undo()
        self.bench.pump(0)

    def export(self, folder: Path, formats: tuple[str, ...]) -> set[str]:
        """Chooses formats and folder and presses Export; names of the files."""
        ui = self.host.ui
        ui.exportCollapsibleButton.collapsed = False
        ui.folderPathLineEdit.currentPath = str(folder)
        for box in ui.formatsFrame.findChildren(self.bench.qt.QCheckBox):
            key = box.objectName.removeprefix("formatCheckBox_")
            if box.enabled and box.checked != (key in formats):
                box.click()
        self.host.click("exportButton")
        self.wait(lambda: self.view.status.kind != "busy")
        assert self.view.status.kind == "good", self.message
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    # --- The process

    @property
    def pid(self) -> int:
        """Of the worker process."""
        self.wait(lambda: self.controller._worker._process and self.controller._worker._process.pid)
        return self.controller._worker._process.pid


def is_alive(pid: int) -> bool:
    """Whether there is such a process (one that ended and was not waited for does not count)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill(pid: int) -> None:
    """As the system does when memory runs out."""
    os.kill(pid, signal.SIGKILL)


def wait_gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether a process ended within some seconds."""
    end = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(pid)


def points_of(surface: Any) -> np.ndarray:
    """Points (n, 3) of a vtkPolyData."""
    return vtk_to_numpy(surface.GetPoints().GetData())


def _matrix(matrix: np.ndarray) -> Any:
    import vtk

    result = vtk.vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, float).ravel())
    return result
