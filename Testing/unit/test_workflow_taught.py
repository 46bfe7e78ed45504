"""Structures that a person taught a model, from the choice to the segments: the model's numbers are not the scene's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.protocol import Refine, Refined, Segment
from GenesisSegmentLib.core.strokes import Stroke
from GenesisSegmentLib.core.workflow.catalogue import catalogue_models
from workflow_fakes import Bench, partial_of, result_of

OWN = ("soft tissue sarcoma", "node of Cloquet")
SARCOMA, NODE = 33, 34
LIVER = 6


def taught(name="v3", own=OWN, **changes):
    starter = next(info for info in catalogue_models() if info.id == "starter")
    return replace(starter, id=name, title=name, state="installed", own=own, **changes)


@pytest.fixture
def bench():
    """Version v3, which knows two structures of one's own, is chosen."""
    bench = Bench(is_started=False)
    bench.worker.models = (taught(), taught("v4", OWN[::-1]), *bench.worker.models)
    bench.settings["model"] = "v3"
    bench.controller.start()
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    bench.controller.choose_model("v3")
    return bench


def own_rows(bench):
    (group,) = (row for row in bench.view.segment.tree if row.text == "Your own structures")
    return group


def run(bench, **changes):
    bench.controller.segment()
    bench.wait()
    command = bench.worker.last(Segment)
    bench.say(result_of(command, own=OWN, **changes))
    return command


def test_they_stand_first_in_the_tree_and_are_found_by_the_search(bench):
    assert bench.view.segment.tree[0] == own_rows(bench)
    assert [(child.text, child.check) for child in own_rows(bench).children] == [(name, "on") for name in OWN]
    assert "Finds structures of your own, too: soft tissue sarcoma, node of Cloquet." in bench.view.segment.model_note
    assert bench.view.segment.classes_note == "9 of 9 classes of this model are chosen."
    bench.controller.search("cloquet")
    assert [child.text for row in bench.view.segment.tree for child in row.children] == [OWN[1]]
    bench.controller.search("")
    bench.controller.choose_model("starter")
    assert "Your own structures" not in [row.text for row in bench.view.segment.tree]


def test_they_are_looked_for_unless_they_are_left_out(bench):
    assert run(bench).classes == (1, 2, 3, 6, 8, 16, 17, SARCOMA, NODE)
    bench.controller.check_classes((SARCOMA,), False)
    assert own_rows(bench).check == "some"
    assert run(bench).classes == (1, 2, 3, 6, 8, 16, 17, NODE)
    bench.controller.check_classes((SARCOMA,), True)
    assert own_rows(bench).check == "on"


def test_the_name_is_left_out_whatever_its_number_and_the_scene_keeps_that(bench):
    bench.controller.check_classes((SARCOMA,), False)
    assert bench.scene.parameters.left_out == (OWN[0],)
    bench.controller.choose_model("v4")
    assert [child.check for child in own_rows(bench).children] == ["on", "off"]
    bench.controller = bench.new_controller()
    bench.controller.start()
    bench.controller.choose_volume("ct2")
    bench.wait(1)
    bench.controller.choose_model("v3")
    assert [child.check for child in own_rows(bench).children] == ["off", "on"]


def test_a_model_that_knows_nothing_else_can_be_used(bench):
    bench.worker.models = (taught("v5", offered=()), *bench.worker.models)
    run(bench)  # what there is is asked for again when it has ended
    bench.wait(0.3)
    bench.controller.choose_model("v5")
    assert bench.view.segment.segment.is_enabled, bench.view.segment.segment.tip
    assert run(bench).classes == (SARCOMA, NODE)


def test_they_are_shown_early_and_written_with_their_names(bench):
    bench.controller.segment()
    bench.wait()
    command = bench.worker.last(Segment)
    bench.say(partial_of(command, index=NODE), partial_of(command, index=NODE + 1))
    bench.wait(0.3)
    early = [call for call in bench.scene.calls if call[0] == "write_partial"]
    assert [(call[2], call[5]) for call in early] == [(NODE, OWN[1])]
    bench.say(result_of(command, own=OWN))
    (written,) = (call for call in bench.scene.calls if call[0] == "write_result")
    assert written[3].own == OWN
    names = [row.segment.name for row in bench.view.correct.rows if row.segment.taught]
    assert names == list(OWN)
    assert {choice.text for choice in bench.view.export.paint_order} >= set(OWN)


def test_a_result_with_more_of_them_than_it_names_is_refused(bench):
    run(bench, classes=(1, 35))
    assert "does not belong to this CT" in bench.view.status.text


def draw(bench, segment_id):
    bench.controller.select_segment(segment_id)
    bench.controller.choose_tool("point")
    bench.controller.draw(Stroke(((0.0, 0.0, 0.0),), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), True)
    bench.wait(0.3)
    return bench.worker.last(Refine)


def test_prompts_name_the_class_by_the_number_that_the_chosen_model_gives_it(bench):
    run(bench)
    rows = {row.segment.taught: row.segment for row in bench.view.correct.rows}
    assert rows[OWN[0]].class_index == NODE, "the scene has numbers of its own"
    command = draw(bench, rows[OWN[0]].segment_id)
    assert command.class_index == SARCOMA
    bench.say(Refined(command.id, (0, 0, 0), (0, 0, 0), ""))
    bench.wait(0.3)
    assert bench.view.prompt.propagate.is_enabled, bench.view.prompt.propagate.tip
    bench.controller.choose_model("starter")
    assert "was not taught this structure" in bench.view.prompt.propagate.tip


def test_one_that_is_not_there_can_be_begun_by_its_name(bench):
    bench.controller.check_classes((NODE,), False)
    run(bench)
    choices = {choice.value: choice.text for choice in bench.view.prompt.new}
    assert choices[str(NODE)] == OWN[1]
    assert str(SARCOMA) not in choices
    bench.controller.add_structure(SARCOMA)
    assert "add_segment" not in bench.scene.names()
    bench.controller.add_structure(NODE)
    assert ("add_segment", 0, OWN[1]) in bench.scene.calls
