"""From a CT to files: the panel, the real controller, the real scene, and a worker process that only pretends."""

from __future__ import annotations

import os

import numpy as np
import pytest

from GenesisSegmentLib.core.workflow.states import State
from module_builders import PATIENCE_S, a_ct, result_of, segment, start, state

__all__ = ["start"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")


def test_ct_becomes_segments_that_can_be_reviewed(slicer_bench, start):
    host = start()
    volume = a_ct(slicer_bench)
    segment(slicer_bench, host)
    assert state(host) is State.REVIEWING, host.ui.statusLabel.text
    node = result_of(slicer_bench, host)
    names = [node.GetSegmentation().GetNthSegment(i).GetName() for i in range(2)]
    assert names == ["Right Kidney", "Liver"]
    table = host.ui.segmentsTable
    assert [table.item(row, 0).text() for row in range(table.rowCount)] == names
    kidney = slicer_bench.slicer.util.arrayFromSegmentBinaryLabelmap(node, "kidney_right", volume)
    where = np.zeros((12, 15, 18), bool)
    where[:4, :5, :6] = True  # low k, j, i: the fake's kidney
    assert (kidney.astype(bool) == where).all()


def test_values_that_were_clipped_are_told_with_the_result(slicer_bench, start):
    host = start()
    volume = a_ct(slicer_bench)
    voxels = slicer_bench.slicer.util.arrayFromVolume(volume).astype(np.int32)
    voxels[5, 5, 5] = 60000
    slicer_bench.slicer.util.updateVolumeFromArray(volume, voxels)
    segment(slicer_bench, host)
    assert "clipped" in host.ui.statusLabel.text
    assert "clipped" in result_of(slicer_bench, host).GetDescription()


def test_progress_and_cancel(slicer_bench, start):
    host = start("--on", "segment=busy")
    a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    host.click("segmentButton")
    slicer_bench.wait_until(lambda: host.ui.progressBar.value == 100, PATIENCE_S)
    assert not host.ui.progressFrame.isHidden()
    assert not host.ui.segmentButton.enabled
    host.click("cancelButton")
    slicer_bench.wait_until(lambda: state(host) is State.READY, PATIENCE_S)
    assert host.ui.progressFrame.isHidden()
    assert host.ui.segmentButton.enabled
    assert slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_worker_that_dies_leaves_the_scene_alone_and_can_be_asked_again(slicer_bench, start, tmp_path):
    host = start("--on", "segment=die:SIGKILL", "--once", str(tmp_path / "once"))
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    assert state(host) is State.FAILED
    assert "memory" in host.ui.statusLabel.text
    assert slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    host.click("dismissButton")
    assert state(host) is State.READY
    segment(slicer_bench, host)
    assert state(host) is State.REVIEWING


def test_run_goes_on_while_another_module_is_open(slicer_bench, start):
    host = start("--pause", "0.2")
    a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    host.click("segmentButton")
    host.exit()
    slicer_bench.wait_until(lambda: state(host) is State.REVIEWING, PATIENCE_S)
    assert not host.widget.panel._timer.active
    host.enter()
    assert host.ui.segmentsTable.rowCount == 2


def test_scene_closed_during_a_run_ends_it(slicer_bench, start):
    host = start("--on", "segment=busy")
    a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    host.click("segmentButton")
    host.close_scene()
    assert state(host) is State.NO_VOLUME
    slicer_bench.pump(300)
    assert slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_locked_reviewed_and_reset_reach_the_segments(slicer_bench, start):
    host = start()
    volume = a_ct(slicer_bench)
    segment(slicer_bench, host)
    node, table, qt = result_of(slicer_bench, host), host.ui.segmentsTable, slicer_bench.qt.Qt
    before = slicer_bench.slicer.util.arrayFromSegmentBinaryLabelmap(node, "liver", volume)
    slicer_bench.slicer.util.updateSegmentBinaryLabelmapFromArray(np.zeros_like(before), node, "liver", volume)
    slicer_bench.wait_until(lambda: table.cellWidget(1, 5).enabled, PATIENCE_S)  # the change was noticed and counted
    table.cellWidget(1, 5).click()
    table.item(0, 2).setCheckState(qt.Checked)
    table.item(1, 3).setCheckState(qt.Checked)

    def rows():
        return {row.segment.segment_id: row.segment for row in host.widget.panel.controller.view.correct.rows}

    slicer_bench.wait_until(lambda: rows()["liver"].is_reviewed, PATIENCE_S)
    assert rows()["kidney_right"].is_locked
    after = slicer_bench.slicer.util.arrayFromSegmentBinaryLabelmap(node, "liver", volume)
    assert (after == before).all()


def test_editor_opens_on_the_result(slicer_bench, start):
    host = start()
    volume = a_ct(slicer_bench)
    segment(slicer_bench, host)
    host.click("editButton")
    assert state(host) is State.CORRECTING
    editor = host.ui.segmentEditorWidget
    assert editor.segmentationNode() is result_of(slicer_bench, host)
    assert editor.sourceVolumeNode() is volume
    host.click("editButton")
    assert state(host) is State.REVIEWING
    assert editor.isHidden()


def test_result_is_written_and_comes_back_with_the_scene(slicer_bench, start, tmp_path):
    host = start()
    volume = a_ct(slicer_bench)
    segment(slicer_bench, host)
    out = tmp_path / "out"
    out.mkdir()
    host.ui.exportCollapsibleButton.collapsed = False
    host.ui.folderPathLineEdit.currentPath = str(out)
    boxes = {box.text: box for box in host.ui.formatsFrame.findChildren(slicer_bench.qt.QCheckBox)}
    for text in ("Label map (.nii.gz) with value table", "Measurements (.csv)"):
        boxes[text].click()
    host.click("exportButton")
    slicer_bench.wait_until(lambda: host.ui.progressFrame.isHidden(), PATIENCE_S)
    written = sorted(file.name for file in out.iterdir())
    assert "CT.seg.nrrd" in written, host.ui.statusLabel.text
    assert {"CT.nii.gz", "CT.csv"} <= set(written)
    liver = slicer_bench.slicer.util.arrayFromSegmentBinaryLabelmap(result_of(slicer_bench, host), "liver", volume)
    bundle = str(tmp_path / "scene.mrb")
    assert slicer_bench.slicer.util.saveScene(bundle)
    host.close_scene()
    slicer_bench.slicer.util.loadScene(bundle)
    slicer_bench.pump(0)
    assert state(host) is State.REVIEWING
    assert host.ui.segmentsTable.rowCount == 2
    volume = slicer_bench.slicer.util.getNode("CT")
    again = slicer_bench.slicer.util.arrayFromSegmentBinaryLabelmap(result_of(slicer_bench, host), "liver", volume)
    assert (again == liver).all()


def test_removed_segmentation_leaves_the_ct_to_be_segmented_again(slicer_bench, start):
    host = start()
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    host.click("editButton")
    slicer_bench.scene.RemoveNode(result_of(slicer_bench, host))
    slicer_bench.pump(0)
    assert host.ui.segmentsTable.isHidden()
    assert host.ui.segmentButton.enabled, host.ui.segmentButton.toolTip
    segment(slicer_bench, host)
    assert state(host) is State.REVIEWING


def test_self_test_says_what_it_found(slicer_bench, start):
    host = start()
    host.ui.showSetupButton.click()
    slicer_bench.pump(0)
    host.click("selfTestButton")
    slicer_bench.wait_until(lambda: host.ui.verdictsLabel.text, PATIENCE_S)
    assert host.ui.verdictsLabel.text == "The fake runs on cpu."


def test_script_can_segment_without_the_panel(slicer_bench, start):
    start()
    volume = a_ct(slicer_bench)
    import GenesisSegment

    node = GenesisSegment.GenesisSegmentLogic().segment(volume, classes=(6,))
    assert [node.GetSegmentation().GetNthSegmentID(i) for i in range(node.GetSegmentation().GetNumberOfSegments())] == [
        "liver"
    ]


def test_script_leaves_the_panel_and_what_it_keeps_alone(slicer_bench, start):
    from GenesisSegmentLib.mrml.parameters import load_parameters

    host = start()
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    host.widget.panel.controller.check_classes((2,), False)
    host.click("editButton")
    editor, kept = host.ui.segmentEditorWidget, load_parameters(slicer_bench.scene)
    before = editor.segmentationNode(), editor.sourceVolumeNode(), state(host), result_of(slicer_bench, host)
    nodes = slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode")
    import GenesisSegment

    other = a_ct(slicer_bench, "Other")
    for _twice in range(2):
        node = GenesisSegment.GenesisSegmentLogic().segment(other)
    assert node.GetSegmentation().GetSegment("kidney_right") is not None, "all classes, not those of the panel"
    assert load_parameters(slicer_bench.scene) == kept
    after = editor.segmentationNode(), editor.sourceVolumeNode(), state(host), result_of(slicer_bench, host)
    assert after == before
    assert slicer_bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == nodes


def test_self_test_of_the_module_runs_on_the_bench_too(slicer_bench, start):
    """The steps themselves; inside Slicer they were not run yet."""
    start()
    import GenesisSegment

    GenesisSegment.GenesisSegmentTest("test_panel").debug()
    GenesisSegment.GenesisSegmentTest("test_refusal").debug()
    GenesisSegment.GenesisSegmentTest("test_starter").debug()


@pytest.mark.parametrize("damage", ["moved", "emptied"])
def test_self_test_sees_a_result_that_is_not_on_the_ct(slicer_bench, start, monkeypatch, damage):
    start()
    from GenesisSegmentLib.ui import self_test

    real = self_test.segment

    def damaged(*arguments, **options):
        found = real(*arguments, **options)
        segmentation = slicer_bench.scene.GetNodeByID(found).GetSegmentation()
        image = segmentation.GetSegment("liver").GetRepresentation("Binary labelmap")
        if damage == "moved":
            x, y, z = image.GetOrigin()
            image.SetOrigin(x + 1.5, y, z)
        else:
            image.GetPointData().GetScalars().Fill(0)
            image.Modified()
        return found

    monkeypatch.setattr(self_test, "segment", damaged)
    with pytest.raises(self_test.SelfTestError, match="grid" if damage == "moved" else "no voxel"):
        self_test.starter_segments()


def test_views_are_drawn_once_while_a_result_is_put_in(slicer_bench, start, monkeypatch):
    from GenesisSegmentLib.mrml import result

    paused, real = [], result.put_layers
    app = type(slicer_bench.app)
    pause, resume = app.pauseRender, app.resumeRender
    monkeypatch.setattr(app, "pauseRender", lambda self: paused.append("paused") or pause(self))
    monkeypatch.setattr(app, "resumeRender", lambda self: paused.append("resumed") or resume(self))
    monkeypatch.setattr(result, "put_layers", lambda *a: paused.append("written") or real(*a))
    host = start()
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    assert paused == ["paused", "written", "resumed"]
