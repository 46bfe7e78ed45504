"""What keeps the person's work: Undo takes back what the model wrote too, but no mark, and no tool, whichever module it
is used in, changes what is locked or reviewed."""

from __future__ import annotations

import os

import numpy as np
import pytest

from GenesisSegmentLib.core.workflow.states import State
from module_builders import PATIENCE_S, a_ct, result_of, segment, start, state

__all__ = ["start"]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in of PythonSlicer is a shell script")


class Case:
    """A CT with its result, whose liver the person made one voxel small."""

    def __init__(self, bench, host):
        self.bench, self.host = bench, host
        self.volume = a_ct(bench)
        segment(bench, host)
        self.node = result_of(bench, host)
        self.proposed = self.liver
        self.own = np.zeros_like(self.proposed)
        self.own[5, 5, 5] = 1
        host.click("editButton")
        host.ui.segmentEditorWidget.saveStateForUndo()
        update = bench.slicer.util.updateSegmentBinaryLabelmapFromArray
        update(self.own, self.node, "liver", self.volume)
        bench.pump(300)
        host.click("editButton")
        bench.wait_until(lambda: host.ui.segmentsTable.cellWidget(1, 5).enabled, PATIENCE_S)

    @property
    def liver(self):
        return self.bench.slicer.util.arrayFromSegmentBinaryLabelmap(self.node, "liver", self.volume)

    @property
    def changed(self):
        return self.row("liver").segment.changed_voxels

    def row(self, segment_id):
        rows = self.host.widget.panel.controller.view.correct.rows
        return next(row for row in rows if row.segment.segment_id == segment_id)

    def again(self):
        self.host.click("segmentButton")
        self.bench.wait_until(lambda: state(self.host) is not State.PREDICTING, PATIENCE_S)


@pytest.fixture
def case(slicer_bench, start):
    return Case(slicer_bench, start())


def test_undo_takes_a_reset_back_then_the_stroke_before_it_and_redo_goes_forth(case):
    ui = case.host.ui
    ui.segmentsTable.cellWidget(1, 5).click()
    rest(case)
    assert (case.liver == case.proposed).all()
    case.host.click("undoButton")
    assert (case.liver == case.own).all()
    rest(case)
    assert case.changed > 0
    case.host.click("redoButton")
    assert (case.liver == case.proposed).all()
    case.host.click("undoButton")
    case.host.click("undoButton")
    assert (case.liver == case.proposed).all(), "as before the person's stroke"
    case.host.click("undoButton")
    assert ui.statusLabel.text == "There is nothing to undo."
    assert not ui.undoButton.enabled


def test_undo_takes_a_second_run_back_and_the_proposal_can_still_be_used(case):
    ui = case.host.ui
    case.again()
    assert (case.liver == case.proposed).all()
    assert "Undo brings the structures from before this run back." in ui.statusLabel.text
    case.host.click("undoButton")
    assert (case.liver == case.own).all()
    rest(case)
    assert case.changed == (case.proposed != case.own).sum()
    case.host.click("showDifferenceCheckBox")
    assert ui.statusLabel.text == "The last change of the structures was taken back."
    ui.segmentsTable.cellWidget(1, 5).click()
    rest(case)
    assert (case.liver == case.proposed).all()


def test_undo_inside_the_editor_takes_back_what_the_model_wrote_outside_of_it(case):
    case.again()
    case.host.click("editButton")
    case.host.ui.segmentEditorWidget.undo()
    assert (case.liver == case.own).all()


def test_undo_says_why_it_cannot_be_used(slicer_bench, start):
    host = start()
    ui = host.ui
    assert not ui.undoButton.enabled
    assert "segment a CT first" in ui.undoButton.toolTip
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    assert not ui.undoButton.enabled
    assert ui.undoButton.toolTip == "Nothing was changed yet."
    assert not ui.redoButton.enabled
    assert ui.redoButton.toolTip == "Nothing was taken back."


@pytest.mark.parametrize("first", ["segment", "effect", "mark"])
@pytest.mark.parametrize(("mark", "word"), [("set_locked", "locked"), ("set_reviewed", "reviewed")])
def test_no_tool_can_be_active_on_a_protected_segment(slicer_bench, case, first, mark, word):
    host, controller = case.host, case.host.widget.panel.controller
    editor = host.ui.segmentEditorWidget
    host.click("editButton")
    if first != "mark":
        getattr(controller, mark)("liver", True)
    steps = [lambda: controller.select_segment("liver"), lambda: editor.setActiveEffectByName("Paint")]
    for step in reversed(steps) if first == "effect" else steps:
        step()
    if first == "mark":
        assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"
        getattr(controller, mark)("liver", True)
    slicer_bench.wait_until(lambda: not editor.mrmlSegmentEditorNode().GetActiveEffectName(), PATIENCE_S)
    said = f"Liver is {word}, so no tool can be used on it."
    slicer_bench.wait_until(lambda: said in host.ui.correctNoteLabel.text, PATIENCE_S)
    controller.select_segment("kidney_right")
    editor.setActiveEffectByName("Paint")
    slicer_bench.pump(0)
    assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"


def rest(case):
    """Waits until what others did has been looked at."""
    case.bench.pump(300)
    case.bench.wait_until(lambda: not case.host.widget.panel.controller.view.is_working, PATIENCE_S)


def press(case, name):
    """Clicks a button as soon as a person could."""
    case.bench.wait_until(lambda: case.host.find(name).enabled, PATIENCE_S)
    case.host.click(name)


@pytest.mark.parametrize("is_key", [False, True])
def test_undo_keeps_the_marks_of_what_it_does_not_change(case, is_key):
    controller, row = case.host.widget.panel.controller, lambda: case.row("kidney_right")
    case.host.click("editButton")
    controller.set_reviewed("kidney_right", True)
    controller.set_locked("kidney_right", True)
    rest(case)
    case.host.ui.segmentEditorWidget.undo() if is_key else press(case, "undoButton")
    assert (case.liver == case.proposed).all()
    case.bench.wait_until(lambda: row().lock.is_checked and row().review.is_checked, PATIENCE_S)
    rest(case)
    case.host.ui.segmentEditorWidget.redo() if is_key else press(case, "redoButton")
    assert (case.liver == case.own).all()
    rest(case)
    assert (row().lock.is_checked, row().review.is_checked) == (True, True)


def test_undo_names_what_is_no_longer_reviewed_because_of_it(case):
    case.host.widget.panel.controller.set_reviewed("liver", True)
    rest(case)
    press(case, "undoButton")
    rest(case)
    assert case.host.ui.statusLabel.text.endswith("changed by Undo or Redo, or removed: Liver.")
    assert not case.row("liver").review.is_checked


def test_what_another_module_changes_in_a_locked_segment_is_put_back_there_and_can_be_had_by_undo(case):
    host, update = case.host, case.bench.slicer.util.updateSegmentBinaryLabelmapFromArray
    host.widget.panel.controller.set_locked("liver", True)
    rest(case)
    host.exit()
    update(np.zeros_like(case.own), case.node, "liver", case.volume)
    case.bench.wait_until(lambda: (case.liver == case.own).all(), PATIENCE_S)
    rest(case)
    case.bench.wait_until(lambda: not host.widget.panel._timer.active, PATIENCE_S)
    host.enter()
    assert "put back: Liver. Undo brings the change back" in host.ui.statusLabel.text
    host.click("undoButton")
    rest(case)
    assert not case.liver.any()
    assert not case.row("liver").lock.is_checked
    assert "No longer locked or reviewed" in host.ui.statusLabel.text


def import_scene(bench, path, *nodes):
    """Reads a scene of these nodes into the one that is open."""
    other = bench.slicer.vtkMRMLScene()
    for node in nodes:
        other.AddNode(node)
    other.SetURL(str(path))
    assert other.Commit()
    bench.scene.SetURL(str(path))
    assert bench.scene.Import()
    bench.pump(0)


def test_undo_is_kept_when_another_scene_is_read_into_this_one(case, tmp_path):
    import_scene(case.bench, tmp_path / "other.mrml", case.bench.slicer.vtkMRMLLinearTransformNode())
    assert case.host.ui.undoButton.enabled
    press(case, "undoButton")
    assert (case.liver == case.proposed).all()


def an_editor_of_another_scene(bench, host):
    node = bench.slicer.vtkMRMLSegmentEditorNode()
    node.SetSingletonTag(host.ui.segmentEditorWidget.mrmlSegmentEditorNode().GetSingletonTag())
    return node


def test_editor_works_on_the_result_again_after_a_scene_that_is_read_took_it_away(slicer_bench, start, tmp_path):
    host = start()
    a_ct(slicer_bench)
    segment(slicer_bench, host)
    import_scene(slicer_bench, tmp_path / "other.mrml", an_editor_of_another_scene(slicer_bench, host))
    assert host.ui.segmentEditorWidget.segmentationNode() is result_of(slicer_bench, host)


def test_undo_is_not_offered_where_a_scene_that_is_read_takes_the_editor_away(case, tmp_path):
    import_scene(case.bench, tmp_path / "other.mrml", an_editor_of_another_scene(case.bench, case.host))
    assert not case.host.ui.undoButton.enabled
    assert case.host.ui.undoButton.toolTip == "Nothing was changed yet."
    assert case.host.ui.segmentEditorWidget.segmentationNode() is case.node, "the next stroke can be undone again"
    case.host.ui.segmentEditorWidget.saveStateForUndo()
    case.bench.slicer.util.updateSegmentBinaryLabelmapFromArray(case.own * 0, case.node, "liver", case.volume)
    case.host.ui.segmentEditorWidget.undo()
    assert (case.liver == case.own).all()
