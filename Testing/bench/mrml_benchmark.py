"""How fast results go into the scene and come back, as ratios to Slicer's own functions within one run.

``python Testing/bench/mrml_benchmark.py [--shape 512 512 300]`` prints JSON. Ratios and milliseconds depend little on
the machine. The classes are 32 ellipsoids side by side in one layer, within the box that the organs of a trunk take
in a scan: 7/10 of its width, half of its depth, its whole height.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "GenesisSegment"), str(ROOT / "Testing")]

import numpy as np  # noqa: E402
import slicer  # noqa: E402

from bench.mrml_app import MrmlApp  # noqa: E402
from GenesisSegmentLib.core.classes import class_table  # noqa: E402
from GenesisSegmentLib.core.geometry import Box, Geometry  # noqa: E402
from GenesisSegmentLib.core.layers import Layer  # noqa: E402
from GenesisSegmentLib.mrml.editing import Edit, Editor  # noqa: E402
from GenesisSegmentLib.mrml.reading import read_segmentation  # noqa: E402
from GenesisSegmentLib.mrml.scene import Scene  # noqa: E402
from GenesisSegmentLib.mrml.volumes import placement  # noqa: E402
from mrml_builders import TEXT, add_volume  # noqa: E402

TARGETS = {
    "write_ratio": 1 / 20,
    "write_memory_above_data_mb": 150.0,
    "read_ratio": 1 / 4,
    "local_write_processor_ms": 30.0,
}
MEGABYTE = 1e6
EDITED_CLASSES = 24


def main(arguments: list[str]) -> int:
    """Prints the figures; exit code 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    figures = measure(tuple(parser.parse_args(arguments).shape))
    print(json.dumps(figures, indent=1))
    return 0 if not figures["missed"] else 1


def measure(shape: tuple[int, int, int]) -> dict[str, Any]:
    """All figures for one size of volume."""
    app = MrmlApp().install()
    scene = Scene(app.scene, Editor(app.segment_editor()))
    labels = ellipsoids(shape, class_table())
    geometry = Geometry(shape, np.diag([0.7, 0.7, 1.0, 1.0]))
    voxels = np.asfortranarray(np.random.default_rng(0).integers(-1000, 400, shape, np.int16))
    volume = add_volume(app, geometry, voxels)
    del voxels
    snapshot = scene.snapshot(volume.GetID())

    layers = [Layer(labels, tuple(class_table()))]
    node_id, write_s, peak, kept = watched(lambda: scene.write_result(snapshot, layers, TEXT, []))
    node = app.scene.GetNodeByID(node_id)
    snapshot_s = timed(lambda: scene.snapshot(volume.GetID()))[1]
    read, read_s = timed(lambda: read_segmentation(node, placement(volume).geometry))
    if not np.array_equal(read.label_map(), labels):
        raise RuntimeError("What was read is not what was written.")
    del read
    export_s = timed(lambda: export_all(app, node, volume))[1]
    slow_s = timed(lambda: write_one_by_one(app, volume, labels))[1]
    again_s = timed(lambda: scene.write_result(snapshot, layers, TEXT, []))[1]
    count_s = timed(lambda: scene.count_changes(node_id))[1]
    figures = {
        "shape": list(shape),
        "classes": len(class_table()),
        "snapshot_s": snapshot_s,
        "write_s": write_s,
        "write_again_s": again_s,
        "write_one_by_one_s": slow_s,
        "write_ratio": write_s / slow_s,
        "data_mb": labels.nbytes / MEGABYTE,
        "write_peak_mb": peak,
        "write_kept_mb": kept,
        "write_memory_above_data_mb": max(0.0, peak - labels.nbytes / MEGABYTE),
        "read_s": read_s,
        "export_segments_s": export_s,
        "read_ratio": read_s / export_s,
        "count_changes_s": count_s,
        **local_writes(app, volume, labels),
    }
    figures["missed"] = [name for name, target in TARGETS.items() if figures[name] > target]
    app.close()
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}


def ellipsoids(shape: tuple[int, int, int], classes: Any) -> np.ndarray:
    """uint8 labels (i, j, k): 4 x 4 x 2 ellipsoids side by side."""
    labels = np.zeros(shape, np.uint8, order="F")
    trunk = labels[shape[0] * 3 // 20 : shape[0] * 17 // 20, shape[1] // 4 : shape[1] * 3 // 4]
    cells = (4, 4, 2)
    sides = [n // c for n, c in zip(trunk.shape, cells, strict=True)]
    axes = np.ogrid[tuple(slice(-1, 1, complex(0, side)) for side in sides)]
    inside = sum(axis**2 for axis in axes) < 0.95
    for number, index in enumerate(classes):
        at = (number % 4, number // 4 % 4, number // 16)
        place = tuple(slice(c * side, (c + 1) * side) for c, side in zip(at, sides, strict=True))
        trunk[place][inside] = index
    return labels


def export_all(app: Any, node: Any, volume: Any) -> None:
    """Slicer's own way back: all segments into one label map node."""
    target = app.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = list(node.GetSegmentation().GetSegmentIDs())
    slicer.vtkSlicerSegmentationsModuleLogic.ExportSegmentsToLabelmapNode(node, ids, target, volume)
    app.scene.RemoveNode(target)


def write_one_by_one(app: Any, volume: Any, labels: np.ndarray) -> None:
    """Slicer's own way in: one call per class."""
    node = app.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for index, structure in class_table().items():
        node.GetSegmentation().AddEmptySegment(structure.slug, structure.name)
        mask = (labels == index).astype(np.uint8).T
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, structure.slug, volume)
    app.scene.RemoveNode(node)


def local_writes(app: Any, volume: Any, labels: np.ndarray) -> dict[str, float]:
    """Milliseconds of writes of 64^3 voxels beside 23 other segments, the step of undo included; medians of ten.

    ``local_write``: half of the voxels are added. ``local_replace``: the other half is removed as well. The time of
    the processor, too: unlike that of the clock, it does not grow when other programs are running.
    """
    app.scene.RemoveNode(app.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode"))
    scene = Scene(app.scene, Editor(app.segment_editor()))
    few = np.asfortranarray(np.where(labels <= EDITED_CLASSES, labels, 0), np.uint8)
    layers = [Layer(few, tuple(range(1, EDITED_CLASSES + 1)))]
    node_id = scene.write_result(scene.snapshot(volume.GetID()), layers, TEXT, [])
    figures = {}
    for name, removes in (("local_write", False), ("local_replace", True)):
        walls, processors = [], []
        for n in range(10):
            start = tuple(side // 3 + 5 * n for side in labels.shape)
            box = Box(start, tuple(a + 64 for a in start))  # type: ignore[arg-type]
            random = np.random.default_rng(n).random(box.shape)
            edit = Edit(box, random > 0.5, (random < 0.5) & removes)
            before = time.process_time()
            walls.append(1000 * timed(lambda edit=edit: scene.write_segment(node_id, "liver", edit))[1])
            processors.append(1000 * (time.process_time() - before))
        figures |= {f"{name}_ms": median(walls), f"{name}_processor_ms": median(processors)}
    return figures


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and how many seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def watched(work: Callable[[], Any]) -> tuple[Any, float, float, float]:
    """Result, seconds, and by how many megabytes the process grew: at its peak, and in the end."""
    before, peak, done = resident_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], resident_mb())

    thread = threading.Thread(target=watch)
    thread.start()
    result, seconds = timed(work)
    done.set()
    thread.join()
    after = resident_mb()
    return result, seconds, max(peak[0], after) - before, after - before


def resident_mb() -> float:
    """Memory of this process that is in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MEGABYTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
