"""The bench loads a module of the usual shape and drives its panel on the real MRML scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SAMPLE = Path(__file__).parents[1] / "bench" / "sample" / "BenchSample.py"


@pytest.fixture
def sample(slicer_bench):
    return slicer_bench.start(SAMPLE)


def a_volume(bench, name="CT"):
    return bench.slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), np.int16), name=name)


def test_a_module_goes_through_its_life_cycle(slicer_bench, sample):
    log = sample.widget.log
    sample.close_scene()
    sample.exit()
    sample.cleanup()
    assert log == ["enter", "close", "exit", "cleanup"]
    slicer_bench.scene.Clear(0)
    assert log[-1] == "cleanup"  # its observers are gone


def test_a_volume_of_the_scene_can_be_chosen_and_processed(slicer_bench, sample):
    volume = a_volume(slicer_bench)
    with pytest.raises(AssertionError, match="applyButton is disabled"):
        sample.click("applyButton")
    sample.choose("volumeSelector", "CT")
    assert sample.ui.statusLabel.text == "CT"
    slicer_bench.dialogs.answers.append(True)
    sample.click("applyButton")
    assert sample.ui.progressBar.value == 100
    assert slicer_bench.slicer.util.arrayFromVolume(volume).min() == 1
    assert sample.widget.logic.getParameterNode().GetNodeReference("volume") is volume
    assert slicer_bench.dialogs.texts() == ["Go on?"]


def test_a_question_without_an_answer_is_cancelled(slicer_bench, sample):
    a_volume(slicer_bench)
    sample.choose("volumeSelector", "CT")
    sample.click("applyButton")
    assert sample.ui.progressBar.value == 0


def test_closing_the_scene_empties_the_selector(slicer_bench, sample):
    a_volume(slicer_bench)
    sample.choose("volumeSelector", "CT")
    sample.close_scene()
    assert sample.ui.volumeSelector.currentNode() is None
    assert not sample.ui.applyButton.enabled
    assert sample.ui.applyButton.toolTip == "Choose a volume first."


def test_the_connections_of_the_ui_file_are_made(sample):
    sample.click("detailsCheckBox")
    assert sample.ui.detailsEdit.enabled


def test_properties_of_the_ui_file_reach_the_stand_ins(sample):
    assert sample.ui.correctSection.collapsed
    assert sample.ui.folderEdit.filters == 0x01 | 0x20
    assert sample.ui.volumeSelector.nodeTypes == ("vtkMRMLScalarVolumeNode",)
    assert sample.ui.volumeSelector.property("SlicerParameterName") == "inputVolume"


def test_a_picture_of_the_panel_is_saved(sample, tmp_path, slicer_bench):
    sample.grab(tmp_path / "panel.png")
    image = slicer_bench.qt.QImage(str(tmp_path / "panel.png"))
    colours = {image.pixel(x, y) for x in range(0, 400, 7) for y in range(0, 300, 7)}
    assert len(colours) > 3  # something is drawn


def test_reloading_builds_the_panel_anew(slicer_bench, sample):
    first = sample.widget
    first.onReload()
    assert "cleanup" in first.log
    assert sample.widget is not first
    a_volume(slicer_bench)
    sample.choose("volumeSelector", "CT")
    assert sample.ui.applyButton.enabled


def test_startup_completed_runs_what_the_module_connected(slicer_bench, sample):
    slicer_bench.app.startupCompleted.emit()
    assert sample.module_object.registered


def test_a_timer_of_the_module_ticks(slicer_bench, sample):
    sample.widget.timer.start()
    slicer_bench.wait_until(lambda: "tick" in sample.widget.log)


def test_a_module_finds_itself_through_slicer_util(slicer_bench, sample):
    util = slicer_bench.slicer.util
    assert util.getModuleWidget("BenchSample") is sample.widget
    assert util.getModuleLogic("BenchSample") is sample.widget.logic
    assert util.modulePath("BenchSample") == str(SAMPLE)


def test_two_tests_do_not_share_a_scene(slicer_bench):
    assert slicer_bench.slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    a_volume(slicer_bench)


test_nor_do_these = test_two_tests_do_not_share_a_scene


def test_a_mistyped_entry_of_the_metadata_is_refused(slicer_bench, tmp_path):
    path = tmp_path / "Mistyped.py"
    path.write_text(
        "from slicer.ScriptedLoadableModule import ScriptedLoadableModule\n"
        "class Mistyped(ScriptedLoadableModule):\n"
        "    def __init__(self, parent):\n"
        "        super().__init__(parent)\n"
        "        parent.titel = 'x'\n"
    )
    with pytest.raises(AttributeError, match="no property 'titel'"):
        slicer_bench.load(path)


def test_the_module_widget_says_whether_it_is_entered(sample):
    assert sample.widget.parent.isEntered
    sample.exit()
    assert not sample.widget.parent.isEntered


def test_a_failing_slot_fails_the_test_that_caused_it(slicer_bench, sample, capfd):
    from bench import qt_adaptor

    sample.widget.logic = None
    a_volume(slicer_bench)
    sample.choose("volumeSelector", "CT")
    slicer_bench.dialogs.answers.append(True)
    sample.click("applyButton")
    assert [type(each) for each in qt_adaptor.slot_errors] == [AttributeError]
    qt_adaptor.slot_errors.clear()


HEARD = []


@pytest.mark.parametrize("time", ["first", "second"])
def test_what_a_test_connected_to_the_application_ends_with_it(slicer_bench, time):
    HEARD.clear()
    slicer_bench.app.connect("startupCompleted()", lambda: HEARD.append(time))
    slicer_bench.app.startupCompleted.emit()
    assert [time] == HEARD
