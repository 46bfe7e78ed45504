"""What a person does in the panel reaches the controller once, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from GenesisSegmentLib.core.strokes import TOOLS
from GenesisSegmentLib.core.workflow.class_tree import class_tree
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import Control
from panel_builders import OFFERED, a_view, reviewing, segment_part, setup_part


@pytest.fixture
def panel(make_panel):
    return make_panel()


BUTTONS = [
    ("segmentButton", State.READY, ("segment",)),
    ("cancelButton", State.PREDICTING, ("cancel",)),
    ("dismissButton", State.FAILED, ("dismiss",)),
    ("installButton", State.NEEDS_SETUP, ("install",)),
    ("editButton", State.REVIEWING, ("edit", True)),
    ("editButton", State.CORRECTING, ("edit", False)),
    ("showProposalCheckBox", State.REVIEWING, ("show_proposal", True)),
    ("showDifferenceCheckBox", State.REVIEWING, ("show_difference", True)),
    ("update3DButton", State.REVIEWING, ("update_3d",)),
    ("exportButton", State.REVIEWING, ("export",)),
    *((f"{tool}Button", State.REVIEWING, ("choose_tool", tool)) for tool in TOOLS),
    ("addButton", State.REVIEWING, ("set_adding", False)),
]


@pytest.mark.parametrize(("name", "state", "command"), BUTTONS)
def test_button_sends_its_command_once(panel, name, state, command):
    panel.show(a_view(state))
    panel.controller.said()
    getattr(panel.ui, name).click()
    assert panel.controller.said() == [command]


@pytest.mark.parametrize(("name", "state"), [("segmentButton", State.PREDICTING), ("exportButton", State.NO_VOLUME)])
def test_disabled_button_sends_nothing(panel, name, state):
    panel.show(a_view(state))
    panel.controller.said()
    getattr(panel.ui, name).click()
    assert panel.controller.said() == []


def test_self_test_and_download_are_sent(panel):
    get = Control(True, "Downloads the chosen model.")
    panel.show(a_view(setup=setup_part(is_visible=True), segment=segment_part(get_model=get)))
    panel.controller.said()
    panel.ui.selfTestButton.click()
    panel.ui.getModelButton.click()
    assert panel.controller.said() == [("self_test",), ("download_model",)]


def test_model_file_is_asked_for_and_sent(panel, slicer_bench):
    panel.show(a_view(setup=setup_part(is_visible=True)))
    panel.controller.said()
    panel.ui.importModelButton.click()
    assert panel.controller.said() == []  # no file was chosen
    slicer_bench.dialogs.answers.append("/data/model.pth")
    panel.ui.importModelButton.click()
    assert panel.controller.said() == [("import_model", Path("/data/model.pth"))]


def test_chosen_volume_is_sent_by_id(panel, slicer_bench):
    import numpy as np

    volume = slicer_bench.slicer.util.addVolumeFromArray(np.zeros((3, 3, 3), np.int16), name="CT")
    assert panel.controller.said() == []  # a new volume is not chosen by itself
    panel.ui.volumeSelector.setCurrentNode(volume)
    assert panel.controller.said() == [("choose_volume", volume.GetID())]
    assert panel.ui.volumeSelector.currentNode() is None  # the controller did not take it: neither does the selector


def test_label_map_and_vector_volume_cannot_be_chosen(panel, slicer_bench):
    for name in ("vtkMRMLLabelMapVolumeNode", "vtkMRMLVectorVolumeNode"):
        slicer_bench.scene.AddNewNodeByClass(name)
    slicer_bench.pump(0)
    assert panel.ui.volumeSelector.nodeCount() == 0


def test_choice_in_a_combo_box_is_sent_once_and_put_back_where_it_was_refused(panel):
    combo = panel.ui.modelComboBox
    combo.setCurrentIndex(1)
    combo.activated.emit(1)
    assert panel.controller.said() == [("choose_model", "universal_unet")]
    assert combo.currentText == "Starter"
    panel.ui.deviceComboBox.activated.emit(2)
    assert panel.controller.said() == [("choose_device", "cuda:0")]


def test_typing_searches(panel):
    panel.ui.searchLineEdit.setText("liv")
    assert panel.controller.said() == [("search", "liv")]


def test_tick_of_a_class_and_of_a_group_are_sent(panel, slicer_bench):
    qt = slicer_bench.qt.Qt
    panel.show(a_view(segment=segment_part(tree=class_tree(OFFERED, (2,)))))
    panel.controller.said()
    organs = panel.ui.classTree.topLevelItem(0)
    organs.child(0).setCheckState(0, qt.Checked)
    assert panel.controller.said() == [("check_classes", (1,), True)]
    organs.setCheckState(0, qt.Checked)
    assert panel.controller.said() == [("check_classes", OFFERED, True)]
    assert organs.checkState(0) == qt.PartiallyChecked  # the controller has not changed its view


def test_ticks_in_the_table_of_segments_are_sent(panel, slicer_bench):
    qt = slicer_bench.qt.Qt
    panel.show(a_view(State.REVIEWING))
    panel.controller.said()
    table = panel.ui.segmentsTable
    table.item(1, 1).setCheckState(qt.Unchecked)
    table.item(1, 2).setCheckState(qt.Checked)
    table.item(1, 3).setCheckState(qt.Checked)
    assert panel.controller.said() == [
        ("set_visible", "kidney_right", False),
        ("set_locked", "kidney_right", True),
        ("set_reviewed", "kidney_right", True),
    ]


def test_reset_and_selection_of_a_segment_are_sent(panel):
    panel.show(a_view(State.REVIEWING))
    panel.controller.said()
    panel.ui.segmentsTable.cellWidget(3, 5).click()
    assert panel.controller.said() == [("reset_segment", "liver")]
    panel.ui.segmentsTable.selectRow(1)
    assert panel.controller.said() == [("select_segment", "kidney_right")]


def test_table_that_was_made_anew_still_sends_for_the_right_segment(panel):
    panel.show(a_view(State.REVIEWING))
    rows = reviewing().rows[2:]
    panel.show(a_view(State.REVIEWING, correct=reviewing(rows=rows)))
    panel.controller.said()
    panel.ui.segmentsTable.cellWidget(1, 5).click()
    assert panel.controller.said() == [("reset_segment", "liver")]


def test_formats_are_sent_in_their_order(panel, slicer_bench):
    panel.show(a_view(State.REVIEWING))
    panel.controller.said()
    boxes = {b.text: b for b in panel.ui.formatsFrame.findChildren(slicer_bench.qt.QCheckBox)}
    boxes["Surfaces (.stl)"].click()
    assert panel.controller.said() == [("choose_formats", ("seg.nrrd", "nii.gz", "stl", "csv"))]
    assert not boxes["DICOM SEG"].enabled
    assert boxes["DICOM SEG"].toolTip


def test_class_is_moved_in_the_paint_order(panel):
    panel.show(a_view(State.REVIEWING))
    panel.ui.exportCollapsibleButton.collapsed = False
    panel.ui.paintOrderList.setCurrentRow(1)
    panel.controller.said()
    panel.ui.paintUpButton.click()
    panel.ui.paintDownButton.click()
    assert panel.controller.said() == [("move_paint", 2, -1), ("move_paint", 2, 1)]


def test_folder_is_sent_as_a_path(panel):
    panel.show(a_view(State.REVIEWING))
    panel.controller.said()
    panel.ui.folderPathLineEdit.currentPath = "/data/other"
    assert panel.controller.said() == [("choose_folder", Path("/data/other"))]


def test_log_is_opened_where_it_lies(panel, slicer_bench, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer_bench.qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    panel.show(a_view(State.FAILED))
    panel.ui.showLogButton.click()
    assert opened == ["/tmp/worker.log"]


def test_shortcut_clicks_its_button_and_respects_that_it_is_disabled(panel):
    panel.module.enter()
    shortcuts = {s.key.toString(): s for s in panel.module._shortcuts._shortcuts}
    panel.show(a_view(State.READY))
    panel.controller.said()
    shortcuts["Ctrl+Shift+G"].activated.emit()
    assert panel.controller.said() == [("segment",)]
    panel.show(a_view(State.PREDICTING))
    shortcuts["Ctrl+Shift+G"].activated.emit()
    assert panel.controller.said() == []
    assert "(Ctrl+Shift+G)" in panel.ui.segmentButton.toolTip


def test_timer_goes_on_after_the_module_was_left_until_the_run_has_ended(panel):
    panel.module.enter()
    panel.show(a_view(State.PREDICTING))
    panel.module.exit()
    assert panel.module._timer.active
    panel.show(a_view(State.REVIEWING))
    assert not panel.module._timer.active


@pytest.fixture
def segmentation(slicer_bench):
    """A segmentation with two segments, beside its CT."""
    import numpy as np

    slicer = slicer_bench.slicer
    volume = slicer.util.addVolumeFromArray(np.zeros((8, 8, 8), np.int16), name="CT")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


def correcting(node, **changes):
    part = reviewing(edit=Control(True, "", is_checked=True), segmentation_id=node.GetID(), selected="", **changes)
    return a_view(State.CORRECTING, correct=part)


def test_editor_works_on_the_segmentation_and_its_ct(panel, slicer_bench, segmentation):
    panel.module.enter()
    panel.show(correcting(segmentation))
    editor = panel.ui.segmentEditorWidget
    assert editor.segmentationNodeID() == segmentation.GetID()
    assert editor.sourceVolumeNode().GetName() == "CT"
    mode = slicer_bench.slicer.vtkMRMLSegmentEditorNode.OverwriteNone
    assert editor.mrmlSegmentEditorNode().GetOverwriteMode() == mode
    editor.setCurrentSegmentID("spleen")
    assert ("select_segment", "spleen") in panel.controller.said()
    assert panel.editor.logic.GetSegmentEditorNode() is editor.mrmlSegmentEditorNode()


def test_segmentation_that_is_gone_is_not_edited(panel, slicer_bench, segmentation):
    panel.module.enter()
    panel.show(correcting(segmentation))
    slicer_bench.scene.RemoveNode(segmentation)
    gone = reviewing(edit=Control(True, "", is_checked=True), segmentation_id="vtkMRMLSegmentationNode99", selected="")
    panel.show(a_view(State.CORRECTING, correct=gone))
    assert not panel.ui.segmentEditorWidget._shortcuts


def test_editor_listens_to_keys_only_while_it_is_shown_in_the_open_module(panel, segmentation):
    editor = panel.ui.segmentEditorWidget
    heard = []
    panel.show(correcting(segmentation))
    heard.append(editor._shortcuts)
    panel.module.enter()
    heard.append(editor._shortcuts)
    panel.module.exit()
    heard.append(editor._shortcuts)
    panel.module.enter()
    panel.show(a_view(State.REVIEWING))
    heard.append(editor._shortcuts)
    assert heard == [False, True, False, False]


def test_editor_lets_go_of_everything_before_the_scene_closes(panel, slicer_bench, segmentation):
    panel.module.enter()
    panel.show(correcting(segmentation))
    panel.module.scene_about_to_close()
    editor = panel.ui.segmentEditorWidget
    assert editor.mrmlSegmentEditorNode() is None
    assert panel.editor.logic.GetSegmentEditorNode() is None
    slicer_bench.scene.Clear(0)
    panel.module.scene_closed()
    assert editor.mrmlSegmentEditorNode() is not None
    assert [call[0] for call in panel.controller.said()][-2:] == ["scene_about_to_close", "scene_closed"]


def test_many_changes_of_the_segmentation_are_told_once(panel, slicer_bench, segmentation):
    panel.show(a_view(State.REVIEWING, correct=reviewing(segmentation_id=segmentation.GetID())))
    panel.controller.said()
    for name in ("a", "b", "c"):
        segmentation.GetSegmentation().AddEmptySegment(name, name)
    slicer_bench.wait_until(lambda: panel.controller.calls, 3)
    slicer_bench.pump(300)
    assert panel.controller.said() == [("segmentation_edited", ())]
    panel.show(a_view(State.NO_VOLUME))
    segmentation.GetSegmentation().AddEmptySegment("d", "d")
    slicer_bench.pump(350)
    assert panel.controller.said() == []


def test_removed_nodes_are_told_if_they_may_matter(panel, slicer_bench, segmentation):
    model = slicer_bench.scene.AddNewNodeByClass("vtkMRMLModelNode")
    panel.controller.said()
    panel.module.node_removed(model)
    panel.module.node_removed(segmentation)
    assert panel.controller.said() == [("volume_removed", segmentation.GetID())]


def test_command_is_followed_by_what_the_controller_says(panel):
    """A check box that the controller does not confirm falls back."""
    panel.show(a_view(State.REVIEWING))
    panel.ui.showProposalCheckBox.click()
    assert not panel.ui.showProposalCheckBox.checked


def test_ticks_come_sooner_while_work_is_done_in_pieces_and_then_as_before(panel, slicer_bench):
    timer = panel.module._timer
    panel.module.enter()
    usual = timer.interval
    panel.module.exit()
    panel.show(replace(a_view(State.REVIEWING), is_working=True))
    assert timer.active
    assert 0 < timer.interval < 20 < usual
    panel.controller.calls.clear()
    slicer_bench.wait_until(lambda: ("tick",) in panel.controller.calls)
    panel.show(a_view(State.REVIEWING))
    assert not timer.active
    assert timer.interval == usual
