"""A run from Segment to its end, with a worker that answers well, badly, late or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from GenesisSegmentLib.core.protocol import Done, Estimate, Hello, Segment
from GenesisSegmentLib.core.reports import LayerFile
from GenesisSegmentLib.core.workflow.states import State
from workflow_fakes import Bench, lost, partial_of, progress_of, result_of


@pytest.fixture
def bench() -> Bench:
    return Bench()


def failed_without_a_trace(bench: Bench) -> bool:
    return bench.state is State.FAILED and bench.scene.written == [] and not bench.view.status.cancel.is_enabled


def test_run_hands_over_shows_progress_and_early_classes_then_writes_once(bench):
    command = bench.run()
    assert bench.state is State.PREDICTING
    assert bench.worker.handed[-1][1] == command.volume == "f1"
    assert command.classes == bench.controller._model.offered
    bench.say(progress_of(command, 0.4))
    status = bench.view.status
    assert (status.kind, status.fraction, status.time_left) == ("busy", 0.4, "about 12 s left")
    bench.say(partial_of(command))
    assert bench.scene.calls[-1][:3] == ("write_partial", "ct1", command.classes[0])
    bench.finish(command)
    assert bench.state is State.REVIEWING
    assert bench.scene.names().count("write_result") == 1
    assert "discard_partials" not in bench.scene.names()
    assert bench.view.correct.segmentation_id == "seg-ct1"
    assert len(bench.view.correct.rows) == len(command.classes)
    assert bench.view.status.kind == "good"


def test_result_carries_what_made_it_and_the_measurements(bench):
    command = bench.run()
    bench.finish(command, notes=("Little memory.",))
    _, _, classes, text, measurements = bench.scene.calls[-1]
    assert classes == command.classes
    assert (text.model, text.notes) == ("starter", ("Little memory.",))
    assert measurements[0]["volume_ml"] == 0.1
    assert "Little memory." in bench.view.status.text


def test_free_memory_and_the_estimate_are_asked_anew_after_a_run(bench):
    bench.controller.choose_volume("ct1")
    bench.wait(1)
    command = bench.run()
    hellos, estimates = bench.worker.count(Hello), bench.worker.count(Estimate)
    bench.finish(command)
    bench.wait(1)
    assert bench.worker.count(Hello) == hellos + 1
    assert bench.worker.count(Estimate) == estimates + 1


def test_second_segment_while_one_runs_is_impossible(bench):
    bench.run()
    assert not bench.view.segment.segment.is_enabled
    bench.controller.segment()
    assert bench.worker.count(Segment) == 1


def test_nothing_can_be_chosen_while_a_run_is_on(bench):
    bench.run()
    bench.controller.choose_volume("ct2")
    bench.controller.choose_model("universal_unet")
    bench.controller.check_classes((6,), False)
    bench.controller.choose_device("cuda:0")
    view = bench.view.segment
    assert (view.volume_id, view.model, view.device) == ("ct1", "starter", "auto")
    assert all(row.check == "on" for row in view.tree if row.classes)


def test_cancel_ends_when_the_worker_says_so_and_takes_early_classes_away(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.controller.cancel()
    assert bench.worker.cancelled == [command.id]
    assert bench.state is State.PREDICTING
    assert not bench.view.status.cancel.is_enabled
    bench.say(lost(command.id, "cancelled", is_cancelled=True))
    assert bench.state is State.READY
    assert bench.scene.names() == ["write_partial", "discard_partials"]


def test_cancelled_run_that_never_answers_is_given_up(bench):
    bench.run()
    bench.controller.cancel()
    bench.wait(4)
    assert bench.state is State.PREDICTING
    bench.wait(2)
    assert bench.state is State.READY


def test_result_after_a_cancel_is_dropped(bench):
    command = bench.run()
    bench.controller.cancel()
    bench.finish(command)
    assert bench.state is State.READY
    assert bench.scene.written == []
    assert command.id in bench.worker.released


def test_cancel_with_an_earlier_result_goes_back_to_reviewing_it(bench):
    bench.reviewing()
    bench.controller.segment()
    bench.controller.cancel()
    bench.say(lost(bench.worker.last(Segment).id, "cancelled", is_cancelled=True))
    assert bench.state is State.REVIEWING


def test_late_result_of_an_earlier_run_is_dropped(bench):
    first = bench.run()
    bench.controller.cancel()
    bench.wait(6)
    bench.controller.segment()
    second = bench.worker.last(Segment)
    bench.say(result_of(first), partial_of(first), progress_of(first, 0.9))
    assert bench.state is State.PREDICTING
    assert bench.scene.calls == []
    bench.finish(second)
    assert bench.state is State.REVIEWING


@pytest.mark.parametrize(
    "change",
    [
        {"volume": "another"},
        {"shape": (9, 9, 9)},
        {"layers": ()},
        {"classes": (1, 2), "layers": (LayerFile("a", (1, 2)), LayerFile("b", (2,)))},
        {"classes": (1, 99), "layers": (LayerFile("a", (1, 99)),)},
    ],
    ids=["fingerprint", "shape", "no layers", "class twice", "unknown class"],
)
def test_result_that_is_not_of_this_ct_is_not_used(bench, change):
    command = bench.run()
    bench.finish(command, **change)
    assert failed_without_a_trace(bench)
    assert "not used" in bench.view.status.text


def test_ct_that_changes_during_a_run_ends_it(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.scene.fingerprints["ct1"] = "changed"
    bench.wait(2)
    assert failed_without_a_trace(bench)
    assert command.id in bench.worker.cancelled
    assert bench.scene.names()[-1] == "discard_partials"


def test_ct_that_changed_just_before_the_result_is_noticed(bench):
    command = bench.run()
    bench.scene.fingerprints["ct1"] = "changed"
    bench.finish(command)
    assert failed_without_a_trace(bench)


def test_ct_that_is_removed_during_a_run_ends_it(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.scene.remove("ct1")
    bench.controller.volume_removed("ct1")
    assert bench.state is State.NO_VOLUME
    assert bench.worker.cancelled == [command.id]
    bench.finish(command)
    assert (bench.state, bench.scene.written) == (State.NO_VOLUME, [])


def test_ct_that_vanishes_without_a_word_ends_the_run(bench):
    bench.run()
    bench.scene.remove("ct1")
    bench.wait(2)
    assert bench.state is State.NO_VOLUME
    assert "removed" in bench.view.status.text


def test_other_node_that_is_removed_does_not_matter(bench):
    bench.run()
    bench.controller.volume_removed("ct2")
    assert bench.state is State.PREDICTING


def test_scene_that_closes_during_a_run_ends_it(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.controller.scene_about_to_close()
    bench.controller.choose_volume("ct2")
    assert bench.state is State.NO_VOLUME
    assert bench.scene.names()[-1] == "discard_partials"
    bench.scene.parameters = replace(bench.scene.parameters, volume_id=None)
    bench.controller.scene_closed()
    bench.finish(command)
    assert (bench.state, bench.scene.written) == (State.NO_VOLUME, [])


def test_worker_that_dies_leaves_the_scene_untouched_and_says_what_to_do(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.say(lost(command.id))
    assert failed_without_a_trace(bench)
    status = bench.view.status
    assert (status.kind, status.log, status.show_log.is_enabled) == ("error", "/log", True)
    assert "Try again." in status.text
    assert bench.scene.names() == ["write_partial", "discard_partials"]
    bench.controller.dismiss()
    assert bench.state is State.READY


def test_segment_works_again_after_a_failure(bench):
    bench.say(lost(bench.run().id))
    bench.controller.segment()
    bench.finish(bench.worker.last(Segment))
    assert bench.state is State.REVIEWING


def test_ct_that_could_not_be_handed_over_ends_the_run_with_that_reason(bench):
    command = bench.run()
    load = bench.worker.handed[-1][0]
    bench.worker.events = [replace(lost(load, "output"), what="The disk is full.")]
    bench.wait()
    bench.say(replace(lost(command.id, "input"), what="There is no such volume."))
    assert failed_without_a_trace(bench)
    assert "The disk is full." in bench.view.status.text
    assert command.id in bench.worker.cancelled


def test_result_that_the_scene_refuses_is_a_failure(bench):
    command = bench.run()
    bench.scene.refusing.add("write_result")
    bench.finish(command)
    assert failed_without_a_trace(bench)
    assert "write_result is not possible. Do something else." in bench.view.status.text


@pytest.mark.parametrize("when", ["copying", "copy"])
def test_ct_that_cannot_be_copied_leaves_the_state_as_it_was(bench, when):
    bench.controller.choose_volume("ct1")
    bench.scene.refusing.add(when)
    bench.controller.segment()
    assert bench.state is State.READY
    assert bench.view.status.kind == "error"


@pytest.mark.parametrize(
    "change",
    [{"file": "gone"}, {"index": 77}, {"stop": (9, 9, 9)}, {"start": (3, 0, 0)}, {"start": (-1, 0, 0)}],
    ids=["file gone", "unknown class", "outside", "inside out", "negative"],
)
def test_early_class_that_cannot_be_shown_does_not_end_the_run(bench, change):
    command = bench.run()
    bench.say(partial_of(command, **change))
    assert (bench.state, bench.scene.calls) == (State.PREDICTING, [])
    bench.finish(command)
    assert bench.state is State.REVIEWING


def test_early_class_that_failed_half_way_is_taken_away_with_the_run(bench):
    bench.scene.refusing.add("write_partial")
    command = bench.run()
    bench.say(partial_of(command))
    bench.say(lost(command.id))
    assert bench.scene.names() == ["discard_partials"]


@pytest.mark.parametrize("end", [result_of, lambda command: lost(command.id)], ids=["result", "failure"])
def test_early_class_that_is_not_shown_yet_is_not_shown_after_the_run(bench, end):
    command = bench.run()
    bench.scene.pieces, bench.scene.piece_s = 20, 0.003
    bench.say(partial_of(command))
    assert bench.view.is_working
    bench.scene.pieces = 0
    bench.say(end(command))
    bench.wait(2)
    assert not bench.view.is_working
    assert "write_partial" not in bench.scene.names()


def test_nonsense_from_the_worker_changes_nothing(bench):
    command = bench.run()
    before = bench.view
    bench.say(None, 42, "garbage", {"id": command.id}, Done("nobody"), Done(command.id), lost("nobody"))
    bench.say(lost("", "protocol"), lost("", "unknown_type"))
    assert bench.view == before
    bench.finish(command)
    assert bench.state is State.REVIEWING


def test_loss_of_an_idle_worker_is_told(bench):
    bench.controller.choose_volume("ct1")
    bench.say(lost(""))
    assert (bench.state, bench.view.status.kind) == (State.READY, "error")


def test_what_comes_during_a_write_is_done_right_after_it(bench):
    seen = []

    def choose_another() -> None:
        bench.controller.choose_volume("ct2")
        bench.controller.tick()
        seen.append((bench.state, bench.view.segment.volume_id))

    bench.scene.when_writing = choose_another
    bench.finish(bench.run())
    assert seen == [(State.PREDICTING, "ct1")]
    assert (bench.state, bench.view.segment.volume_id) == (State.READY, "ct2")


def test_one_view_at_most_for_each_command_and_tick(bench):
    bench.views.clear()
    bench.controller.choose_volume("ct1")
    assert len(bench.views) == 1
    bench.controller.choose_volume("ct1")
    assert len(bench.views) == 1


def test_close_ends_everything_and_nothing_works_after_it(bench):
    command = bench.run()
    bench.say(partial_of(command))
    bench.controller.close()
    assert bench.worker.cancelled == [command.id]
    assert (bench.worker.closed, bench.scene.names()[-1]) == (1, "discard_partials")
    bench.controller.segment()
    bench.controller.close()
    assert (bench.worker.count(Segment), bench.worker.closed) == (1, 1)


def test_run_goes_on_after_the_module_was_left(bench):
    command = bench.run()
    bench.controller.stop()
    bench.finish(command)
    assert bench.state is State.REVIEWING


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError("Unable to allocate 78 MiB"), "not enough memory. Close other programs"),
        (RuntimeError("bad image"), "The reason: bad image. Try again"),
        (ValueError(""), "The reason: ValueError."),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_result_that_cannot_be_put_into_the_scene_ends_the_run_with_words_and_a_log(
    bench, monkeypatch, caplog, error, words
):
    def write(*_arguments):
        raise error

    monkeypatch.setattr(bench.scene, "write_result", write)
    command = bench.run()
    bench.finish(command)
    assert failed_without_a_trace(bench)
    assert bench.view.status.text.startswith("The result could not be put into the scene. ")
    assert words in bench.view.status.text
    assert caplog.records[-1].exc_info[1] is error
    assert command.id in bench.worker.released
    monkeypatch.undo()
    bench.reviewing()
    assert bench.state is State.REVIEWING


def test_event_that_cannot_be_used_does_not_take_the_others_along(bench, monkeypatch, caplog):
    def write(*_arguments):
        raise RuntimeError("no such image")

    monkeypatch.setattr(bench.scene, "writing_partial", write)
    command = bench.run()
    bench.say(partial_of(command))
    assert bench.state is State.PREDICTING
    bench.say(progress_of(command, 0.7), result_of(command))
    assert bench.state is State.REVIEWING
    assert "no such image" in str(caplog.records[-1].exc_info[1])


def test_step_that_holds_the_person_up_is_announced(bench):
    command, seen = bench.run(), []
    bench.scene.when_writing = lambda: seen.append(bench.views[-1].status.text)
    bench.finish(command)
    assert seen == ["Showing the result in the scene"]
