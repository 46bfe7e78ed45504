"""GenesisSegment.py as Slicer would run it, on the bench: opened, left, reloaded, scenes closed and read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import GenesisSegmentLib

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "GenesisSegment" / "GenesisSegment.py"
HEAVY = ("torch", "monai", "onnxruntime", "SimpleITK", "scipy", "pip", "requests")


@pytest.fixture
def host(slicer_bench):
    return slicer_bench.start(MODULE)


def a_ct(bench, name="CT", size=20):
    voxels = np.full((size, size, size), -1000, np.int16)
    voxels[4:-4, 4:-4, 4:-4] = 40
    return bench.slicer.util.addVolumeFromArray(voxels, name=name)


def test_module_presents_itself(slicer_bench):
    host = slicer_bench.load(MODULE)
    parent = host.module_object.parent
    assert parent.title == "GenesisSegment"
    assert list(parent.categories) == ["Segmentation"]
    assert not parent.icon.isNull()
    assert "Not for clinical use" in parent.helpText
    assert "Universal" in parent.acknowledgementText
    assert "SegmentEditor" in parent.dependencies


def test_sample_data_are_told_when_slicer_has_started(slicer_bench):
    import SampleData

    slicer_bench.load(MODULE)
    assert SampleData.sources == []
    slicer_bench.app.startupCompleted.emit()
    assert [source["nodeNames"] for source in SampleData.sources] == ["CTLiver", "CTAAbdomenPanoramix", "CTChest"]


def test_opening_the_module_installs_starts_and_asks_nothing(slicer_bench, host):
    from bench import packaging_stand_in

    assert packaging_stand_in.calls == []
    assert slicer_bench.dialogs.shown == []
    assert not host.widget.panel.controller._worker.is_running


def test_cts_that_a_killed_slicer_left_go_when_the_module_is_opened(slicer_bench):
    from GenesisSegmentLib.core.leftovers import new_folder, release
    from GenesisSegmentLib.ui.launch import bulk_folder

    bulk_folder().mkdir(parents=True)
    left, lock = new_folder(bulk_folder())
    (left / "voxels.i2").write_bytes(b"the CT")
    release(lock)
    slicer_bench.load(MODULE).start()
    slicer_bench.wait_until(lambda: not left.exists(), 20)


def test_segment_editor_can_name_segments_after_our_classes_once_the_module_was_opened(slicer_bench):
    import vtk

    from GenesisSegmentLib.core.terminology import CATEGORY_CONTEXT, REGION_CONTEXT

    logic, names, regions = slicer_bench.mrml.logics["Terminologies"], vtk.vtkStringArray(), vtk.vtkStringArray()
    host = slicer_bench.load(MODULE)
    logic.GetLoadedTerminologyNames(names)
    assert CATEGORY_CONTEXT not in [names.GetValue(i) for i in range(names.GetNumberOfValues())]
    host.start()
    logic.GetLoadedTerminologyNames(names)
    assert CATEGORY_CONTEXT in [names.GetValue(i) for i in range(names.GetNumberOfValues())]
    logic.GetLoadedRegionContextNames(regions)
    assert REGION_CONTEXT in [regions.GetValue(i) for i in range(regions.GetNumberOfValues())]


def test_neighbours_are_safe_from_brushes_in_the_next_scene_too(slicer_bench, host):
    editor, none = host.ui.segmentEditorWidget, slicer_bench.slicer.vtkMRMLSegmentEditorNode.OverwriteNone
    assert editor.mrmlSegmentEditorNode().GetOverwriteMode() == none
    host.close_scene()
    assert editor.mrmlSegmentEditorNode().GetOverwriteMode() == none
    host.exit()
    host.close_scene()
    host.enter()
    assert editor.mrmlSegmentEditorNode().GetOverwriteMode() == none


def test_volume_of_the_scene_can_be_chosen(slicer_bench, host):
    volume = a_ct(slicer_bench)
    assert not host.ui.segmentButton.enabled
    host.choose("volumeSelector", "CT")
    assert host.widget.panel.controller.view.segment.volume_id == volume.GetID()
    host.ui.volumeSelector.setCurrentNode(None)
    assert host.widget.panel.controller.view.segment.volume_id == ""
    assert host.ui.segmentButton.toolTip.startswith("Choose a CT first")


def test_removed_volume_is_not_chosen_any_more(slicer_bench, host):
    volume = a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    slicer_bench.scene.RemoveNode(volume)
    slicer_bench.pump(0)
    assert host.widget.panel.controller.view.segment.volume_id == ""


def test_choice_survives_saving_and_reading_the_scene(slicer_bench, host, tmp_path):
    a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    tree = host.ui.classTree
    tree.topLevelItem(0).setCheckState(0, slicer_bench.qt.Qt.Unchecked)
    assert not host.ui.segmentButton.enabled
    bundle = str(tmp_path / "scene.mrb")
    assert slicer_bench.slicer.util.saveScene(bundle)
    host.close_scene()
    assert host.ui.volumeSelector.currentNode() is None
    tree.topLevelItem(0).setCheckState(0, slicer_bench.qt.Qt.Checked)
    slicer_bench.slicer.util.loadScene(bundle)
    slicer_bench.pump(0)
    assert host.ui.volumeSelector.currentNode().GetName() == "CT"
    assert tree.topLevelItem(0).checkState(0) == slicer_bench.qt.Qt.Unchecked


def test_settings_are_kept_for_the_next_time(slicer_bench, host, tmp_path):
    host.choose("deviceComboBox", host.ui.deviceComboBox.itemText(host.ui.deviceComboBox.count - 1))
    (tmp_path / "out").mkdir()
    host.ui.folderPathLineEdit.currentPath = str(tmp_path / "out")
    device = host.ui.deviceComboBox.currentText
    host.cleanup()
    again = slicer_bench.start(MODULE)
    assert again.ui.folderPathLineEdit.currentPath == str(tmp_path / "out")
    assert again.ui.deviceComboBox.currentText == device


def test_half_typed_folder_is_left_as_it_is(host, tmp_path):
    host.ui.folderPathLineEdit.currentPath = f"{tmp_path}/"
    assert host.ui.folderPathLineEdit.currentPath == f"{tmp_path}/"
    host.ui.folderPathLineEdit.currentPath = ""
    assert host.ui.folderPathLineEdit.currentPath == ""


def test_timer_runs_only_while_the_module_is_open(host):
    timer = host.widget.panel._timer
    assert timer.active
    host.exit()
    assert not timer.active
    host.enter()
    assert timer.active


def test_shortcuts_work_only_while_the_module_is_open(host):
    shortcuts = host.widget.panel._shortcuts._shortcuts
    assert shortcuts
    assert all(s.enabled for s in shortcuts)
    host.exit()
    assert not any(s.enabled for s in shortcuts)


def test_module_can_be_left_closed_and_reloaded(slicer_bench, host):
    a_ct(slicer_bench)
    host.choose("volumeSelector", "CT")
    before = host.widget
    before.onReload()
    assert host.widget is not before
    host.enter()
    assert host.ui.volumeSelector.currentNode().GetName() == "CT"
    host.close_scene()
    host.cleanup()
    slicer_bench.scene.Clear(0)
    assert before.panel is None


def test_closing_the_scene_with_the_module_never_opened_is_harmless(slicer_bench):
    host = slicer_bench.load(MODULE).setup()
    a_ct(slicer_bench)
    host.close_scene()
    assert host.ui.volumeSelector.currentNode() is None


def test_module_opens_without_network_pip_and_deep_learning(tmp_path):
    script = f"""
import socket, subprocess, sys
from pathlib import Path
sys.path[:0] = [{str(ROOT / "Testing")!r}, {str(MODULE.parent)!r}]
from bench import mrml_app, slicer_app
app = slicer_app.install()
mrml = mrml_app.MrmlApp().install()
slicer_app.use_folder(app, Path({str(tmp_path)!r}))
slicer_app.use_scene(app, mrml)
there = set(sys.modules)
def refuse(*_, **__):
    raise AssertionError("network or process")
socket.socket = subprocess.Popen = refuse
from bench.host import ModuleHost
host = ModuleHost(Path({str(MODULE)!r})).start()
app.startupCompleted.emit()
host.exit()
host.cleanup()
print(*sorted(name for name in {HEAVY!r} if name in set(sys.modules) - there))
"""
    pytest.importorskip("slicer")
    pytest.importorskip("PySide6")
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr


def test_library_is_that_of_the_checkout():
    assert Path(GenesisSegmentLib.__file__).is_relative_to(ROOT)
