"""What keeps the person's work: Undo takes back what the model wrote too, and no tool works on what is locked."""

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
        host.click("editButton")
        bench.wait_until(lambda: host.ui.segmentsTable.cellWidget(1, 5).enabled, PATIENCE_S)

    @property
    def liver(self):
        return self.bench.slicer.util.arrayFromSegmentBinaryLabelmap(self.node, "liver", self.volume)

    @property
    def changed(self):
        rows = self.host.widget.panel.controller.view.correct.rows
        return next(row.segment.changed_voxels for row in rows if row.segment.segment_id == "liver")

    def again(self):
        self.host.click("segmentButton")
        self.bench.wait_until(lambda: state(self.host) is not State.PREDICTING, PATIENCE_S)


@pytest.fixture
def case(slicer_bench, start):
    return Case(slicer_bench, start())


def test_undo_takes_a_reset_back_then_the_stroke_before_it_and_redo_goes_forth(case):
    ui = case.host.ui
    ui.segmentsTable.cellWidget(1, 5).click()
    assert (case.liver == case.proposed).all()
    case.host.click("undoButton")
    assert (case.liver == case.own).all()
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
    assert case.changed == (case.proposed != case.own).sum()
    case.host.click("showDifferenceCheckBox")
    assert ui.statusLabel.text == "The last change of the structures was taken back."
    ui.segmentsTable.cellWidget(1, 5).click()
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


@pytest.mark.parametrize("first", ["segment", "effect", "lock"])
def test_no_tool_can_be_active_on_a_locked_segment(slicer_bench, case, first):
    host, controller = case.host, case.host.widget.panel.controller
    editor = host.ui.segmentEditorWidget
    host.click("editButton")
    if first != "lock":
        controller.set_locked("liver", True)
    steps = [lambda: controller.select_segment("liver"), lambda: editor.setActiveEffectByName("Paint")]
    for step in reversed(steps) if first == "effect" else steps:
        step()
    if first == "lock":
        assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"
        controller.set_locked("liver", True)
    slicer_bench.pump(0)
    assert not editor.mrmlSegmentEditorNode().GetActiveEffectName()
    assert "Liver is locked" in host.ui.correctNoteLabel.text
    controller.select_segment("kidney_right")
    editor.setActiveEffectByName("Paint")
    slicer_bench.pump(0)
    assert editor.mrmlSegmentEditorNode().GetActiveEffectName() == "Paint"
