"""Accept and the Learn part on the stand-ins of Qt."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import Control, LearnPart
from panel_builders import a_view, learn_part, reviewing

BUTTONS = ("learnButton", "pauseLearningButton", "stopLearningButton", "useVersionButton", "goBackButton")


@pytest.fixture
def panel(make_panel):
    panel = make_panel()
    panel.ui.learnCollapsibleButton.collapsed = False
    panel.controller.said()
    return panel


def shown(panel, **changes):
    panel.show(a_view(State.REVIEWING, learn=learn_part(**changes)))
    return panel.ui


def test_the_part_is_hidden_without_anything_accepted(panel):
    assert panel.ui.learnCollapsibleButton.isHidden()
    ui = shown(panel)
    assert not ui.learnCollapsibleButton.isHidden()
    panel.show(a_view(State.REVIEWING, learn=LearnPart()))
    assert ui.learnCollapsibleButton.isHidden()


def test_unfolding_asks_for_what_is_shown(panel):
    panel.ui.learnCollapsibleButton.collapsed = True
    panel.ui.learnCollapsibleButton.collapsed = False
    assert panel.controller.said() == [("show_learn", False), ("show_learn", True)]


def test_rendering_sends_nothing(panel):
    shown(panel)
    shown(panel, count=9, time="06:05", automatic="time")
    assert panel.controller.said() == []


def test_a_round_is_shown(panel):
    ui = shown(panel)
    assert ui.roundProgressBar.value == 400
    assert ui.roundTimeLeftLabel.text == "about 10 min left"
    assert ui.roundLabel.text == "Training: step 120, loss 0.312"
    assert "9 corrections of 4 cases" in ui.learnCountsLabel.text
    shown(panel, fraction=None, round_text="")
    assert ui.roundFrame.isHidden()
    assert ui.roundLabel.isHidden()


def test_the_table_has_a_row_for_each_class(panel):
    table = shown(panel).scoresTable
    texts = [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]
    assert texts[0] == ["Liver", "0.811", "0.874", "6", "better"]
    assert [row[0] for row in texts] == ["Liver", "Spleen", "Pancreas"]
    colors = [table.item(row, 4).foreground().color().name() for row in range(2)]
    assert colors == ["#008000", "#c00000"]
    assert "p = 0.016" in table.item(0, 4).toolTip()
    shown(panel, rows=())
    assert table.isHidden()


def test_every_button_that_cannot_be_used_says_why(panel):
    ui = shown(panel)
    for name in (*BUTTONS, "openReportButton"):
        button = getattr(ui, name)
        assert button.toolTip, name
    assert not ui.learnButton.enabled
    assert ui.learnButton.toolTip == "A round is on already."
    assert not ui.goBackButton.enabled


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("installLearningButton", ("install_learning",)),
        ("learnButton", ("learn",)),
        ("pauseLearningButton", ("pause_learning", True)),
        ("stopLearningButton", ("stop_learning",)),
        ("useVersionButton", ("use_version",)),
        ("goBackButton", ("go_back",)),
    ],
)
def test_button_sends_its_command_once(panel, name, command):
    able = Control(True, "It can be used.")
    ui = shown(panel, install=able, learn=able, pause=able, stop=able, use=able, back=able)
    getattr(ui, name).click()
    assert panel.controller.said() == [command]


def test_paused_round_goes_on_with_the_same_button(panel):
    ui = shown(panel, pause=Control(True, "Goes on.", is_checked=True), pause_text="Go on")
    assert ui.pauseLearningButton.text == "Go on"
    assert ui.pauseLearningButton.checked
    ui.pauseLearningButton.click()
    assert panel.controller.said() == [("pause_learning", False)]


def test_when_rounds_begin_is_sent_whole(panel, slicer_bench):
    ui = shown(panel)
    assert (ui.learnCountSpinBox.isHidden(), ui.learnTimeEdit.isHidden()) == (False, True)
    ui.learnCountSpinBox.setValue(12)
    assert panel.controller.said() == [("set_automatic", "count", 12, "21:30")]
    ui = shown(panel, automatic="time", time_box=Control(True, "At this time."))
    ui.learnTimeEdit.setTime(slicer_bench.qt.QTime.fromString("06:45", "HH:mm"))
    assert panel.controller.said() == [("set_automatic", "time", 7, "06:45")]
    ui.learnAutomaticComboBox.setCurrentIndex(0)
    ui.learnAutomaticComboBox.activated.emit(0)
    assert panel.controller.said()[-1][:2] == ("set_automatic", "off")


def test_the_report_is_opened_where_it_lies(panel, slicer_bench, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer_bench.qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    shown(panel).openReportButton.click()
    assert opened == ["/data/report.html"]


def test_accept_is_sent_and_shows_that_it_is_at_work(panel):
    panel.show(a_view(State.REVIEWING))
    assert panel.ui.acceptButton.text == "Accept reviewed structures"
    panel.ui.acceptButton.click()
    assert panel.controller.said() == [("accept",)]
    busy = reviewing(accept=Control(False, "It is being written to disk."), accept_text="Accepting...")
    panel.show(a_view(State.REVIEWING, correct=busy))
    assert panel.ui.acceptButton.text == "Accepting..."
    assert not panel.ui.acceptButton.enabled
    assert panel.ui.acceptButton.toolTip == "It is being written to disk."
    panel.ui.acceptButton.click()
    assert panel.controller.said() == []


def test_accept_is_hidden_where_there_is_no_place_for_corrections(panel):
    panel.show(a_view(State.REVIEWING, correct=reviewing(accept=Control(False, "No.", is_visible=False))))
    assert panel.ui.acceptButton.isHidden()


def test_tools_that_changed_voxels_are_told_and_those_that_did_not_are_not(panel, slicer_bench):
    slicer = slicer_bench.slicer
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    panel.show(a_view(State.CORRECTING, correct=reviewing(segmentation_id=segmentation.GetID())))
    panel.editor.prepare()
    parameters = panel.ui.segmentEditorWidget.mrmlSegmentEditorNode()
    panel.controller.said()
    for effect, is_edit in (("Scissors", False), ("Paint", True), ("Erase", True), ("", True)):
        parameters.SetActiveEffectName(effect)
        event = slicer.vtkSegmentation.SourceRepresentationModified if is_edit else slicer.vtkSegmentation.SegmentAdded
        segmentation.GetSegmentation().InvokeEvent(event)
    slicer_bench.wait_until(lambda: panel.controller.calls, 5)
    assert panel.controller.said() == [("segmentation_edited", ("Erase", "Paint"))]
