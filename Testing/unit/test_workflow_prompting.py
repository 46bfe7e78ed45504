"""Prompts: previews while the mouse draws, one answer when it is let go, and what else may happen meanwhile."""

from __future__ import annotations

import pytest

from GenesisSegmentLib.core.geometry import Box
from GenesisSegmentLib.core.protocol import Failure, Refine, Refined
from GenesisSegmentLib.core.strokes import Stroke
from scene_fakes import SHAPE
from workflow_fakes import reviewing_bench

LIVER, SPLEEN = "liver", "spleen"
BOX = Box((1, 1, 1), (2, 3, 3))


@pytest.fixture
def bench():
    """The first of two organs is selected, and points can be set."""
    bench = reviewing_bench()
    bench.scene.rows["seg-ct1"] = [*bench.scene.segments("seg-ct1")]
    bench.controller.choose_tool("point")
    bench.wait()
    bench.scene.calls.clear()
    return bench


def stroke(*points, is_inverted=False) -> Stroke:
    return Stroke(points or ((1.0, 2.0, 3.0),), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), is_inverted)


def asked(bench) -> list[Refine]:
    return [command for command in bench.worker.commands if isinstance(command, Refine)]


def draw(bench, *points, is_done=True, **more) -> Refine:
    """The command that came of it."""
    bench.controller.draw(stroke(*points, **more), is_done)
    bench.wait()
    return asked(bench)[-1]


def answer(bench, command: Refine, file: str = "answer", notes=()) -> None:
    box = BOX if file else Box((0, 0, 0), (0, 0, 0))
    bench.say(Refined(command.id, box.start, box.stop, file, notes))


def test_a_click_is_answered_and_drawn_as_a_change_of_the_selected_structure(bench):
    command = draw(bench, (1.0, 2.0, 3.0))
    assert (command.step, command.volume, command.class_index) == ("answer", "f1", 1)
    assert command.prompts[0].points == ((1.0, 1.0, 1.0),)  # the grid of the CT has voxels of 1 x 2 x 3 mm
    assert command.prompts[0].is_positive
    assert (command.start, command.stop, command.file) == ((0, 0, 0), SHAPE, "held-1")
    answer(bench, command)
    bench.wait(0.5)
    assert ("redraw", bench.view.correct.selected, BOX, 4) in bench.scene.calls
    assert bench.view.correct.undo.is_enabled
    assert command.id in bench.worker.released


def answered(bench, *points, **more) -> Refine:
    command = draw(bench, *points, **more)
    answer(bench, command)
    bench.wait(0.5)
    return command


@pytest.mark.parametrize("step", ["undone", "redone"])
def test_prompts_add_up_until_a_step_is_taken_back_or_made_again(bench, step):
    assert [len(answered(bench, (1.0, 2.0, float(n))).prompts) for n in range(3)] == [1, 2, 3]
    getattr(bench.controller, step)(True)
    bench.wait()
    assert len(draw(bench).prompts) == 1


def test_a_stroke_waits_until_the_answer_to_the_one_before_is_drawn(bench):
    first = draw(bench, (0.0, 0.0, 0.0))
    bench.controller.draw(stroke((1.0, 0.0, 0.0)), True)
    bench.controller.draw(stroke((2.0, 0.0, 0.0)), False)
    bench.wait()
    assert asked(bench) == [first]
    assert not bench.worker.cancelled
    answer(bench, first)
    bench.wait(0.5)
    assert bench.scene.names().count("redraw") == 1
    second = asked(bench)[1]
    assert [p.points[0][0] for p in second.prompts] == [0.0, 1.0]
    answer(bench, second)
    bench.wait(0.5)
    assert bench.scene.names().count("redraw") == 2


def test_escape_and_another_tool_leave_finished_strokes_alone(bench):
    first = draw(bench)
    bench.controller.give_up_prompt()
    bench.controller.choose_tool("lasso")
    answer(bench, first)
    bench.wait(0.5)
    assert "redraw" in bench.scene.names()
    assert len(draw(bench, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)).prompts) == 2


def test_what_changed_while_an_answer_was_made_is_not_drawn_over(bench):
    command = draw(bench)
    bench.scene.change_voxels("seg-ct1")
    answer(bench, command)
    bench.wait(0.5)
    assert "redraw" not in bench.scene.names()
    assert "draw again" in bench.view.status.text
    assert len(draw(bench).prompts) == 1


def test_an_answer_about_another_ct_is_not_drawn_into_this_one(bench):
    bench.scene.add_result("ct2", [1, 6])
    command = draw(bench)
    bench.controller.choose_volume("ct2")
    bench.wait()
    answer(bench, command)
    bench.wait(0.5)
    assert "redraw" not in bench.scene.names()
    assert command.id in bench.worker.released or command.id in bench.worker.cancelled


def test_prompts_on_one_structure_are_never_sent_for_another(bench):
    first, other = bench.view.correct.selected, bench.scene.segments("seg-ct1")[1].segment_id
    pending = draw(bench)
    bench.controller.select_segment(other)
    draw(bench)
    assert asked(bench) == [pending]
    answer(bench, pending)
    bench.wait(0.5)
    command = asked(bench)[-1]
    assert (len(command.prompts), command.class_index) == (1, bench.scene.segments("seg-ct1")[1].class_index)
    answer(bench, command)
    bench.wait(0.5)
    assert [call[1] for call in bench.scene.calls if call[0] == "redraw"] == [first, other]
    bench.controller.select_segment(first)
    assert len(draw(bench).prompts) == 1


@pytest.mark.parametrize("change", ["select", "edit", "another ct"])
def test_an_offer_is_dropped_when_it_is_no_longer_about_what_is_there(bench, change):
    bench.scene.add_result("ct2", [1, 6])
    answered(bench)
    bench.controller.propagate()
    bench.wait()
    answer(bench, asked(bench)[-1], "whole")
    bench.wait()
    assert bench.view.prompt.take.is_visible
    if change == "select":
        bench.controller.select_segment(bench.scene.segments("seg-ct1")[1].segment_id)
    elif change == "edit":
        bench.scene.change_voxels("seg-ct1")
    else:
        bench.controller.choose_volume("ct2")
    redrawn = bench.scene.names().count("redraw")
    bench.controller.take_offer()
    bench.wait(0.5)
    assert bench.scene.names().count("redraw") == redrawn
    assert not bench.view.prompt.take.is_visible
    assert not bench.scene.is_preview_shown


def test_voxels_that_could_not_be_written_are_told(bench):
    bench.scene.kept_back = 1234
    answered(bench)
    assert "1,234 voxels stayed" in bench.view.status.text
    assert bench.view.status.kind == "warning"


def test_a_preview_of_nothing_takes_the_one_before_away(bench):
    answer(bench, draw(bench, is_done=False), "preview")
    bench.wait()
    assert bench.scene.is_preview_shown
    answer(bench, draw(bench, (3.0, 3.0, 3.0), is_done=False), "")
    bench.wait()
    assert not bench.scene.is_preview_shown


def test_shift_and_the_button_say_whether_a_prompt_takes_away(bench):
    assert not answered(bench, is_inverted=True).prompts[0].is_positive
    bench.controller.set_adding(False)
    assert not answered(bench).prompts[-1].is_positive
    assert answered(bench, is_inverted=True).prompts[-1].is_positive


def test_while_the_mouse_draws_one_preview_at_a_time_is_asked_for_always_of_the_newest_stroke(bench):
    first = draw(bench, (0.0, 0.0, 0.0), is_done=False)
    for n in range(1, 5):
        bench.controller.draw(stroke((float(n), 0.0, 0.0)), False)
    bench.wait()
    assert asked(bench) == [first]
    assert first.step == "preview"
    answer(bench, first, "preview")
    bench.wait()
    assert ("show_preview", BOX) in bench.scene.calls
    assert len(asked(bench)) == 2
    assert asked(bench)[1].prompts[0].points[0][0] == 4.0
    assert first.id in bench.worker.released
    assert not bench.scene.names().count("redraw")


def test_letting_go_does_not_wait_for_a_preview_and_hides_it_when_the_answer_is_drawn(bench):
    preview = draw(bench, is_done=False)
    answer(bench, preview, "preview")
    bench.wait()
    waiting = draw(bench, (1.0, 0.0, 0.0), is_done=False)
    command = draw(bench, (1.0, 0.0, 0.0))
    assert command.step == "answer"
    assert waiting.id in bench.worker.cancelled
    answer(bench, waiting, "late")
    assert bench.scene.names().count("show_preview") == 1
    answer(bench, command)
    bench.wait(0.5)
    assert bench.scene.names()[-1] != "show_preview"
    assert bench.scene.names().count("hide_preview") == 1


def test_the_box_is_handed_over_once_for_the_previews_of_a_stroke_and_anew_for_the_answer(bench):
    first = draw(bench, is_done=False)
    answer(bench, first, "")
    second = draw(bench, (2.0, 2.0, 3.0), is_done=False)
    answer(bench, second, "")
    assert first.file == second.file
    assert draw(bench).file != second.file  # what is locked may be another
    assert len(bench.worker.held) == 2


def test_a_change_by_others_begins_anew(bench):
    answer(bench, draw(bench))
    bench.wait(0.5)
    bench.scene.change_voxels("seg-ct1")
    assert len(draw(bench).prompts) == 1


def test_another_structure_begins_anew(bench):
    answer(bench, draw(bench))
    bench.wait(0.5)
    other = bench.scene.segments("seg-ct1")[1]
    bench.controller.select_segment(other.segment_id)
    command = draw(bench)
    assert (len(command.prompts), command.class_index) == (1, other.class_index)


def test_an_answer_is_drawn_on_the_structure_that_was_asked_about(bench):
    command = draw(bench)
    before = bench.view.correct.selected
    bench.controller.select_segment(bench.scene.segments("seg-ct1")[1].segment_id)
    answer(bench, command)
    bench.wait(0.5)
    assert [call[1] for call in bench.scene.calls if call[0] == "redraw"] == [before]


def test_a_prompt_that_fails_is_told_and_forgotten(bench):
    command = draw(bench)
    bench.say(Failure(command.id, "input", "The prompt covers no voxel of the CT.", "Draw inside of the CT."))
    assert "no voxel" in bench.view.status.text
    assert bench.view.status.kind == "error"
    assert not bench.view.is_working
    assert len(draw(bench).prompts) == 1


@pytest.mark.parametrize("method", ["surroundings", "copying", "version"])
def test_a_scene_that_refuses_is_told_and_leaves_nothing_waiting(bench, method):
    bench.worker.commands.clear()
    bench.scene.refusing.add(method)
    bench.scene.fingerprints["ct1"] = "changed"
    bench.controller.draw(stroke(), True)
    bench.wait()
    assert not asked(bench)
    assert bench.view.status.kind == "error"
    assert not bench.view.is_working
    bench.scene.refusing.clear()
    assert len(draw(bench).prompts) == 1


def test_a_ct_that_changed_is_handed_over_again_before_a_prompt(bench):
    answered(bench)
    handed = len(bench.worker.handed)
    bench.scene.fingerprints["ct1"] = "another"
    assert draw(bench).volume == "another"
    assert len(bench.worker.handed) == handed + 1


@pytest.mark.parametrize("mark", ["set_locked", "set_reviewed"])
def test_no_prompt_is_drawn_on_a_protected_structure_and_its_tool_is_put_down(bench, mark):
    getattr(bench.controller, mark)(bench.view.correct.selected, True)
    bench.wait(0.5)
    assert bench.view.prompt.tool == ""
    assert not any(control.is_enabled for _tool, control in bench.view.prompt.tools)
    bench.controller.choose_tool("box")
    bench.controller.draw(stroke(), True)
    bench.wait()
    assert not asked(bench)


def test_a_tool_is_put_down_by_choosing_it_again_and_takes_the_surfaces_away_when_taken(bench):
    assert bench.view.prompt.tool == "point"
    bench.controller.choose_tool("point")
    assert bench.view.prompt.tool == ""
    bench.controller.choose_tool("nonsense")
    assert bench.view.prompt.tool == ""
    assert "suspend_3d" not in bench.scene.names()
    bench.controller.choose_tool("lasso")
    assert bench.view.prompt.tool == "lasso"
    assert "suspend_3d" in bench.scene.names()


def test_giving_up_ends_what_waits_and_hides_what_is_shown(bench):
    first = draw(bench, is_done=False)
    answer(bench, first, "preview")
    bench.wait()
    second = draw(bench, (2.0, 0.0, 0.0), is_done=False)
    bench.controller.give_up_prompt()
    assert second.id in bench.worker.cancelled
    assert bench.scene.names()[-1] == "hide_preview"
    assert not bench.view.is_working
    answer(bench, second, "late")
    assert bench.scene.names()[-1] == "hide_preview"


def test_propagation_is_offered_first_and_drawn_when_it_is_taken(bench):
    assert not bench.view.prompt.propagate.is_enabled
    answer(bench, draw(bench))
    bench.wait(0.5)
    bench.controller.propagate()
    bench.wait()
    command = asked(bench)[-1]
    assert (command.step, command.start, command.stop, len(command.prompts)) == ("propagate", (0, 0, 0), SHAPE, 1)
    assert not bench.view.prompt.take.is_visible
    redrawn = bench.scene.names().count("redraw")
    answer(bench, command, "whole")
    bench.wait()
    assert bench.view.prompt.take.is_visible
    assert ("show_preview", BOX) in bench.scene.calls
    assert bench.scene.names().count("redraw") == redrawn
    bench.controller.take_offer()
    bench.wait(0.5)
    assert bench.scene.names().count("redraw") == redrawn + 1
    assert not bench.view.prompt.take.is_visible


@pytest.mark.parametrize("leave", ["give_up_prompt", "draw", "undone"])
def test_what_is_offered_is_gone_when_it_is_not_taken(bench, leave):
    answer(bench, draw(bench))
    bench.wait(0.5)
    bench.controller.propagate()
    bench.wait()
    command = asked(bench)[-1]
    answer(bench, command, "whole")
    bench.wait()
    getattr(bench.controller, leave)(*{"draw": (stroke(), True), "undone": (True,)}.get(leave, ()))
    bench.wait()
    assert not bench.view.prompt.take.is_visible
    assert command.id in bench.worker.released
    bench.controller.take_offer()
    bench.wait()
    assert bench.scene.names().count("redraw") == 1


@pytest.mark.parametrize("leave", ["volume_removed", "scene_about_to_close", "close"])
def test_what_goes_away_takes_prompts_and_previews_along(bench, leave):
    answer(bench, draw(bench, is_done=False), "preview")
    bench.wait()
    command = draw(bench)
    bench.scene.calls.clear()
    getattr(bench.controller, leave)(*(("ct1",) if leave == "volume_removed" else ()))
    assert command.id in bench.worker.cancelled
    assert not bench.scene.is_preview_shown
    answer(bench, command)
    assert "redraw" not in bench.scene.names()


def test_an_answer_that_changes_nothing_is_told(bench):
    answer(bench, draw(bench), "")
    bench.wait()
    assert "redraw" not in bench.scene.names()
    assert "already" in bench.view.status.text


def test_leaving_the_module_puts_the_tool_down(bench):
    bench.controller.stop()
    assert bench.view.prompt.tool == ""


def test_no_tool_can_be_taken_before_there_is_a_result_and_each_says_why():
    from workflow_fakes import Bench

    view = Bench().view.prompt
    assert {control.tip for _tool, control in view.tools} == {"There is no result yet: segment a CT first."}
    assert not view.add.is_enabled


def test_a_ct_that_the_worker_refuses_is_told_and_handed_over_again_next_time(bench):
    bench.scene.fingerprints["ct1"] = "another"
    command = draw(bench)
    job, _fingerprint = bench.worker.handed[-1]
    bench.say(Failure(job, "input", "The image is not a CT.", "Choose a CT."))
    bench.say(Failure(command.id, "input", "The CT is not loaded.", "Choose the CT again."))
    assert "not a CT" in bench.view.status.text
    assert not bench.view.is_working
    handed = len(bench.worker.handed)
    assert len(draw(bench).prompts) == 1
    assert len(bench.worker.handed) == handed + 1


@pytest.mark.parametrize(("class_index", "name"), [(27, "liver_tumor"), (0, "own")])
def test_a_new_structure_is_selected_and_takes_prompts(bench, class_index, name):
    bench.controller.add_structure(class_index)
    bench.wait()
    assert bench.view.correct.selected == name
    assert "empty" in bench.view.status.text
    bench.controller.choose_tool("box")
    command = draw(bench, (0.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    assert (command.class_index, command.prompts[0].kind) == (class_index, "box")


def test_only_what_is_not_there_yet_can_be_begun_lesions_first(bench):
    offered = [choice.value for choice in bench.view.prompt.new]
    present = {row.segment.class_index for row in bench.view.correct.rows}
    assert offered[:3] == ["", "0", "26"]
    assert not present & {int(value) for value in offered[1:]}
    bench.controller.add_structure(next(iter(present)))
    assert "add_segment" not in bench.scene.names()
