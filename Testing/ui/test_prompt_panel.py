"""The tools for prompts: which views listen, what they send, and how they get on with the Segment Editor."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest

from GenesisSegmentLib.core.workflow.states import State
from GenesisSegmentLib.core.workflow.view import Control
from panel_builders import a_view, prompting


@pytest.fixture
def panel(make_panel):
    return make_panel()


@pytest.fixture
def views(slicer_bench):
    layouts = slicer_bench.slicer.app.layoutManager()
    return {name: layouts.sliceWidget(name).sliceView() for name in layouts.sliceViewNames()}


def take(panel, tool: str) -> None:
    panel.show(replace(a_view(State.REVIEWING), prompt=prompting(tool=tool)))
    panel.controller.said()


def strokes(panel) -> list:
    return [call[1:] for call in panel.controller.said() if call[0] == "draw"]


def test_a_drag_in_each_view_is_sent_in_the_plane_of_that_view(panel, views):
    from bench.slice_views import drag

    take(panel, "scribble")
    flat = {"Red": 2, "Green": 1, "Yellow": 0}
    for name, view in views.items():
        drag(view, (100, 100), (120, 100), (120, 140))
        sent = strokes(panel)
        assert [is_done for _stroke, is_done in sent] == [False, False, False, True]
        points = sent[-1][0].points
        assert len(points) == 3
        assert {point[flat[name]] for point in points} == {0.0}
        assert [math.dist(*pair) for pair in pairwise(points)] == pytest.approx([10, 20])


def test_right_in_the_axial_view_is_the_patients_left(panel, views):
    from bench.slice_views import drag

    take(panel, "point")
    drag(views["Red"], (150, 100))
    ((x, y, _z),) = strokes(panel)[-1][0].points
    assert (x, y) == pytest.approx((-25, 0))


def test_views_are_left_alone_without_a_tool(panel, views):
    from bench.slice_views import drag

    take(panel, "point")
    assert all(view._cursor is not None for view in views.values())
    take(panel, "")
    for view in views.values():
        drag(view, (100, 100), (120, 100))
        assert view._cursor is None
    assert not panel.controller.said()


def test_a_stroke_that_is_under_way_when_the_tool_is_put_down_is_given_up(panel, views):
    from bench.slice_views import mouse

    take(panel, "lasso")
    mouse(views["Green"], "LeftButtonPressEvent", 20, 20)
    panel.controller.said()
    panel.show(replace(a_view(State.REVIEWING), prompt=prompting(tool="")))
    assert ("give_up_prompt",) in panel.controller.said()


def test_a_tool_of_the_editor_puts_the_prompts_down_and_the_other_way_round(panel, slicer_bench):
    panel.module.enter()
    take(panel, "point")
    node = panel.ui.segmentEditorWidget.mrmlSegmentEditorNode()
    node.SetActiveEffectName("Paint")
    assert ("choose_tool", "") in panel.controller.said()
    take(panel, "box")
    assert not node.GetActiveEffectName()


def test_what_is_offered_can_be_taken_or_left(panel):
    assert panel.ui.takeButton.isHidden()
    offered = Control(True, "Draws it."), Control(True, "Leaves it.")
    panel.show(replace(a_view(State.REVIEWING), prompt=prompting(take=offered[0], drop=offered[1])))
    panel.controller.said()
    panel.ui.takeButton.click()
    panel.ui.dropButton.click()
    assert panel.controller.said() == [("take_offer",), ("give_up_prompt",)]


def test_a_new_layout_does_not_lose_the_tool(panel, views, slicer_bench):
    from bench.slice_views import drag

    take(panel, "point")
    slicer_bench.slicer.app.layoutManager().setLayout(6)
    drag(views["Red"], (100, 100))
    assert len(strokes(panel)) == 2


def test_a_new_structure_is_chosen_from_the_list_which_then_says_again_what_it_is_for(panel):
    panel.show(a_view(State.REVIEWING))
    panel.controller.said()
    box = panel.ui.newComboBox
    for row, said in ((2, [("add_structure", 27)]), (1, [("add_structure", 0)]), (0, [])):
        box.setCurrentIndex(row)
        box.activated.emit(row)
        assert panel.controller.said() == said
        assert box.currentIndex == 0
