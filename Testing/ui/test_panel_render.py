"""The panels on the stand-ins of Qt: each view is shown as it is, and no rendering sends a command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.workflow.class_tree import class_tree
from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import Control, LearnPart
from panel_builders import (
    BUSY,
    NO_CT,
    OFFERED,
    a_view,
    exportable,
    reviewing,
    segment_part,
    setup_part,
    strip,
)


@pytest.fixture
def panel(make_panel):
    return make_panel()


def controls(ui):
    """The widgets that a view enables and disables."""
    names = (
        *("segmentButton", "cancelButton", "showLogButton", "installButton", "importModelButton", "selfTestButton"),
        *("editButton", "showProposalCheckBox", "showDifferenceCheckBox", "update3DButton", "exportButton"),
        *("paintUpButton", "paintDownButton", "showSetupButton", "volumeSelector"),
    )
    return [getattr(ui, name) for name in names]


@pytest.mark.parametrize("state", list(State))
def test_each_state_is_shown_without_sending_a_command(panel, state):
    panel.controller.said()
    panel.show(a_view(state))
    assert panel.controller.said() == []
    assert panel.ui.statusLabel.text == a_view(state).status.text


@pytest.mark.parametrize("state", list(State))
def test_every_widget_that_cannot_be_used_says_why(panel, state):
    panel.show(a_view(state))
    silent = [w.objectName for w in controls(panel.ui) if not w.enabled and not w.isHidden() and not w.toolTip]
    assert silent == []
    table = panel.ui.segmentsTable
    buttons = [table.cellWidget(row, 5) for row in range(table.rowCount)]
    assert [b.objectName for b in buttons if not b.enabled and not b.toolTip] == []
    checks = [table.item(row, column) for row in range(table.rowCount) for column in (1, 2, 3)]
    assert all(cell.toolTip() for cell in checks)


def test_reason_of_a_disabled_button_is_its_tooltip_with_the_key(panel):
    assert not panel.ui.segmentButton.enabled
    assert panel.ui.segmentButton.toolTip == f"{NO_CT} (Ctrl+Shift+G)"
    panel.show(a_view(State.PREDICTING))
    assert panel.ui.segmentButton.toolTip == f"{BUSY} (Ctrl+Shift+G)"
    assert panel.ui.cancelButton.enabled


def test_progress_is_shown_only_while_there_is_some(panel):
    assert panel.ui.progressFrame.isHidden()
    panel.show(a_view(State.PREDICTING))
    assert not panel.ui.progressFrame.isHidden()
    assert panel.ui.progressBar.value == 420
    assert panel.ui.timeLeftLabel.text == "about 50 s left"
    panel.show(a_view(State.REVIEWING))
    assert panel.ui.progressFrame.isHidden()


def test_failure_can_be_put_away_and_has_a_log(panel):
    assert panel.ui.dismissButton.isHidden()
    panel.show(a_view(State.FAILED))
    assert not panel.ui.dismissButton.isHidden()
    assert panel.ui.showLogButton.enabled
    assert not panel.ui.statusIconLabel.isHidden()


def test_set_up_appears_when_needed_or_when_asked_for(panel):
    assert panel.ui.setupCollapsibleButton.isHidden()
    panel.ui.showSetupButton.click()
    assert not panel.ui.setupCollapsibleButton.isHidden()
    panel.ui.showSetupButton.click()
    assert panel.ui.setupCollapsibleButton.isHidden()
    panel.show(a_view(State.NEEDS_SETUP))
    assert not panel.ui.setupCollapsibleButton.isHidden()
    table = panel.ui.packagesTable
    assert [table.item(0, column).text() for column in range(3)] == [
        "onnxruntime\nRuns the starter model",
        "MIT",
        "17 MB",
    ]
    assert table.item(2, 2).text() == "installed"


def test_verdicts_of_the_self_test_are_lines(panel):
    panel.show(a_view(setup=setup_part(verdicts=("onnxruntime 1.22: ok", "CPU: 0.8 s for one window"))))
    assert panel.ui.verdictsLabel.text.splitlines() == ["onnxruntime 1.22: ok", "CPU: 0.8 s for one window"]


def test_notes_take_no_room_while_they_are_empty(panel):
    assert panel.ui.volumeNoteLabel.isHidden()
    panel.show(a_view(segment=segment_part(volume_note="This volume has 3 components, a CT has one.")))
    assert not panel.ui.volumeNoteLabel.isHidden()


def test_model_that_cannot_be_used_is_on_the_list_but_disabled(panel):
    panel.show(a_view())
    combo = panel.ui.modelComboBox
    assert [combo.model().item(i).isEnabled() for i in range(3)] == [True, True, False]
    assert combo.currentText == "Starter"
    panel.show(a_view(segment=segment_part(model="universal_unet")))
    assert combo.currentText == "Universal Model, U-Net"
    assert combo.toolTip == "25 organs and 7 kinds of lesion."


def lines(tree):
    """Texts of the visible top lines."""
    items = [tree.topLevelItem(i) for i in range(tree.topLevelItemCount)]
    return [item.text(0) for item in items if not item.isHidden()]


def test_search_hides_lines_and_keeps_the_rest_in_order(panel):
    tree = panel.ui.classTree
    everything = lines(tree)
    assert everything[:2] == ["All organs", "All lesions"]
    first = tree.topLevelItem(0)
    panel.show(a_view(segment=segment_part(search="kidney", tree=class_tree(OFFERED, OFFERED, "kidney"))))
    assert "Kidneys" in lines(tree)
    assert "Lungs" not in lines(tree)
    assert first.text(0) == "All organs"
    panel.show(a_view())
    assert lines(tree) == everything


def test_tree_built_under_a_search_has_the_usual_order_afterwards(slicer_bench):
    from GenesisSegmentLib.ui.class_tree import ClassTree

    tree = slicer_bench.qt.QTreeWidget()
    shown = ClassTree(tree, lambda *_: None)
    shown.render(class_tree(OFFERED, OFFERED, "lung"), True)
    shown.render(class_tree(OFFERED, OFFERED), False)
    assert lines(tree) == [row.text for row in class_tree(OFFERED, OFFERED)]
    organs = tree.topLevelItem(0)
    children = [organs.child(i).text(0) for i in range(organs.childCount())]
    assert children == [row.text for row in class_tree(OFFERED, OFFERED)[0].children]


def test_group_of_which_some_classes_are_ticked_is_half_ticked(panel, slicer_bench):
    panel.show(a_view(segment=segment_part(tree=class_tree(OFFERED, (2,)))))
    tree, qt = panel.ui.classTree, slicer_bench.qt.Qt
    assert tree.topLevelItem(0).checkState(0) == qt.PartiallyChecked
    assert tree.topLevelItem(1).isDisabled()
    assert tree.topLevelItem(1).toolTip(0) == "Not offered by this model."


def test_segments_table_follows_the_segmentation(panel, slicer_bench):
    panel.show(a_view(State.REVIEWING))
    table, qt = panel.ui.segmentsTable, slicer_bench.qt.Qt
    assert table.rowCount == len(OFFERED)
    assert table.item(0, 0).text() == "Spleen"
    assert [table.item(0, column).checkState() for column in (1, 2, 3)] == [qt.Checked, qt.Checked, qt.Checked]
    assert table.item(3, 4).text() == "12,840"
    assert table.cellWidget(3, 5).enabled
    assert not table.cellWidget(0, 5).enabled
    assert table.currentRow() == 3  # the selected segment, the liver
    kept = table.item(1, 0)
    view = a_view(State.REVIEWING)
    row = view.correct.rows[1]
    renamed = replace(row, segment=replace(row.segment, name="Kidney R"))
    rows = (view.correct.rows[0], renamed, *view.correct.rows[2:])
    panel.show(replace(view, correct=replace(view.correct, rows=rows)))
    assert kept.text() == "Kidney R"
    panel.show(a_view(State.NO_VOLUME))
    assert table.isHidden()
    assert table.rowCount == 0


def test_part_of_the_learner_stays_hidden_until_there_is_one(panel):
    assert panel.ui.learnCollapsibleButton.isHidden()
    panel.show(replace(a_view(), learn=LearnPart(is_visible=True)))
    assert not panel.ui.learnCollapsibleButton.isHidden()


def test_paint_order_is_shown_only_where_classes_overlap(panel):
    assert panel.ui.paintFrame.isHidden()
    panel.show(a_view(State.REVIEWING))
    paint = panel.ui.paintOrderList
    assert [paint.item(i).text() for i in range(paint.count)] == ["Liver", "Right Kidney", "Liver Tumor"]
    panel.ui.exportCollapsibleButton.collapsed = False
    assert panel.ui.paintUpButton.toolTip == "Choose a class in the list first."
    paint.setCurrentRow(0)
    assert not panel.ui.paintUpButton.enabled
    assert panel.ui.paintDownButton.enabled


def test_written_files_are_counted_with_a_link_to_their_folder(panel):
    files = ("/data/results/CT.seg.nrrd", "/data/results/CT.csv")
    panel.show(a_view(State.REVIEWING, export=exportable(last_files=files)))
    assert panel.ui.lastFilesLabel.text == 'Written: 2 files in <a href="file:///data/results">results</a>'


def test_unchanged_part_is_not_rendered_again(panel, monkeypatch):
    from GenesisSegmentLib.ui.segment_panel import SegmentPanel

    rendered = []
    monkeypatch.setattr(SegmentPanel, "render", lambda self, part: rendered.append(part))
    panel.show(a_view(State.READY))
    panel.show(replace(a_view(State.READY), status=strip("Ready")))
    assert len(rendered) == 1


def test_editor_is_shown_while_correcting(panel):
    assert panel.ui.segmentEditorWidget.isHidden()
    panel.show(a_view(State.CORRECTING))
    assert not panel.ui.segmentEditorWidget.isHidden()
    assert panel.ui.editButton.checked
    panel.show(a_view(State.REVIEWING, correct=reviewing(edit=Control(True, "Opens the Segment Editor."))))
    assert panel.ui.segmentEditorWidget.isHidden()
    assert not panel.ui.editButton.checked


def test_folded_part_keeps_what_is_hidden_in_it(panel):
    part = panel.ui.segmentCollapsibleButton
    part.collapsed = True
    panel.show(a_view(State.READY))
    assert not panel.ui.estimateLabel.isHidden()
    part.collapsed = False
    assert panel.ui.estimateLabel.visible
    assert panel.ui.volumeNoteLabel.isHidden()
