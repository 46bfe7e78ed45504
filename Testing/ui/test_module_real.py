"""End to end on the bench: a real CT, the real worker with the starter, the real scene; only Qt's widgets stand in."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.workflow.states import State

MODULE = Path(__file__).resolve().parents[2] / "GenesisSegment" / "GenesisSegment.py"
CASE = "colorectal_liver_metastases/crlm_1004/ct.nii.gz"
KIDNEY, LIVER, SPLEEN = "kidney_right", "liver", "spleen"
PATIENCE_S = 60

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")


@pytest.fixture
def host(slicer_bench, shared_data, tmp_path, monkeypatch):
    """The module with the real worker and a real CT in the scene."""
    for package in ("onnxruntime", "SimpleITK", "cc3d"):
        pytest.importorskip(package)
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "PythonSlicer"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GENESIS_SEGMENT_HOME", str(tmp_path / "home"))
    slicer_bench.slicer.util.loadVolume(str(shared_data / CASE), {"name": "CT"})
    host = slicer_bench.start(MODULE)
    host.choose("volumeSelector", "CT")
    return host


def state(host):
    return host.widget.panel.controller.view.state


def masks(slicer, node, volume):
    """All segments as (k, j, i) masks on the grid of the CT."""
    segmentation = node.GetSegmentation()
    ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
    return {i: slicer.util.arrayFromSegmentBinaryLabelmap(node, i, volume).astype(bool) for i in ids}


def right_of(mask, volume):
    """Mean position to the patient's right in mm."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    k, j, i = (float(axis.mean()) for axis in np.nonzero(mask))
    return matrix.MultiplyPoint((i, j, k, 1.0))[0]


def test_from_a_real_ct_to_files_and_back(slicer_bench, host, tmp_path):
    slicer = slicer_bench.slicer
    volume = slicer.util.getNode("CT")
    assert host.ui.segmentButton.enabled, host.ui.segmentButton.toolTip

    # Cancelled, nothing is left
    host.click("segmentButton")
    slicer_bench.wait_until(lambda: host.ui.progressBar.value > 0, PATIENCE_S)
    host.click("cancelButton")
    slicer_bench.wait_until(lambda: state(host) is not State.PREDICTING, PATIENCE_S)
    assert state(host) is State.READY, host.ui.statusLabel.text
    assert slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0

    # Segmented: left is left
    host.click("segmentButton")
    slicer_bench.wait_until(lambda: state(host) is not State.PREDICTING, PATIENCE_S)
    assert state(host) is State.REVIEWING, host.ui.statusLabel.text
    node = slicer_bench.scene.GetNodeByID(host.widget.panel.controller.view.correct.segmentation_id)
    before = masks(slicer, node, volume)
    assert before[LIVER].sum() * np.prod(volume.GetSpacing()) > 500_000  # mm3
    assert right_of(before[LIVER], volume) > right_of(before[SPLEEN], volume) + 50

    # A neighbour is edited: the locked segment keeps every voxel, undo brings back the other
    from GenesisSegmentLib.mrml.editing import Edit, Editor

    names = [host.ui.segmentsTable.item(row, 0).text() for row in range(host.ui.segmentsTable.rowCount)]
    row = names.index("Right Kidney")
    host.ui.segmentsTable.item(row, 2).setCheckState(slicer_bench.qt.Qt.Checked)
    logic = host.widget.panel._editor.logic
    logic.GetSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteAllSegments)
    k, j, i = np.argwhere(before[KIDNEY]).mean(axis=0).astype(int)
    box = Box((int(i) - 50, int(j) - 50, int(k) - 1), (int(i) + 50, int(j) + 50, int(k) + 2))
    add = np.ones(box.shape, bool)
    kept_from = Editor(logic).write(node, LIVER, Edit(box, add, np.zeros_like(add)))
    after = masks(slicer, node, volume)
    assert kept_from > 0
    assert (after[KIDNEY] == before[KIDNEY]).all()
    assert not (after[LIVER] == before[LIVER]).all()
    logic.Undo()
    undone = masks(slicer, node, volume)
    assert all((undone[name] == before[name]).all() for name in before)

    # Written in every format, read again voxel for voxel
    out = tmp_path / "out"
    out.mkdir()
    host.ui.exportCollapsibleButton.collapsed = False
    host.ui.folderPathLineEdit.currentPath = str(out)
    for box in host.ui.formatsFrame.findChildren(slicer_bench.qt.QCheckBox):
        if box.checked == (box.text == "DICOM SEG"):
            box.click()
    host.click("exportButton")
    slicer_bench.wait_until(lambda: host.ui.progressFrame.isHidden(), PATIENCE_S)
    names = {file.name for file in out.rglob("*") if file.is_file()}
    assert {"CT.seg.nrrd", "CT.nii.gz", "CT.nrrd", "CT.csv"} <= names, host.ui.statusLabel.text
    assert {suffix for suffix in (".stl", ".obj", ".gltf") if not any(suffix in name for name in names)} == set()
    loaded = slicer.util.loadSegmentation(str(out / "CT.seg.nrrd"))
    again = masks(slicer, loaded, volume)
    assert again.keys() == before.keys()
    assert all((again[name] == before[name]).all() for name in before)
    labels = slicer.util.arrayFromVolume(slicer.util.loadLabelVolume(str(out / "CT.nii.gz")))
    assert (labels.astype(bool) == np.any(list(before.values()), axis=0)).all()
