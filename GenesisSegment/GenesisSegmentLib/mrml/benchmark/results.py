"""A whole result into the scene and back, against Slicer's own functions; local writes; memory."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import slicer
import slicer.util

from ...core.classes import class_table
from ...core.geometry import Box
from ...core.layers import Layer
from ...core.pieces import finished
from ..editing import Edit
from ..nodes import remove_node
from ..reading import read_segmentation
from ..volumes import placement
from .labels import Shape
from .row import Row, Seconds, least, ratio, timed
from .stage import TEXT, Stage

WRITE_TARGET, MEMORY_TARGET_MB, READ_TARGET, LOCAL_TARGET_MS = 1 / 20, 150.0, 1 / 4, 30.0
_EDITED, _SIDE, _TIMES = 24, 64, 10
_MB = 1e6


def whole_results(shape: Shape) -> list[Row]:
    """Writing all 32 classes, and reading them back; what is read is compared with what was written."""
    stage = Stage(shape)
    scene, volume = stage.scene, stage.volume
    snapshot = finished(scene.copying(volume.GetID()))
    node_id, write = timed(lambda: scene.write_result(snapshot, stage.layers, TEXT, []))
    node = stage.mrml.GetNodeByID(node_id)
    found, read = least(lambda: read_segmentation(node, placement(volume).geometry))
    if not np.array_equal(found.label_map(), stage.labels):
        raise SystemExit("What was read is not what was written.")
    del found
    export = least(lambda: _export_all(stage, node))[1]
    one_by_one = _one_by_one(stage)
    return [
        ratio("32 classes into the scene", one_by_one, write, WRITE_TARGET, "plain: one call of slicer.util per class"),
        ratio("32 classes back", export, read, READ_TARGET, "plain: ExportSegmentsToLabelmapNode"),
    ]


def local_writes(shape: Shape) -> list[Row]:
    """A change of 64^3 voxels beside 23 other segments, the step of undo included."""
    stage = Stage(shape)
    few = np.asfortranarray(np.where(stage.labels <= _EDITED, stage.labels, 0), np.uint8)
    layers = (Layer(few, tuple(range(1, _EDITED + 1))),)
    scene = stage.scene
    node_id = scene.write_result(finished(scene.copying(stage.volume.GetID())), layers, TEXT, [])
    rows = []
    for name, removes in (("adding to", False), ("adding to and removing from", True)):
        costs = []
        for n in range(_TIMES):
            start = [max(0, min(side // 3 + 5 * n, side - _SIDE)) for side in shape]
            box = Box(tuple(start), tuple(a + min(_SIDE, n) for a, n in zip(start, shape, strict=True)))  # type: ignore[arg-type]
            random = np.random.default_rng(n).random(box.shape)
            edit = Edit(box, random > 0.5, (random < 0.5) & removes)
            costs.append(timed(partial(scene.write_segment, node_id, "liver", edit))[1])
        cpu, wall = (median(getattr(cost, part) for cost in costs) for part in ("cpu", "wall"))
        title = f"{name.capitalize()} a segment, {_SIDE}^3 voxels, {_EDITED} segments"
        note = f"median of {_TIMES}; longest {1000 * max(cost.cpu for cost in costs):.0f} ms"
        rows.append(Row(title, 1000 * cpu, "ms", LOCAL_TARGET_MS, wall, note=note))
    return rows


def memory(shape: Shape) -> list[Row]:
    """Peak of a process that writes a result, beyond what it held before and the labels themselves."""
    stage = Stage(shape)
    snapshot = finished(stage.scene.copying(stage.volume.GetID()))
    name = "32 classes into the scene, memory above the labels"
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
        before = _status_mb("VmRSS")
    except OSError:
        return [Row(name, None, "MB", note="measured on Linux alone")]
    stage.scene.write_result(snapshot, stage.layers, TEXT, [])
    growth = _status_mb("VmHWM") - before
    data = stage.labels.nbytes / _MB
    return [Row(name, growth - data, "MB", MEMORY_TARGET_MB, note=f"{growth:.0f} MB in all; labels {data:.0f} MB")]


def _status_mb(field: str) -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024 / _MB  # type: ignore[index]


def _export_all(stage: Stage, node: object) -> None:
    target = stage.mrml.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = list(node.GetSegmentation().GetSegmentIDs())  # type: ignore[attr-defined]
    slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(node, ids, target, stage.volume)
    stage.mrml.RemoveNode(target)


def _one_by_one(stage: Stage) -> Seconds:
    """Slicer's own way in. The masks that it is given are made before the clock starts."""
    node = stage.mrml.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(stage.volume)
    total, write = np.zeros(3), slicer.util.updateSegmentBinaryLabelmapFromArray
    for index, structure in class_table().items():
        node.GetSegmentation().AddEmptySegment(structure.slug, structure.name)
        mask = (stage.labels == index).astype(np.uint8).T
        cost = timed(partial(write, mask, node, structure.slug, stage.volume))[1]
        total += cost.wall, cost.cpu, cost.thread
    remove_node(node)
    return Seconds(*total.tolist())
